// SPDX-License-Identifier: Apache-2.0
// Commits that roll back by themselves unless somebody confirms them, counting down on every page.
import {Button, Progress, Space} from 'antd';
import {useEffect, useState} from 'react';
import {Link} from 'react-router-dom';

import {post} from '../api/client';
import {LIVELY, useApi, useRefresh} from '../api/queries';
import {useI18n} from '../i18n/i18n';
import {useAct} from '../parts/act';
import {useSession} from '../session/session';

export interface Commit {
  revision: number;
  state: 'waiting' | 'confirmed' | 'rolled-back';
  time: string;
  until: string;
  author: string;
  summary: string;
  seconds_left?: number;
  problem?: string;
}

function useNow(active: boolean): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (!active) {
      return undefined;
    }
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, [active]);
  return now;
}

const twoDigits = (n: number): string => String(n).padStart(2, '0');

/** What is left, by the manager's count when the list came: clocks of browsers are wrong. */
function Countdown({commit, readAt, now}: {commit: Commit; readAt: number; now: number}) {
  const left = Math.max(0, Math.round((commit.seconds_left ?? 0) - (now - readAt) / 1000));
  const whole = Math.max(1, (new Date(commit.until).getTime() - new Date(commit.time).getTime()) / 1000);
  const text = left >= 3600 ? `${Math.floor(left / 3600)}:${twoDigits(Math.floor(left / 60) % 60)}:${twoDigits(left % 60)}` : `${Math.floor(left / 60)}:${twoDigits(left % 60)}`;
  return (
    <Space>
      <Progress type="circle" size={22} percent={(100 * left) / whole} showInfo={false} status="active" strokeWidth={14} />
      <strong className="num" role="timer">
        {text}
      </strong>
    </Space>
  );
}

function Line({commit, readAt, now}: {commit: Commit; readAt: number; now: number}) {
  const {t} = useI18n();
  const {may} = useSession();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const end = (verb: 'confirm' | 'rollback'): Promise<boolean> =>
    run(
      async () => {
        await post(`commits/${commit.revision}:${verb}`);
        await refresh('commits', 'policies', 'revisions');
      },
      verb === 'confirm' ? t('commit.confirmed') : t('commit.undone'),
    );
  return (
    <div className="banner" role="status">
      <Countdown commit={commit} readAt={readAt} now={now} />
      <span className="banner-text">
        {t('commit.waiting', {revision: String(commit.revision), author: commit.author})}{' '}
        <Link to={`/policies/history?revision=${commit.revision}`}>{commit.summary || t('action.show')}</Link>
        {commit.problem && <span className="bad"> {commit.problem}</span>}
      </span>
      {may('policy.commit') && (
        <Button type="primary" loading={busy} onClick={() => void end('confirm')}>
          {t('commit.keep')}
        </Button>
      )}
      {may('policy.rollback') && (
        <Button danger loading={busy} onClick={() => void end('rollback')}>
          {t('commit.undo')}
        </Button>
      )}
    </div>
  );
}

export function CommitBanner() {
  const {may} = useSession();
  const query = useApi<{items: Commit[]}>('commits', {state: 'waiting'}, {every: LIVELY, enabled: may('policy.read')});
  const items = query.data?.items ?? [];
  const now = useNow(items.length > 0);
  return (
    <>
      {items.map((c) => (
        <Line key={c.revision} commit={c} readAt={query.dataUpdatedAt} now={now} />
      ))}
    </>
  );
}

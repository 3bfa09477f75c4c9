// SPDX-License-Identifier: Apache-2.0
// A draft whose policies somebody else has changed in force since it was begun: what they did, and how to go on.
import {useQuery} from '@tanstack/react-query';
import {Alert, Button, Space} from 'antd';
import {Link} from 'react-router-dom';

import {call, post} from '../../api/client';
import {useRefresh} from '../../api/queries';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {useSession} from '../../session/session';
import type {Draft} from './drafts';

interface Conflict {
  policy: string;
  revision: number;
}

const EVERY_MS = 15_000;

export function Conflicts({draft, onRebased}: {draft: Draft; onRebased: (draft: Draft) => void}) {
  const {t} = useI18n();
  const {may} = useSession();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  // a draft with mistakes can't be compared; the editor shows those
  const query = useQuery({
    queryKey: ['drafts-conflicts', draft.id, draft.version, draft.base],
    queryFn: () => call<{conflicts: Conflict[]}>('POST', `drafts/${draft.id}:check`),
    refetchInterval: EVERY_MS,
    retry: false,
  });
  const conflicts = query.data?.conflicts ?? [];
  if (!conflicts.length || draft.committed_in) {
    return null;
  }
  const rebase = (): Promise<boolean> =>
    run(async () => {
      onRebased(await post<Draft>(`drafts/${draft.id}:rebase`, {}));
      await refresh('drafts');
    }, t('draft.rebased'));
  return (
    <Alert
      type="warning"
      showIcon
      message={t('draft.conflicts')}
      description={
        <Space direction="vertical" size={4}>
          {conflicts.map((c) => (
            <Link key={c.policy} to={`/policies/history?revision=${c.revision}`} target="_blank">
              {t('error.conflict.policy', {policy: c.policy, revision: String(c.revision)})}
            </Link>
          ))}
          <span className="dim">{t('draft.conflicts.text')}</span>
        </Space>
      }
      action={
        may('policy.write', draft.tenant) && (
          <Button size="small" loading={busy} onClick={() => void rebase()}>
            {t('draft.rebase')}
          </Button>
        )
      }
    />
  );
}

// SPDX-License-Identifier: Apache-2.0
// Revisions with author and what they changed, and the way back to any of them.
import {App, Button, Segmented, Table, Tag} from 'antd';
import {useMemo} from 'react';

import {post} from '../../api/client';
import {CALM, useApi, useRefresh} from '../../api/queries';
import type {Applied, PolicyChange, Revision, RevisionWhole} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {Data} from '../../parts/data';
import {Nothing} from '../../parts/empty';
import {Facts} from '../../parts/facts';
import {useFilters} from '../../parts/filters';
import {PageFrame} from '../../parts/page';
import {Time} from '../../parts/show';
import {diffText, TextDiff} from '../../parts/text-diff';
import {Waiting} from '../../parts/waiting';
import {useSession} from '../../session/session';
import {PolicyTabs} from './tabs';

const COLOR: Record<string, string> = {added: 'success', removed: 'error', changed: 'processing'};

function Changes({changes}: {changes: PolicyChange[]}) {
  const {t} = useI18n();
  return (
    <span className="labels cell-wide">
      {changes
        .filter((c) => c.change !== 'same')
        .slice(0, 6)
        .map((c) => (
          <Tag key={`${c.tenant}/${c.name}`} color={COLOR[c.change] ?? 'default'} bordered={false} title={t(`change.${c.change}`)}>
            {c.tenant}/{c.name}
          </Tag>
        ))}
      {changes.length > 6 && <span className="dim">+{changes.length - 6}</span>}
    </span>
  );
}

function OneRevision({number: n, newest}: {number: number; newest: number}) {
  const {t} = useI18n();
  const {may} = useSession();
  const {modal} = App.useApp();
  const {run} = useAct();
  const refresh = useRefresh();
  const [filters, set] = useFilters<'against' | 'revision'>('against', 'revision');
  const against = filters.against === 'now' ? newest : n - 1;
  const revision = useApi<RevisionWhole>(`revisions/${n}`);
  const other = useApi<RevisionWhole>(`revisions/${against}`, undefined, {enabled: against > 0 && against !== n});
  const text = useMemo(() => {
    const before = against > 0 ? other.data?.text : '';
    if (!revision.data || before === undefined) {
      return null;
    }
    return filters.against === 'now' ? diffText(revision.data.text, before) : diffText(before, revision.data.text);
  }, [revision.data, other.data, against, filters.against]);

  const back = (): void =>
    void modal.confirm({
      title: t('history.rollback.title', {revision: String(n)}),
      content: t('history.rollback.text'),
      okText: t('history.rollback'),
      onOk: () =>
        run(async () => {
          const applied = await post<Applied>('rollback', {revision: n}, {wait: 5, confirm: '5m'});
          await refresh('policies', 'revisions', 'commits', 'rules');
          set({revision: String(applied.revision), against: undefined});
        }, t('history.rollback.done')),
    });

  return (
    <section className="panel">
      <div className="panel-head">
        {t('history.revision', {revision: String(n)})}
        <span className="page-extra">
          <Segmented
            size="small"
            value={filters.against ?? ''}
            onChange={(v) => set({against: v || undefined})}
            options={[
              {value: '', label: t('history.against-before')},
              {value: 'now', label: t('history.against-now'), disabled: n === newest},
            ]}
          />
          {may('policy.rollback') && n !== newest && (
            <Button size="small" onClick={back}>
              {t('history.rollback')}
            </Button>
          )}
        </span>
      </div>
      <Data query={revision}>
        {(r) => (
          <>
            <div className="panel-pad">
              <Facts
                items={[
                  [t('history.author'), r.author],
                  [t('event.time'), <Time key="t" at={r.time} exact />],
                  [t('history.summary'), r.summary],
                ]}
              />
            </div>
            {text === null ? <Waiting /> : text ? <TextDiff text={text} /> : <Nothing title={t('history.same')} />}
          </>
        )}
      </Data>
    </section>
  );
}

export default function History() {
  const {t} = useI18n();
  const [filters, set] = useFilters<'revision' | 'against'>('revision', 'against');
  const query = useApi<{items: Revision[]}>('revisions', {limit: 500}, {every: CALM});
  const newest = query.data?.items[0]?.revision ?? 0;
  const chosen = Number(filters.revision) || newest;
  return (
    <PageFrame title={t('policy.tab.history')} trail={[{name: t('nav.policies'), to: '/policies'}]}>
      <PolicyTabs />
      <Data query={query}>
        {({items}) =>
          items.length ? (
            <div className="columns">
              <section className="panel">
                <Table<Revision>
                  size="small"
                  rowKey="revision"
                  dataSource={items}
                  scroll={{x: 'max-content'}}
                  pagination={{defaultPageSize: 25, hideOnSinglePage: true}}
                  rowSelection={{
                    type: 'radio',
                    selectedRowKeys: [chosen],
                    onChange: ([key]) => set({revision: String(key), against: undefined}),
                  }}
                  onRow={(r) => ({onClick: () => set({revision: String(r.revision), against: undefined})})}
                  columns={[
                    {title: t('policy.revision'), dataIndex: 'revision', className: 'num'},
                    {title: t('event.time'), render: (_, r) => <Time at={r.time} />},
                    {title: t('history.author'), dataIndex: 'author'},
                    {title: t('history.changes'), render: (_, r) => <Changes changes={r.changes} />},
                    {title: t('history.summary'), dataIndex: 'summary'},
                  ]}
                />
              </section>
              {chosen > 0 && <OneRevision key={chosen} number={chosen} newest={newest} />}
            </div>
          ) : (
            <div className="panel">
              <Nothing title={t('history.none')} hint={t('policy.none.hint')} />
            </div>
          )
        }
      </Data>
    </PageFrame>
  );
}

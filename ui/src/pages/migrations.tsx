// SPDX-License-Identifier: Apache-2.0
import {Segmented, Steps, Table, Tag, type TableColumnsType} from 'antd';
import {useCallback, useMemo} from 'react';

import {ApiError, part} from '../api/client';
import {LIVELY, useApi} from '../api/queries';
import type {Migration} from '../api/types';
import {useI18n, type I18n} from '../i18n/i18n';
import {Data} from '../parts/data';
import {Nothing} from '../parts/empty';
import {useFilters} from '../parts/filters';
import {PageFrame} from '../parts/page';
import {SearchField} from '../parts/search';
import {HostLink, Time, VmLink} from '../parts/show';

const COLOR: Record<string, string> = {done: 'success', failed: 'error', refused: 'error'};

function columns({t, td, number, span, bytes}: I18n): TableColumnsType<Migration> {
  return [
    {title: t('migration.begun'), dataIndex: 'begun', render: (at: string) => <Time at={at} />},
    {title: t('migration.vm'), render: (_, m) => <VmLink uuid={m.vm} name={m.vm_name} />},
    {title: t('migration.from'), render: (_, m) => (m.source ? <HostLink name={m.source} /> : t('migration.outside'))},
    {title: t('migration.to'), render: (_, m) => <HostLink name={m.target} />},
    {
      title: t('migration.state'),
      render: (_, m) => (
        <Tag color={COLOR[m.state] ?? 'processing'} bordered={false}>
          {td(`migration.state.${m.state}`, m.state)}
        </Tag>
      ),
    },
    {title: t('migration.took'), align: 'right', className: 'num', render: (_, m) => span(m.ms)},
    {title: t('migration.connections'), dataIndex: 'connections', align: 'right', className: 'num', render: number},
    {title: t('migration.size'), dataIndex: 'bytes', align: 'right', className: 'num', render: bytes},
    {title: t('migration.reason'), dataIndex: 'reason', render: (text: string | null) => <span className="cell-text">{text}</span>},
  ];
}

function StepsOf({id}: {id: string}) {
  const {td, span, t} = useI18n();
  const query = useApi<Migration>(`migrations/${part(id)}`);
  return (
    <Data query={query}>
      {(m) =>
        m.steps?.length ? (
          <Steps
            size="small"
            items={m.steps.map((s, i) => ({
              title: td(`migration.step.${s.step}`, s.step),
              description: i ? span(s.ms) : undefined,
              status: s.step === 'failed' || s.step === 'refused' ? 'error' : 'finish',
            }))}
          />
        ) : (
          <span className="dim">{t('migration.no-steps')}</span>
        )
      }
    </Data>
  );
}

export function MigrationTable({items}: {items: Migration[]}) {
  const i18n = useI18n();
  const cols = useMemo(() => columns(i18n), [i18n]);
  return (
    <Table
      size="small"
      rowKey="id"
      columns={cols}
      dataSource={items}
      scroll={{x: 'max-content'}}
      pagination={{defaultPageSize: 50, hideOnSinglePage: true}}
      expandable={{expandedRowRender: (m) => <StepsOf id={m.id} />}}
    />
  );
}

export default function Migrations() {
  const {t} = useI18n();
  const [filters, set, clear] = useFilters<'vm' | 'open'>('vm', 'open');
  const query = useApi<{items: Migration[]}>('migrations', {vm: filters.vm, open: filters.open, limit: 1000}, {every: LIVELY});
  const search = useCallback((vm: string | undefined) => set({vm}), [set]);
  const noSuchVm = query.error instanceof ApiError && query.error.status === 404;
  const noMatch = <Nothing title={t('list.no-match')} hint={<a onClick={clear}>{t('list.clear')}</a>} />;
  return (
    <PageFrame title={t('nav.migrations')} count={query.data?.items.length}>
      <div className="filters">
        <SearchField value={filters.vm} onChange={search} placeholder={t('events.vm')} />
        <Segmented
          value={filters.open ?? ''}
          onChange={(v) => set({open: v || undefined})}
          options={[
            {value: '', label: t('migration.all')},
            {value: 'true', label: t('migration.open')},
          ]}
        />
      </div>
      {noSuchVm ? (
        <section className="panel">{noMatch}</section>
      ) : (
        <Data query={query}>
          {({items}) => (
            <section className="panel">
              {items.length ? (
                <MigrationTable items={items} />
              ) : filters.vm || filters.open ? (
                noMatch
              ) : (
                <Nothing title={t('migration.none')} hint={t('migration.none.hint')} />
              )}
            </section>
          )}
        </Data>
      )}
    </PageFrame>
  );
}

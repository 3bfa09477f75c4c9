// SPDX-License-Identifier: Apache-2.0
import {Button, Select, Table, Tag, type TableColumnsType} from 'antd';
import {useCallback, useMemo} from 'react';
import {Link} from 'react-router-dom';

import {part} from '../api/client';
import {CALM, useApi} from '../api/queries';
import type {Host, Page} from '../api/types';
import {useI18n, type I18n} from '../i18n/i18n';
import {Data} from '../parts/data';
import {Nothing} from '../parts/empty';
import {useFilters} from '../parts/filters';
import {PageFrame} from '../parts/page';
import {SearchField} from '../parts/search';
import {HostStateTag, LabelTags, Time} from '../parts/show';
import {useSession} from '../session/session';

const STATES = ['in-sync', 'syncing', 'offline', 'never', 'full', 'failed'];

function columns({t, number, span}: I18n): TableColumnsType<Host> {
  return [
    {
      title: t('host.name'),
      dataIndex: 'name',
      fixed: 'left',
      sorter: (a, b) => a.name.localeCompare(b.name, undefined, {numeric: true}),
      render: (name: string) => <Link to={`/hosts/${part(name)}`}>{name}</Link>,
    },
    {
      title: t('host.state'),
      dataIndex: 'state',
      render: (_, h) => (
        <>
          <HostStateTag state={h.state} />
          {h.maintenance?.on && <Tag bordered={false}>{t('host.in-maintenance')}</Tag>}
        </>
      ),
    },
    {title: t('host.vms'), dataIndex: 'vms', align: 'right', className: 'num', render: number, sorter: (a, b) => a.vms - b.vms},
    {title: t('host.nics'), dataIndex: 'nics', align: 'right', className: 'num', render: number},
    {
      title: t('host.unprotected'),
      dataIndex: 'nics_unprotected',
      align: 'right',
      className: 'num',
      sorter: (a, b) => a.nics_unprotected - b.nics_unprotected,
      render: (n: number) => <span className={n ? 'bad' : 'dim'}>{number(n)}</span>,
    },
    {title: t('host.revision'), dataIndex: 'revision', align: 'right', className: 'num'},
    {title: t('host.sync-time'), dataIndex: 'sync_us', align: 'right', className: 'num', render: (us: number | null) => (us ? span(us / 1000) : '–')},
    {title: t('host.labels'), render: (_, h) => <LabelTags labels={h.labels} />},
    {title: t('host.last-seen'), dataIndex: 'last_seen', render: (at: string | null) => <Time at={at} />},
    {title: t('host.problem'), dataIndex: 'problem', render: (p: string | null) => (p ? <span className="bad">{p}</span> : '')},
  ];
}

export default function Hosts() {
  const i18n = useI18n();
  const {t, td} = i18n;
  const {may} = useSession();
  const [filters, set, clear] = useFilters<'q' | 'state'>('q', 'state');
  const query = useApi<Page<Host>>('hosts', {limit: 10000}, {every: CALM});
  const found = useMemo(
    () => (query.data?.items ?? []).filter((h) => (!filters.state || h.state === filters.state) && (!filters.q || h.name.includes(filters.q.toLowerCase()))),
    [query.data, filters],
  );
  const cols = useMemo(() => columns(i18n), [i18n]);
  const search = useCallback((q: string | undefined) => set({q}), [set]);
  const enroll = may('host.enroll') && (
    <Link to="/settings?tab=enroll">
      <Button type="primary">{t('hosts.add')}</Button>
    </Link>
  );
  return (
    <PageFrame title={t('nav.hosts')} count={query.data ? found.length : undefined} extra={enroll}>
      <Data query={query}>
        {({items}) => (
          <>
            <div className="filters">
              <SearchField value={filters.q} onChange={search} placeholder={t('hosts.search')} />
              <Select
                allowClear
                value={filters.state}
                placeholder={t('host.state')}
                style={{width: 150}}
                onChange={(v: string | undefined) => set({state: v})}
                options={STATES.map((s) => ({value: s, label: td(`host.state.${s}`, s)}))}
              />
            </div>
            <section className="panel">
              <Table
                size="small"
                rowKey="name"
                columns={cols}
                dataSource={found}
                scroll={{x: 'max-content'}}
                pagination={{defaultPageSize: 50, hideOnSinglePage: true}}
                locale={{
                  emptyText: items.length ? (
                    <Nothing title={t('list.no-match')} hint={<a onClick={clear}>{t('list.clear')}</a>} />
                  ) : (
                    <Nothing title={t('hosts.none')} hint={t('hosts.none.hint')} action={enroll} />
                  ),
                }}
              />
            </section>
          </>
        )}
      </Data>
    </PageFrame>
  );
}

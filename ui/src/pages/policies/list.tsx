// SPDX-License-Identifier: Apache-2.0
import {Button, Select, Table, Tag, type TableColumnsType} from 'antd';
import {useCallback, useMemo} from 'react';
import {Link} from 'react-router-dom';

import {part} from '../../api/client';
import {CALM, useApi} from '../../api/queries';
import type {Page, PolicySummary} from '../../api/types';
import {useI18n, type I18n} from '../../i18n/i18n';
import {Data} from '../../parts/data';
import {Nothing} from '../../parts/empty';
import {useFilters} from '../../parts/filters';
import {PageFrame} from '../../parts/page';
import {SearchField} from '../../parts/search';
import {useSession} from '../../session/session';
import {Drafts} from './drafts';
import {PolicyTabs} from './tabs';

const TIER_COLOR: Record<string, string> = {guardrail: 'gold', tenant: 'blue', default: 'default'};

export function Tier({tier}: {tier: string}) {
  const {td} = useI18n();
  return (
    <Tag color={TIER_COLOR[tier] ?? 'default'} bordered={false}>
      {td(`tier.${tier}`, tier)}
    </Tag>
  );
}

function columns({t, number}: I18n): TableColumnsType<PolicySummary> {
  return [
    {
      title: t('policy.name'),
      dataIndex: 'name',
      sorter: (a, b) => a.name.localeCompare(b.name),
      render: (name: string, p) => <Link to={`/policies/${part(p.tenant)}/${part(name)}`}>{name}</Link>,
    },
    {title: t('vm.tenant'), dataIndex: 'tenant', sorter: (a, b) => a.tenant.localeCompare(b.tenant)},
    {title: t('policy.tier'), dataIndex: 'tier', render: (tier: string) => <Tier tier={tier} />},
    {title: t('policy.order'), dataIndex: 'order', align: 'right', className: 'num', sorter: (a, b) => a.order - b.order},
    {title: t('policy.rules'), dataIndex: 'rules', align: 'right', className: 'num', render: number, sorter: (a, b) => a.rules - b.rules},
    {
      title: t('policy.revision'),
      dataIndex: 'revision',
      align: 'right',
      className: 'num',
      sorter: (a, b) => (a.revision ?? 0) - (b.revision ?? 0),
      render: (r: number | undefined) => (r ? <Link to={`/policies/history?revision=${r}`}>{r}</Link> : ''),
    },
    {title: t('policy.file'), dataIndex: 'file', className: 'mono', responsive: ['lg']},
  ];
}

export default function Policies() {
  const i18n = useI18n();
  const {t} = i18n;
  const {may} = useSession();
  const [filters, set, clear] = useFilters<'q' | 'tenant' | 'tier'>('q', 'tenant', 'tier');
  const query = useApi<Page<PolicySummary> & {revision: number}>('policies', {limit: 10000}, {every: CALM});
  const cols = useMemo(() => columns(i18n), [i18n]);
  const search = useCallback((q: string | undefined) => set({q}), [set]);
  const found = useMemo(
    () =>
      (query.data?.items ?? []).filter(
        (p) =>
          (!filters.tenant || p.tenant === filters.tenant) &&
          (!filters.tier || p.tier === filters.tier) &&
          (!filters.q || `${p.tenant}/${p.name}`.includes(filters.q.toLowerCase())),
      ),
    [query.data, filters],
  );
  const write = may('policy.write') && (
    <Link to="/policies/edit">
      <Button type="primary">{t('policy.new')}</Button>
    </Link>
  );
  return (
    <PageFrame title={t('nav.policies')} count={query.data ? found.length : undefined} extra={write}>
      <PolicyTabs />
      <Drafts />
      <Data query={query}>
        {({items}) => (
          <>
            <div className="filters">
              <SearchField value={filters.q} onChange={search} placeholder={t('policy.search')} />
              <Select
                allowClear
                showSearch
                value={filters.tenant}
                placeholder={t('vm.tenant')}
                style={{width: 160}}
                onChange={(v: string | undefined) => set({tenant: v})}
                options={[...new Set(items.map((p) => p.tenant))].sort().map((value) => ({value, label: value}))}
              />
              <Select
                allowClear
                value={filters.tier}
                placeholder={t('policy.tier')}
                style={{width: 160}}
                onChange={(v: string | undefined) => set({tier: v})}
                options={(['guardrail', 'tenant', 'default'] as const).map((value) => ({value, label: t(`tier.${value}`)}))}
              />
            </div>
            <section className="panel">
              <Table
                size="small"
                rowKey={(p) => `${p.tenant}/${p.name}`}
                columns={cols}
                dataSource={found}
                scroll={{x: 'max-content'}}
                pagination={{defaultPageSize: 50, hideOnSinglePage: true}}
                locale={{
                  emptyText: items.length ? (
                    <Nothing title={t('list.no-match')} hint={<a onClick={clear}>{t('list.clear')}</a>} />
                  ) : (
                    <Nothing title={t('policy.none')} hint={t('policy.none.hint')} action={write} />
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

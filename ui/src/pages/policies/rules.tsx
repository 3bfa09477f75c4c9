// SPDX-License-Identifier: Apache-2.0
// Every rule with how often it decided and when last; those that never did.
import {Segmented, Table} from 'antd';
import {useCallback, useMemo} from 'react';

import {CALM, useApi} from '../../api/queries';
import {useI18n} from '../../i18n/i18n';
import {Data} from '../../parts/data';
import {Nothing} from '../../parts/empty';
import {useFilters} from '../../parts/filters';
import {PageFrame} from '../../parts/page';
import {SearchField} from '../../parts/search';
import {PolicyLink, Time} from '../../parts/show';
import {PolicyTabs} from './tabs';

export interface RuleHit {
  number: number;
  tenant?: string;
  policy?: string;
  dir?: 'ingress' | 'egress';
  text: string;
  hits: number;
  last_hit: string | null;
}

export default function Rules() {
  const {t, number} = useI18n();
  const [filters, set] = useFilters<'q' | 'hit'>('q', 'hit');
  const query = useApi<{items: RuleHit[]}>('rules', {limit: 10000}, {every: CALM});
  const search = useCallback((q: string | undefined) => set({q}), [set]);
  const found = useMemo(
    () =>
      (query.data?.items ?? []).filter(
        (r) =>
          (filters.hit === 'never' ? r.hits === 0 : filters.hit === 'hit' ? r.hits > 0 : true) &&
          (!filters.q || `${r.tenant}/${r.policy} ${r.text}`.toLowerCase().includes(filters.q.toLowerCase())),
      ),
    [query.data, filters],
  );
  return (
    <PageFrame title={t('policy.tab.rules')} trail={[{name: t('nav.policies'), to: '/policies'}]} count={query.data ? found.length : undefined}>
      <PolicyTabs />
      <div className="filters">
        <SearchField value={filters.q} onChange={search} placeholder={t('rule.search')} />
        <Segmented
          value={filters.hit ?? ''}
          onChange={(v) => set({hit: v || undefined})}
          options={[
            {value: '', label: t('rule.all')},
            {value: 'hit', label: t('rule.was-hit')},
            {value: 'never', label: t('rule.never')},
          ]}
        />
      </div>
      <Data query={query}>
        {({items}) => (
          <section className="panel">
            <Table
              size="small"
              rowKey="number"
              dataSource={found}
              scroll={{x: 'max-content'}}
              pagination={{defaultPageSize: 100, hideOnSinglePage: true}}
              locale={{emptyText: <Nothing title={items.length ? t('list.no-match') : t('rule.none')} />}}
              columns={[
                {title: t('rule.policy'), render: (_, r) => (r.policy ? <PolicyLink policy={`${r.tenant}/${r.policy}`} /> : t('rule.builtin'))},
                {title: t('rule.direction'), render: (_, r) => r.dir && t(`dir.${r.dir}`)},
                {title: t('rule.text'), render: (_, r) => r.text},
                {title: t('rule.hits'), dataIndex: 'hits', align: 'right', className: 'num', render: number, sorter: (a, b) => a.hits - b.hits, defaultSortOrder: 'descend'},
                {title: t('rule.last-hit'), render: (_, r) => <Time at={r.last_hit} />},
              ]}
            />
          </section>
        )}
      </Data>
    </PageFrame>
  );
}

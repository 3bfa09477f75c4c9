// SPDX-License-Identifier: Apache-2.0
// Tenants or hosts on the left, their VMs on the right, as libvirt shows them.
import type {UseQueryResult} from '@tanstack/react-query';
import {Segmented, Select, Table, Tag, Tooltip, Tree, type TableColumnsType, type TablePaginationConfig, type TreeDataNode} from 'antd';
import type {SorterResult} from 'antd/es/table/interface';
import {useCallback, useEffect, useMemo} from 'react';
import {useNavigate} from 'react-router-dom';

import {part} from '../api/client';
import {CALM, useApi} from '../api/queries';
import type {Nic, Vm, VmPage} from '../api/types';
import {useI18n, type I18n} from '../i18n/i18n';
import {Data} from '../parts/data';
import {Nothing} from '../parts/empty';
import {useFilters} from '../parts/filters';
import {useNarrow} from '../parts/narrow';
import {PageFrame} from '../parts/page';
import {SearchField} from '../parts/search';
import {Addresses, HostLink, LabelTags, VmLink, VmState} from '../parts/show';
import {useSession} from '../session/session';

type Names = 'by' | 'in' | 'q' | 'label' | 'protection' | 'state' | 'sort' | 'page' | 'size';

/** As the manager calls it where a host is named. */
const NO_HOST = '-';
const SIZES = [50, 100, 200];
const STATES = ['running', 'blocked', 'paused', 'shutdown', 'shutoff', 'crashed', 'pmsuspended', 'gone'];

const isOpen = (vm: Vm): boolean => vm.nics.some((n) => !n.protected) && !['shutoff', 'crashed', 'gone'].includes(vm.state);

export function ProtectionTag({vm}: {vm: Vm}) {
  const {t} = useI18n();
  if (vm.quarantine) {
    return (
      <Tooltip title={vm.quarantine.why}>
        <Tag color="purple" bordered={false}>
          {t('vm.quarantined')}
        </Tag>
      </Tooltip>
    );
  }
  if (vm.over_quota) {
    return (
      <Tooltip title={t('vm.over-quota.note', {labels: vm.over_quota.labels, limit: vm.over_quota.limit})}>
        <Tag color="purple" bordered={false}>
          {t('vm.over-quota')}
        </Tag>
      </Tooltip>
    );
  }
  if (isOpen(vm)) {
    return (
      <Tooltip title={vm.nics.find((n) => !n.protected)?.reason}>
        <Tag color="error" bordered={false}>
          {t('vm.open')}
        </Tag>
      </Tooltip>
    );
  }
  return vm.nics.length ? (
    <Tag color="success" bordered={false}>
      {t('vm.protected')}
    </Tag>
  ) : (
    <span className="dim">{t('vm.no-nic')}</span>
  );
}

function Groups({groups, chosen, onChoose}: {groups: NonNullable<VmPage['groups']>; chosen: string | undefined; onChoose: (name: string | undefined) => void}) {
  const {t, number} = useI18n();
  const narrow = useNarrow();
  const tree = useMemo<TreeDataNode[]>(
    () =>
      groups.map(({name, vms}) => ({
        key: name ?? NO_HOST,
        title: (
          <span className="tree-line">
            {name ?? t('inventory.no-host')} <span className="dim num">{number(vms)}</span>
          </span>
        ),
      })),
    [groups, t, number],
  );
  return (
    <Tree
      blockNode
      height={narrow ? 170 : 560}
      treeData={tree}
      selectedKeys={chosen ? [chosen] : []}
      onSelect={(keys) => onChoose(keys[0] === undefined ? undefined : String(keys[0]))}
    />
  );
}

const nicColumns = ({t}: I18n): TableColumnsType<Nic> => [
  {title: t('nic.mac'), dataIndex: 'mac', className: 'mono'},
  {title: t('nic.device'), dataIndex: 'dev', className: 'mono'},
  {title: t('nic.network'), dataIndex: 'network'},
  {title: t('nic.addresses'), render: (_, n) => <Addresses list={n.addresses} />},
  {
    title: t('nic.protection'),
    render: (_, n) => (n.protected ? <span className="good">{t('vm.protected')}</span> : <span className="bad">{n.reason || t('vm.open')}</span>),
  },
];

export function NicTable({nics}: {nics: Nic[]}) {
  const i18n = useI18n();
  return <Table size="small" rowKey="mac" pagination={false} columns={nicColumns(i18n)} dataSource={nics} scroll={{x: 'max-content'}} />;
}

function vmColumns({t}: I18n, sort: string, seesHosts: boolean, pick: (label: string) => void): TableColumnsType<Vm> {
  const sorted = (key: string) => ({key, sorter: true, sortOrder: sort === key ? ('ascend' as const) : sort === `-${key}` ? ('descend' as const) : null});
  const host = {title: t('vm.host'), ...sorted('host'), render: (_: unknown, vm: Vm) => <HostLink name={vm.host} />};
  return [
    {
      title: t('vm.name'),
      dataIndex: 'name',
      fixed: 'left',
      ...sorted('name'),
      render: (name: string, vm) => <VmLink uuid={vm.uuid} name={name} />,
    },
    {title: t('vm.state'), dataIndex: 'state', render: (state: string) => <VmState state={state} />},
    {title: t('vm.protection'), key: 'protection', render: (_, vm) => <ProtectionTag vm={vm} />},
    {title: t('vm.tenant'), dataIndex: 'tenant', ...sorted('tenant')},
    {title: t('vm.labels'), key: 'labels', render: (_, vm) => <LabelTags labels={vm.labels} onPick={pick} />},
    {title: t('vm.addresses'), key: 'addresses', render: (_, vm) => <Addresses list={vm.nics.flatMap((n) => n.addresses).slice(0, 4)} />},
    ...(seesHosts ? [host] : []),
  ];
}

/** A page of the list with the counts beside it: ten thousand VMs are the manager's to look through. */
function useVms(filters: Partial<Record<Names, string>>, by: 'tenant' | 'host'): {query: UseQueryResult<VmPage>; page: number; size: number} {
  const page = Math.max(1, Number(filters.page) || 1);
  const size = SIZES.find((s) => String(s) === filters.size) ?? SIZES[0] ?? 50;
  const {q, label, protection, state, sort} = filters;
  const query = useApi<VmPage>(
    'vms',
    {groups: by, [by]: filters.in, q, label, protection, state, sort, limit: size, offset: (page - 1) * size},
    {every: CALM},
  );
  return {query, page, size};
}

export default function Inventory() {
  const i18n = useI18n();
  const {t, td} = i18n;
  const {may} = useSession();
  const navigate = useNavigate();
  const [filters, set, clear] = useFilters<Names>('by', 'in', 'q', 'label', 'protection', 'state', 'sort', 'page', 'size');
  const seesHosts = may('host.read');
  const by = filters.by === 'host' && seesHosts ? 'host' : 'tenant';
  const {query, page, size} = useVms(filters, by);
  const sort = filters.sort ?? 'name';
  const narrow = useCallback((change: Partial<Record<Names, string | undefined>>) => set({page: undefined, ...change}), [set]);
  const pick = useCallback((label: string) => narrow({label}), [narrow]);
  const columns = useMemo(() => vmColumns(i18n, sort, seesHosts, pick), [i18n, sort, seesHosts, pick]);
  const search = useCallback((q: string | undefined) => narrow({q}), [narrow]);
  const beyond = page > 1 && !query.isPlaceholderData && query.data?.items.length === 0;
  useEffect(() => {
    if (beyond) {
      set({page: undefined});
    }
  }, [beyond, set]);
  const onTable = (at: TablePaginationConfig, order: SorterResult<Vm>, why: string): void => {
    if (why === 'sort') {
      narrow({sort: order.order ? `${order.order === 'descend' ? '-' : ''}${String(order.columnKey)}` : undefined});
    } else {
      set({page: at.current === 1 ? undefined : String(at.current), size: at.pageSize === SIZES[0] ? undefined : String(at.pageSize)});
    }
  };

  return (
    <PageFrame title={t('nav.inventory')} count={query.data?.total}>
      <Data query={query}>
        {(data) =>
          data.groups?.length ? (
            <div className="split">
              <aside className="panel panel-pad stack">
                {seesHosts && (
                  <Segmented
                    block
                    value={by}
                    onChange={(v) => narrow({by: v === 'tenant' ? undefined : v, in: undefined})}
                    options={[
                      {value: 'tenant', label: t('inventory.by-tenant')},
                      {value: 'host', label: t('inventory.by-host')},
                    ]}
                  />
                )}
                <Groups groups={data.groups} chosen={filters.in} onChoose={(name) => narrow({in: name})} />
              </aside>
              <div className="stack">
                <div className="filters">
                  <SearchField value={filters.q} onChange={search} placeholder={t('inventory.search')} width={260} />
                  <Select
                    allowClear
                    value={filters.protection}
                    placeholder={t('vm.protection')}
                    style={{width: 160}}
                    onChange={(v: string | undefined) => narrow({protection: v})}
                    options={['protected', 'open', 'quarantine', 'conflict', ...(seesHosts ? ['misplaced'] : [])].map((p) => ({value: p, label: td(`vm.protection.${p}`, p)}))}
                  />
                  <Select
                    allowClear
                    value={filters.state}
                    placeholder={t('vm.state')}
                    style={{width: 130}}
                    onChange={(v: string | undefined) => narrow({state: v})}
                    options={STATES.map((s) => ({value: s, label: td(`vm.state.${s}`, s)}))}
                  />
                  {filters.label && (
                    <Tag closable onClose={() => narrow({label: undefined})}>
                      {filters.label}
                    </Tag>
                  )}
                </div>
                <section className="panel">
                  <Table
                    size="small"
                    rowKey="uuid"
                    columns={columns}
                    dataSource={data.items}
                    loading={query.isPlaceholderData}
                    onChange={(at, _filters, order, {action}) => onTable(at, order as SorterResult<Vm>, action)}
                    scroll={{x: 'max-content'}}
                    pagination={{
                      current: page,
                      pageSize: size,
                      total: data.total,
                      pageSizeOptions: SIZES,
                      hideOnSinglePage: size === SIZES[0],
                      showTotal: (n) => i18n.tn('inventory.vms', n),
                    }}
                    expandable={{
                      expandedRowRender: (vm) => <NicTable nics={vm.nics} />,
                      rowExpandable: (vm) => vm.nics.length > 0,
                    }}
                    onRow={(vm) => ({onDoubleClick: () => navigate(`/vms/${part(vm.uuid)}`)})}
                    locale={{emptyText: <Nothing title={t('list.no-match')} hint={<a onClick={clear}>{t('list.clear')}</a>} />}}
                  />
                </section>
              </div>
            </div>
          ) : (
            <div className="panel">
              <Nothing title={t('inventory.none')} hint={t('inventory.none.hint')} />
            </div>
          )
        }
      </Data>
    </PageFrame>
  );
}

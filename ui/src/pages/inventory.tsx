// SPDX-License-Identifier: Apache-2.0
// Tenants or hosts on the left, their VMs on the right, as libvirt shows them.
import {Segmented, Select, Table, Tag, Tooltip, Tree, type TableColumnsType, type TreeDataNode} from 'antd';
import {useCallback, useMemo} from 'react';
import {useNavigate} from 'react-router-dom';

import {part} from '../api/client';
import {CALM, useApi} from '../api/queries';
import type {Nic, Page, Vm} from '../api/types';
import {useI18n, type I18n} from '../i18n/i18n';
import {Data} from '../parts/data';
import {Nothing} from '../parts/empty';
import {useFilters} from '../parts/filters';
import {PageFrame} from '../parts/page';
import {SearchField} from '../parts/search';
import {Addresses, HostLink, LabelTags, VmLink, VmState} from '../parts/show';

type Names = 'by' | 'in' | 'q' | 'label' | 'protection' | 'state';

const isOpen = (vm: Vm): boolean => vm.nics.some((n) => !n.protected) && vm.state !== 'shutoff' && vm.state !== 'gone';

const PROTECTION: Record<string, (vm: Vm) => boolean> = {
  protected: (vm) => !isOpen(vm) && !vm.quarantine,
  open: isOpen,
  quarantine: (vm) => Boolean(vm.quarantine),
  conflict: (vm) => Boolean(vm.address_conflicts?.length),
  misplaced: (vm) => Boolean(vm.misplaced),
};

function matches(vm: Vm, f: Partial<Record<Names, string>>): boolean {
  const [key, ...value] = (f.label ?? '').split('=');
  const words = f.q?.toLowerCase();
  return (
    (!f.in || (f.by === 'host' ? (vm.host ?? '-') : vm.tenant) === f.in) &&
    (!f.state || vm.state === f.state) &&
    (!f.protection || (PROTECTION[f.protection]?.(vm) ?? true)) &&
    (!key || (value.length ? vm.labels[key] === value.join('=') : key in vm.labels)) &&
    (!words ||
      vm.name.toLowerCase().includes(words) ||
      vm.uuid.startsWith(words) ||
      vm.nics.some((n) => n.mac.startsWith(words) || n.addresses.some((a) => a.includes(words))))
  );
}

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

function Groups({vms, by, chosen, onChoose}: {vms: Vm[]; by: string; chosen: string | undefined; onChoose: (name: string | undefined) => void}) {
  const {t, number} = useI18n();
  const tree = useMemo<TreeDataNode[]>(() => {
    const counts = new Map<string, number>();
    for (const vm of vms) {
      const name = by === 'host' ? (vm.host ?? '-') : vm.tenant;
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    return [...counts]
      .sort(([a], [b]) => a.localeCompare(b, undefined, {numeric: true}))
      .map(([name, n]) => ({
        key: name,
        title: (
          <span className="tree-line">
            {name === '-' ? t('inventory.no-host') : name} <span className="dim num">{number(n)}</span>
          </span>
        ),
      }));
  }, [vms, by, t, number]);
  return (
    <Tree
      blockNode
      height={560}
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

function vmColumns({t}: I18n, pick: (label: string) => void): TableColumnsType<Vm> {
  return [
    {
      title: t('vm.name'),
      dataIndex: 'name',
      fixed: 'left',
      sorter: (a, b) => a.name.localeCompare(b.name, undefined, {numeric: true}),
      render: (name: string, vm) => <VmLink uuid={vm.uuid} name={name} />,
    },
    {title: t('vm.state'), dataIndex: 'state', render: (state: string) => <VmState state={state} />},
    {title: t('vm.protection'), key: 'protection', render: (_, vm) => <ProtectionTag vm={vm} />},
    {title: t('vm.tenant'), dataIndex: 'tenant', sorter: (a, b) => a.tenant.localeCompare(b.tenant)},
    {title: t('vm.labels'), key: 'labels', render: (_, vm) => <LabelTags labels={vm.labels} onPick={pick} />},
    {title: t('vm.addresses'), key: 'addresses', render: (_, vm) => <Addresses list={vm.nics.flatMap((n) => n.addresses).slice(0, 4)} />},
    {title: t('vm.host'), dataIndex: 'host', sorter: (a, b) => (a.host ?? '').localeCompare(b.host ?? ''), render: (_, vm) => <HostLink name={vm.host} />},
  ];
}

export default function Inventory() {
  const i18n = useI18n();
  const {t, td} = i18n;
  const navigate = useNavigate();
  const [filters, set, clear] = useFilters<Names>('by', 'in', 'q', 'label', 'protection', 'state');
  const query = useApi<Page<Vm>>('vms', {limit: 10000}, {every: CALM});
  const by = filters.by ?? 'tenant';
  const vms = useMemo(() => query.data?.items ?? [], [query.data]);
  const found = useMemo(() => vms.filter((vm) => matches(vm, filters)), [vms, filters]);
  const states = useMemo(() => [...new Set(vms.map((v) => v.state))].sort(), [vms]);
  const pick = useCallback((label: string) => set({label}), [set]);
  const columns = useMemo(() => vmColumns(i18n, pick), [i18n, pick]);
  const search = useCallback((q: string | undefined) => set({q}), [set]);

  return (
    <PageFrame title={t('nav.inventory')} count={query.data ? found.length : undefined}>
      <Data query={query}>
        {() =>
          vms.length ? (
            <div className="split">
              <aside className="panel panel-pad stack">
                <Segmented
                  block
                  value={by}
                  onChange={(v) => set({by: v === 'tenant' ? undefined : v, in: undefined})}
                  options={[
                    {value: 'tenant', label: t('inventory.by-tenant')},
                    {value: 'host', label: t('inventory.by-host')},
                  ]}
                />
                <Groups vms={vms} by={by} chosen={filters.in} onChoose={(name) => set({in: name})} />
              </aside>
              <div className="stack">
                <div className="filters">
                  <SearchField value={filters.q} onChange={search} placeholder={t('inventory.search')} width={260} />
                  <Select
                    allowClear
                    value={filters.protection}
                    placeholder={t('vm.protection')}
                    style={{width: 160}}
                    onChange={(v: string | undefined) => set({protection: v})}
                    options={Object.keys(PROTECTION).map((p) => ({value: p, label: td(`vm.protection.${p}`, p)}))}
                  />
                  <Select
                    allowClear
                    value={filters.state}
                    placeholder={t('vm.state')}
                    style={{width: 130}}
                    onChange={(v: string | undefined) => set({state: v})}
                    options={states.map((s) => ({value: s, label: td(`vm.state.${s}`, s)}))}
                  />
                  {filters.label && (
                    <Tag closable onClose={() => set({label: undefined})}>
                      {filters.label}
                    </Tag>
                  )}
                </div>
                <section className="panel">
                  <Table
                    size="small"
                    rowKey="uuid"
                    columns={columns}
                    dataSource={found}
                    scroll={{x: 'max-content'}}
                    pagination={{defaultPageSize: 50, pageSizeOptions: [50, 100, 200], hideOnSinglePage: true, showTotal: (n) => i18n.tn('inventory.vms', n)}}
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

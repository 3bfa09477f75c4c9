// SPDX-License-Identifier: Apache-2.0
// Who talks to whom: by tenant, by a label, by VM. The manager folds VMs into groups, so that ten thousand of them are a picture and not a
// cloud; a click opens the group. What the map shows stands in the URL, and beside it the same as a table, for those who read better there.
import {Button, Select, Segmented, Slider, Table} from 'antd';
import type {SorterResult} from 'antd/es/table/interface';
import {lazy, Suspense, useCallback, useMemo} from 'react';
import {useNavigate} from 'react-router-dom';

import {part} from '../../api/client';
import {CALM, useApi} from '../../api/queries';
import type {Identity, Page, Tenant} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {Data} from '../../parts/data';
import {Nothing} from '../../parts/empty';
import {useFilters} from '../../parts/filters';
import {PageFrame} from '../../parts/page';
import {Time} from '../../parts/show';
import {Waiting} from '../../parts/waiting';
import {useSession} from '../../session/session';

// G6 is large: fetched while the manager makes its answer
const load = (): Promise<typeof import('./picture')> => import('./picture');
load().catch(() => undefined); // who draws meets it again
const Picture = lazy(load);

export interface MapNode {
  id: string;
  kind: 'tenant' | 'group' | 'vm' | 'entity';
  name: string;
  tenant?: string;
  vms?: number;
}

export interface MapEdge {
  from: string;
  to: string;
  allowed: number;
  refused: number;
  bytes: number;
  last: string;
  services: string[];
}

export interface MapData {
  since: string;
  until: string;
  nodes: MapNode[];
  edges: MapEdge[];
  /** With those that are not in edges; absent: they all are. */
  edges_total?: number;
  left_out: number;
}

type Names = 'view' | 'by' | 'tenant' | 'label' | 'verdict' | 'hours' | 'end' | 'sort' | 'page';

/** More lines than this nobody can tell apart, and no browser draws at once. */
const DRAWN = 400;
const ROWS = 50;

const HOUR_MS = 3600_000;
const BACK_H = 168;

function useWindow(hours: number, end: number): {since: string; until: string | undefined} {
  const now = Math.ceil(Date.now() / HOUR_MS) * HOUR_MS;
  return {
    since: new Date(now - (end + hours) * HOUR_MS).toISOString(),
    until: end ? new Date(now - end * HOUR_MS).toISOString() : undefined,
  };
}

interface TableProps {
  data: MapData;
  sort: string;
  page: number;
  loading: boolean;
  onTurn: (sort: string, page: number) => void;
}

function EdgeTable({data, sort, page, loading, onTurn}: TableProps) {
  const {t, td, number, bytes} = useI18n();
  const name = useMemo(() => new Map(data.nodes.map((n) => [n.id, n.kind === 'entity' ? td(`entity.${n.name}`, n.name) : n.name])), [data, td]);
  const sorted = (key: string) => ({
    key,
    sorter: true,
    sortDirections: ['descend' as const, 'descend' as const],
    sortOrder: sort === key ? ('descend' as const) : null,
  });
  return (
    <Table<MapEdge>
      size="small"
      rowKey={(e) => `${e.from} ${e.to}`}
      dataSource={data.edges}
      loading={loading}
      scroll={{x: 'max-content'}}
      pagination={{current: page, pageSize: ROWS, total: data.edges_total ?? 0, showSizeChanger: false, hideOnSinglePage: true}}
      onChange={(at, _filters, order, {action}) =>
        action === 'sort' ? onTurn(String((order as SorterResult<MapEdge>).columnKey ?? sort), 1) : onTurn(sort, at.current ?? 1)
      }
      columns={[
        {title: t('flow.from'), render: (_, e) => name.get(e.from) ?? e.from},
        {title: t('flow.to'), render: (_, e) => name.get(e.to) ?? e.to},
        {title: t('flow.service'), render: (_, e) => <span className="flow">{e.services.join(', ')}</span>},
        {title: t('map.allowed'), dataIndex: 'allowed', align: 'right', className: 'num', render: number, ...sorted('allowed')},
        {
          title: t('map.refused'),
          dataIndex: 'refused',
          align: 'right',
          className: 'num',
          ...sorted('refused'),
          render: (n: number) => <span className={n ? 'bad' : 'dim'}>{number(n)}</span>,
        },
        {title: t('flow.bytes'), dataIndex: 'bytes', align: 'right', className: 'num', render: bytes, ...sorted('bytes')},
        {title: t('preview.last'), ...sorted('last'), render: (_, e) => <Time at={e.last} />},
      ]}
    />
  );
}

export default function MapPage() {
  const {t, relative, number} = useI18n();
  const {may} = useSession();
  const navigate = useNavigate();
  const [filters, set] = useFilters<Names>('view', 'by', 'tenant', 'label', 'verdict', 'hours', 'end', 'sort', 'page');
  const hours = Number(filters.hours) || 24;
  const end = Number(filters.end) || 0;
  const by = filters.by ?? 'tenant';
  const asTable = filters.view === 'table';
  const sort = filters.sort ?? 'refused';
  const page = Math.max(1, Number(filters.page) || 1);
  const {since, until} = useWindow(hours, end);
  const tenants = useApi<Page<Tenant>>('tenants', {limit: 10000}, {enabled: may('tenant.read')});
  const identities = useApi<Page<Identity>>('identities', {limit: 10000}, {enabled: may('vm.read')});
  const keys = useMemo(
    () => [...new Set((identities.data?.items ?? []).flatMap((i) => Object.keys(i.labels)))].filter((k) => !k.startsWith('bulkhead/')).sort(),
    [identities.data],
  );
  const asked = {by: by === 'label' ? `label:${filters.label ?? keys[0] ?? 'role'}` : by, tenant: filters.tenant, verdict: filters.verdict, since, until};
  const ready = by !== 'label' || filters.label !== undefined || identities.data !== undefined;
  const picture = useApi<MapData>('map', {...asked, edges: DRAWN}, {every: CALM, enabled: ready && !asTable});
  const list = useApi<MapData>('map', {...asked, edges: ROWS, sort, offset: (page - 1) * ROWS}, {every: CALM, enabled: ready && asTable});
  const query = asTable ? list : picture;
  const narrow = useCallback((change: Partial<Record<Names, string | undefined>>) => set({page: undefined, ...change}), [set]);
  const open = useCallback(
    (node: MapNode) => {
      if (node.kind === 'tenant') {
        narrow({by: 'labels', tenant: node.name});
      } else if (node.kind === 'group') {
        narrow({by: 'vm', ...(node.tenant ? {tenant: node.tenant} : {})});
      } else if (node.kind === 'vm') {
        navigate(`/vms/${part(node.id.replace(/^vm:/, ''))}?tab=flows`);
      }
    },
    [narrow, navigate],
  );

  return (
    <PageFrame
      title={t('nav.map')}
      count={asTable ? query.data?.edges_total : query.data?.nodes.length}
      extra={
        <Segmented
          value={filters.view ?? 'map'}
          onChange={(v) => narrow({view: v === 'map' ? undefined : v})}
          options={[
            {value: 'map', label: t('nav.map')},
            {value: 'table', label: t('map.table')},
          ]}
        />
      }
    >
      <div className="filters">
        <Segmented
          value={by}
          onChange={(v) => narrow({by: v === 'tenant' ? undefined : v})}
          options={[
            {value: 'tenant', label: t('map.by.tenant')},
            {value: 'labels', label: t('map.by.labels')},
            {value: 'label', label: t('map.by.label')},
            {value: 'vm', label: t('map.by.vm')},
          ]}
        />
        {by === 'label' && (
          <Select
            showSearch
            value={filters.label ?? keys[0]}
            style={{width: 140}}
            aria-label={t('map.by.label')}
            onChange={(v: string) => narrow({label: v})}
            options={keys.map((value) => ({value, label: value}))}
          />
        )}
        <Select
          allowClear
          showSearch
          value={filters.tenant}
          placeholder={t('vm.tenant')}
          style={{width: 150}}
          onChange={(v: string | undefined) => narrow({tenant: v})}
          options={(tenants.data?.items ?? []).map((x) => ({value: x.name, label: x.name}))}
        />
        <Segmented
          value={filters.verdict ?? ''}
          onChange={(v) => narrow({verdict: v || undefined})}
          options={[
            {value: '', label: t('flow.any')},
            {value: 'allow', label: t('map.allowed')},
            {value: 'deny', label: t('map.refused')},
          ]}
        />
        <Select
          value={hours}
          style={{width: 130}}
          aria-label={t('map.window')}
          onChange={(v: number) => narrow({hours: v === 24 ? undefined : String(v)})}
          options={[1, 6, 24, 72, 168].map((value) => ({value, label: t('map.hours', {n: value})}))}
        />
        <Button disabled={!filters.tenant && by === 'tenant'} onClick={() => narrow({by: undefined, tenant: undefined, label: undefined})}>
          {t('map.whole')}
        </Button>
      </div>
      <div className="map-time">
        <span className="dim">{t('map.time')}</span>
        <Slider
          min={-BACK_H}
          max={0}
          value={-end}
          onChange={(v: number) => narrow({end: v ? String(-v) : undefined})}
          tooltip={{formatter: (v) => (v ? relative(Date.now() + v * HOUR_MS) : t('map.now'))}}
          aria-label={t('map.time')}
        />
      </div>
      <Data query={query}>
        {(data) =>
          data.edges_total ? (
            asTable ? (
              <section className="panel">
                <EdgeTable
                  data={data}
                  sort={sort}
                  page={page}
                  loading={query.isPlaceholderData}
                  onTurn={(order, at) => set({sort: order === 'refused' ? undefined : order, page: at === 1 ? undefined : String(at)})}
                />
              </section>
            ) : (
              <section className="panel map">
                <Suspense fallback={<Waiting />}>
                  <Picture data={data} onOpen={open}>
                    <span className="good">
                      <i />
                      {t('map.allowed')}
                    </span>
                    <span className="warn">
                      <i />
                      {t('map.partly')}
                    </span>
                    <span className="bad">
                      <i className="dashed" />
                      {t('map.refused')}
                    </span>
                    {data.left_out > 0 && <span>{t('map.left-out', {n: number(data.left_out)})}</span>}
                  </Picture>
                </Suspense>
              </section>
            )
          ) : (
            <div className="panel">
              <Nothing title={t('map.none')} hint={t('map.none.hint')} />
            </div>
          )
        }
      </Data>
    </PageFrame>
  );
}

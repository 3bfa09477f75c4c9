// SPDX-License-Identifier: Apache-2.0
// Who did what, from where, with which result. Append-only: nothing here can be changed.
import {DownloadOutlined} from '@ant-design/icons';
import {Button, Select, Table, Tag, type TableColumnsType} from 'antd';
import {useCallback, useEffect, useMemo, useState} from 'react';

import {get, type Query} from '../api/client';
import {download} from '../api/download';
import {useApi} from '../api/queries';
import type {Page, Tenant} from '../api/types';
import {useI18n, type I18n} from '../i18n/i18n';
import {useAct} from '../parts/act';
import {Nothing} from '../parts/empty';
import {Failure} from '../parts/failure';
import {useFilters} from '../parts/filters';
import {PageFrame} from '../parts/page';
import {SearchField} from '../parts/search';
import {Waiting} from '../parts/waiting';
import {useSession} from '../session/session';

interface Entry {
  id: string;
  seq?: number;
  time?: string;
  name?: string;
  state?: string;
  user?: string;
  role?: string;
  factor?: string;
  from?: string;
  via?: string;
  act?: string;
  object?: string;
  result?: string;
  code?: number;
  reason?: string;
  approval?: string;
  before?: unknown;
  after?: unknown;
}

interface Answer {
  items: Entry[];
  next?: string;
}

type Names = 'user' | 'act' | 'object' | 'tenant' | 'result' | 'since' | 'q';

const PAGE = 100;
const RESULTS = ['done', 'refused', 'failed', 'denied'];
const COLOR: Record<string, string> = {done: 'success', denied: 'error', refused: 'warning', failed: 'error'};

function columns({t, td, dateTime}: I18n): TableColumnsType<Entry> {
  return [
    {title: t('event.time'), dataIndex: 'time', className: 'num nowrap', render: (at: string | undefined) => at && dateTime(at)},
    {
      title: t('audit.who'),
      render: (_, e) => (
        <>
          {e.user}{' '}
          <span className="dim name" title={e.role}>
            {e.role}
          </span>
        </>
      ),
    },
    {title: t('audit.act'), dataIndex: 'act', render: (act: string | undefined) => <span title={td(`verb.${act ?? ''}`, '')}>{act}</span>},
    {title: t('audit.object'), dataIndex: 'object', className: 'mono'},
    {title: t('vm.tenant'), dataIndex: 'name'},
    {
      title: t('audit.result'),
      render: (_, e) => {
        const result = e.result ?? e.state ?? '';
        return (
          <Tag color={COLOR[result] ?? 'default'} bordered={false}>
            {td(`audit.result.${result}`, result)}
          </Tag>
        );
      },
    },
    {title: t('audit.from'), dataIndex: 'from', className: 'mono'},
    {title: t('audit.factor'), render: (_, e) => td(`factor.${e.factor ?? ''}`, e.factor ?? '')},
    {title: t('audit.reason'), dataIndex: 'reason'},
  ];
}

/** Pages by cursor, newest first. */
function useEntries(query: Query): {items: Entry[]; next: string | undefined; busy: boolean; error: unknown; more: () => void; reload: () => void} {
  const [items, setItems] = useState<Entry[]>([]);
  const [next, setNext] = useState<string>();
  const [busy, setBusy] = useState(true);
  const [error, setError] = useState<unknown>(null);
  const [turn, setTurn] = useState(0);
  const key = JSON.stringify(query);
  useEffect(() => {
    const abort = new AbortController();
    setBusy(true);
    setError(null);
    get<Answer>('audit', {...query, limit: PAGE}, abort.signal).then(
      (a) => {
        setItems(a.items);
        setNext(a.next);
        setBusy(false);
      },
      (e: unknown) => {
        if (!abort.signal.aborted) {
          setError(e);
          setBusy(false);
        }
      },
    );
    return () => abort.abort();
    // key stands for query
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [key, turn]);
  const more = (): void => {
    setBusy(true);
    get<Answer>('audit', {...query, limit: PAGE, before: next})
      .then((a) => {
        setItems((known) => [...known, ...a.items]);
        setNext(a.next);
      }, setError)
      .finally(() => setBusy(false));
  };
  return {items, next, busy, error, more, reload: () => setTurn((n) => n + 1)};
}

export default function Audit() {
  const i18n = useI18n();
  const {t, td} = i18n;
  const {may} = useSession();
  const {run, busy: exporting} = useAct();
  const [filters, set, clear] = useFilters<Names>('user', 'act', 'object', 'tenant', 'result', 'since', 'q');
  const tenants = useApi<Page<Tenant>>('tenants', {limit: 10000}, {enabled: may('tenant.read')});
  const {items, next, busy, error, more, reload} = useEntries(filters);
  const cols = useMemo(() => columns(i18n), [i18n]);
  const setQ = useCallback((q: string | undefined) => set({q}), [set]);
  const setUser = useCallback((user: string | undefined) => set({user}), [set]);
  const setAct = useCallback((act: string | undefined) => set({act}), [set]);
  return (
    <PageFrame
      title={t('nav.audit')}
      extra={
        may('audit.export') && (
          <Button
            icon={<DownloadOutlined />}
            loading={exporting}
            onClick={() => void run(() => download('audit:export', {tenant: filters.tenant}, 'audit.jsonl'), t('audit.exported'))}
          >
            {t('action.export')}
          </Button>
        )
      }
    >
      <div className="filters">
        <SearchField value={filters.q} onChange={setQ} placeholder={t('events.search')} width={200} />
        <SearchField value={filters.user} onChange={setUser} placeholder={t('audit.who')} width={140} />
        <SearchField value={filters.act} onChange={setAct} placeholder={t('audit.act')} width={150} />
        <Select
          allowClear
          value={filters.result}
          placeholder={t('audit.result')}
          style={{width: 130}}
          onChange={(v: string | undefined) => set({result: v})}
          options={RESULTS.map((r) => ({value: r, label: td(`audit.result.${r}`, r)}))}
        />
        <Select
          allowClear
          showSearch
          value={filters.tenant}
          placeholder={t('vm.tenant')}
          style={{width: 140}}
          onChange={(v: string | undefined) => set({tenant: v})}
          options={(tenants.data?.items ?? []).map((x) => ({value: x.name, label: x.name}))}
        />
        <Select
          allowClear
          value={filters.since}
          placeholder={t('events.since')}
          style={{width: 130}}
          onChange={(v: string | undefined) => set({since: v})}
          options={['1h', '1d', '7d', '30d'].map((s) => ({value: s, label: td(`events.since.${s}`, s)}))}
        />
      </div>
      {error !== null && <Failure error={error} onRetry={reload} />}
      <section className="panel" aria-busy={busy}>
        {items.length ? (
          <Table<Entry>
            size="small"
            rowKey="id"
            columns={cols}
            dataSource={items}
            pagination={false}
            scroll={{x: 'max-content'}}
            expandable={{expandRowByClick: true, expandedRowRender: (e) => <pre className="event-detail">{JSON.stringify(e, null, 2)}</pre>}}
          />
        ) : busy ? (
          <Waiting />
        ) : (
          error === null && (
            <Nothing
              title={Object.keys(filters).length ? t('list.no-match') : t('audit.none')}
              hint={Object.keys(filters).length ? <a onClick={clear}>{t('list.clear')}</a> : undefined}
            />
          )
        )}
        {next && items.length > 0 && (
          <div className="panel-pad">
            <Button block loading={busy} onClick={more}>
              {t('events.older')}
            </Button>
          </div>
        )}
      </section>
    </PageFrame>
  );
}

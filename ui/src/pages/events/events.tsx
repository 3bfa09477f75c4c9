// SPDX-License-Identifier: Apache-2.0
// Search in what was stored, page by page, and a live tail of what comes. All filters stand in the URL.
import {DownloadOutlined, PauseCircleOutlined, PlayCircleOutlined} from '@ant-design/icons';
import {Button, Segmented, Select} from 'antd';
import {useCallback, useEffect, useMemo, useState} from 'react';

import {get, type Query} from '../../api/client';
import {download} from '../../api/download';
import {useApi} from '../../api/queries';
import {follow} from '../../api/stream';
import type {BusEvent, Host, Page, Tenant} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {Nothing} from '../../parts/empty';
import {EventTable} from '../../parts/event-table';
import {Failure} from '../../parts/failure';
import {useFilters, type Filters} from '../../parts/filters';
import {PageFrame} from '../../parts/page';
import {SearchField} from '../../parts/search';
import {Waiting} from '../../parts/waiting';
import {useSession} from '../../session/session';
import {EVENT_KINDS} from './kinds';

type Names = 'view' | 'type' | 'severity' | 'verdict' | 'host' | 'vm' | 'tenant' | 'since' | 'q' | 'id';

const PAGE = 100;
const KEPT_LIVE = 500;
const SPANS = ['15m', '1h', '1d', '7d', '30d'];

interface Answer {
  items: BusEvent[];
  /** `before` of the next older page; absent on the last. */
  next?: number;
  /** False: the time for one answer was over; there may be more on the next page. */
  complete?: boolean;
}

function queryOf(f: Filters<Names>): Query {
  return {
    type: f.type,
    severity: f.view === 'flows' ? undefined : f.severity,
    verdict: f.verdict,
    host: f.host,
    vm: f.vm,
    tenant: f.tenant,
    since: f.since,
    q: f.q,
  };
}

const newestFirst = (items: BusEvent[]): BusEvent[] => [...items].sort((a, b) => b.id - a.id);

interface Stored {
  events: BusEvent[];
  more: boolean;
  busy: boolean;
  error: unknown;
  older: () => void;
  reload: () => void;
}

function useStored(path: string, query: Query, enabled: boolean): Stored {
  const [events, setEvents] = useState<BusEvent[]>([]);
  const [next, setNext] = useState<number>();
  const [busy, setBusy] = useState(enabled);
  const [error, setError] = useState<unknown>(null);
  const [turn, setTurn] = useState(0);
  const key = JSON.stringify([path, query]);

  useEffect(() => {
    if (!enabled) {
      return undefined;
    }
    const abort = new AbortController();
    setBusy(true);
    setError(null);
    get<Answer>(path, {...query, order: 'newest', limit: PAGE}, abort.signal)
      .then((page) => {
        setEvents(newestFirst(page.items));
        setNext(page.next);
        setBusy(false);
      })
      .catch((e: unknown) => {
        if (!abort.signal.aborted) {
          setError(e);
          setBusy(false);
        }
      });
    return () => abort.abort();
    // key stands for path and query, which are new objects with each turn
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [key, enabled, turn]);

  const older = useCallback(() => {
    setBusy(true);
    get<Answer>(path, {...query, order: 'newest', limit: PAGE, before: next})
      .then((page) => {
        setEvents((known) => [...known, ...newestFirst(page.items)]);
        setNext(page.next);
      })
      .catch(setError)
      .finally(() => setBusy(false));
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [next, key]);

  return {events, more: next !== undefined, busy, error, older, reload: useCallback(() => setTurn((n) => n + 1), [])};
}

interface Live {
  events: BusEvent[];
  connected: boolean;
  error: unknown;
}

/** Rows that come together are shown together: a flood costs a few renderings a second. */
function useLive(path: string, query: Query, enabled: boolean): Live {
  const [live, setLive] = useState<Live>({events: [], connected: false, error: null});
  const key = JSON.stringify([path, query]);

  useEffect(() => {
    setLive({events: [], connected: false, error: null});
    if (!enabled) {
      return undefined;
    }
    const abort = new AbortController();
    let waiting: BusEvent[] = [];
    const timer = setInterval(() => {
      if (waiting.length) {
        const batch = newestFirst(waiting.slice(-KEPT_LIVE));
        waiting = [];
        setLive((l) => ({...l, events: [...batch, ...l.events].slice(0, KEPT_LIVE)}));
      }
    }, 300);
    follow(path, {
      query,
      signal: abort.signal,
      onState: (connected) => setLive((l) => ({...l, connected})),
      onEvent: (e) => {
        try {
          waiting.push(JSON.parse(e.data) as BusEvent);
        } catch {
          // the manager sends JSON only; what is no JSON is no event
        }
      },
    }).catch((error: unknown) => {
      if (!abort.signal.aborted) {
        setLive((l) => ({...l, error}));
      }
    });
    return () => {
      abort.abort();
      clearInterval(timer);
    };
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [key, enabled]);
  return live;
}

function FilterBar({filters, set}: {filters: Filters<Names>; set: (change: Filters<Names>) => void}) {
  const {t, td} = useI18n();
  const {may} = useSession();
  const hosts = useApi<Page<Host>>('hosts', {limit: 10000}, {enabled: may('host.read')});
  const tenants = useApi<Page<Tenant>>('tenants', {limit: 10000}, {enabled: may('tenant.read')});
  const flows = filters.view === 'flows';
  const names = (list: {name: string}[] | undefined): {value: string; label: string}[] => (list ?? []).map((x) => ({value: x.name, label: x.name}));
  const setQ = useCallback((q: string | undefined) => set({q}), [set]);
  const setVm = useCallback((vm: string | undefined) => set({vm}), [set]);
  return (
    <div className="filters">
      <SearchField value={filters.q} onChange={setQ} placeholder={t('events.search')} width={180} />
      <Select
        allowClear
        showSearch
        value={filters.type}
        placeholder={t('event.type')}
        style={{width: 130}}
        onChange={(v: string | undefined) => set({type: v})}
        options={EVENT_KINDS.filter((k) => !flows || k === 'flow.' || k === 'guard.').map((k) => ({value: k, label: td(`event.kind.${k}`, k)}))}
      />
      {!flows && (
        <Select
          allowClear
          value={filters.severity}
          placeholder={t('event.severity')}
          style={{width: 130}}
          onChange={(v: string | undefined) => set({severity: v})}
          options={['notice', 'warning', 'critical'].map((s) => ({value: s, label: t('events.or-graver', {severity: td(`severity.${s}`, s)})}))}
        />
      )}
      <Select
        allowClear
        value={filters.verdict}
        placeholder={t('flow.verdict')}
        style={{width: 110}}
        onChange={(v: string | undefined) => set({verdict: v})}
        options={(['allow', 'deny', 'reject'] as const).map((v) => ({value: v, label: t(`verdict.${v}`)}))}
      />
      {may('host.read') && (
        <Select allowClear showSearch value={filters.host} placeholder={t('event.host')} style={{width: 115}} onChange={(v: string | undefined) => set({host: v})} options={names(hosts.data?.items)} />
      )}
      {may('tenant.read') && (
        <Select allowClear showSearch value={filters.tenant} placeholder={t('vm.tenant')} style={{width: 115}} onChange={(v: string | undefined) => set({tenant: v})} options={names(tenants.data?.items)} />
      )}
      <SearchField value={filters.vm} onChange={setVm} placeholder={t('events.vm')} width={120} />
      <Select
        allowClear
        value={filters.since}
        placeholder={t('events.since')}
        style={{width: 130}}
        onChange={(v: string | undefined) => set({since: v})}
        options={SPANS.map((s) => ({value: s, label: td(`events.since.${s}`, s)}))}
      />
    </div>
  );
}

export default function Events() {
  const {t} = useI18n();
  const {may} = useSession();
  const [filters, set, clear] = useFilters<Names>('view', 'type', 'severity', 'verdict', 'host', 'vm', 'tenant', 'since', 'q', 'id');
  const {run, busy: exporting} = useAct();
  const [live, setLive] = useState(false);
  const flows = filters.view === 'flows';
  const path = flows ? 'flows' : 'events';
  const query = useMemo(() => queryOf(filters), [filters]);
  const stored = useStored(path, query, true);
  const tail = useLive(path, {...query, since: undefined}, live);
  const first = stored.events[0]?.id ?? 0;
  const events = useMemo(() => [...tail.events.filter((e) => e.id > first), ...stored.events], [tail.events, stored.events, first]);
  const error = stored.error ?? tail.error;

  return (
    <PageFrame
      title={t('nav.events')}
      extra={
        <>
          <Segmented
            value={flows ? 'flows' : 'events'}
            onChange={(v) => set({view: v === 'flows' ? 'flows' : undefined, type: undefined})}
            options={[
              {value: 'events', label: t('events.all')},
              {value: 'flows', label: t('events.flows')},
            ]}
          />
          <Button icon={live ? <PauseCircleOutlined /> : <PlayCircleOutlined />} type={live ? 'primary' : 'default'} onClick={() => setLive(!live)} aria-pressed={live}>
            {live ? (tail.connected ? t('events.live.on') : t('events.live.connecting')) : t('events.live')}
          </Button>
          {may('event.export') && (
            <Button
              icon={<DownloadOutlined />}
              loading={exporting}
              title={t('events.export.hint')}
              onClick={() => void run(() => download('events:export', {...query, ...(flows && !query.type ? {type: 'flow.'} : {})}, 'events.jsonl'), t('events.exported'))}
            >
              {t('action.export')}
            </Button>
          )}
        </>
      }
    >
      <FilterBar filters={filters} set={set} />
      {error !== null && error !== undefined && <Failure error={error} onRetry={stored.reload} />}
      <section className="panel" aria-busy={stored.busy}>
        {events.length ? (
          <EventTable events={events} flows={flows} newerThan={first} {...(filters.id ? {open: Number(filters.id)} : {})} />
        ) : stored.busy ? (
          <Waiting />
        ) : (
          !error && (
            <Nothing
              title={Object.keys(filters).length ? t('list.no-match') : t('events.none')}
              hint={Object.keys(filters).length ? <a onClick={clear}>{t('list.clear')}</a> : t('events.none.hint')}
            />
          )
        )}
        {stored.more && (
          <div className="panel-pad">
            <Button block loading={stored.busy} onClick={stored.older}>
              {t('events.older')}
            </Button>
          </div>
        )}
      </section>
    </PageFrame>
  );
}

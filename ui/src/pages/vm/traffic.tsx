// SPDX-License-Identifier: Apache-2.0
// With whom a VM talks: flows that were recorded, connections that are open now, and what happened to it.
import {Segmented, Table} from 'antd';
import {Link} from 'react-router-dom';
import {useState} from 'react';

import {part} from '../../api/client';
import {LIVELY, useApi} from '../../api/queries';
import type {BusEvent, Vm} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {Data} from '../../parts/data';
import {Nothing} from '../../parts/empty';
import {EventTable} from '../../parts/event-table';

const newestFirst = (items: BusEvent[]): BusEvent[] => [...items].sort((a, b) => b.id - a.id);

export function VmFlows({vm}: {vm: Vm}) {
  const {t} = useI18n();
  const [verdict, setVerdict] = useState('');
  const query = useApi<{items: BusEvent[]}>('flows', {vm: vm.uuid, verdict, order: 'newest', limit: 100}, {every: LIVELY});
  return (
    <div className="stack">
      <div className="filters">
        <Segmented
          value={verdict}
          onChange={setVerdict}
          options={[
            {value: '', label: t('flow.any')},
            {value: 'allow', label: t('verdict.allow')},
            {value: 'deny', label: t('verdict.deny')},
            {value: 'reject', label: t('verdict.reject')},
          ]}
        />
        <Link to={`/events?view=flows&vm=${part(vm.uuid)}`}>{t('action.all')}</Link>
      </div>
      <Data query={query}>
        {({items}) => (items.length ? <EventTable flows events={newestFirst(items)} /> : <Nothing title={t('flow.none')} hint={t('flow.none.hint')} />)}
      </Data>
    </div>
  );
}

interface ConnectionEnd {
  address: string;
  port: number;
  vm_name?: string;
  vm?: string;
}

interface Connection {
  proto: string;
  state: string;
  src: ConnectionEnd;
  dst: ConnectionEnd;
  packets: number[];
  bytes: number[];
  age_ms: number;
  idle_ms: number;
}

const show = (e: ConnectionEnd): string => `${e.address.includes(':') ? `[${e.address}]` : e.address}${e.port ? `:${e.port}` : ''}`;
const sum = (list: number[]): number => list.reduce((a, b) => a + b, 0);

export function VmConnections({vm, host}: {vm: Vm; host: string}) {
  const {t, number, bytes, span} = useI18n();
  const query = useApi<{connections: Connection[]; cut: boolean}>(
    `hosts/${part(host)}/query`,
    {what: 'connections', vm: vm.uuid, limit: 1000},
    {every: LIVELY},
  );
  return (
    <Data query={query}>
      {({connections, cut}) =>
        connections.length ? (
          <>
            {cut && <p className="dim">{t('flow.cut', {n: connections.length})}</p>}
            <Table
              size="small"
              rowKey={(c) => `${c.proto} ${show(c.src)} ${show(c.dst)}`}
              dataSource={connections}
              pagination={{defaultPageSize: 50, hideOnSinglePage: true}}
              scroll={{x: 'max-content'}}
              columns={[
                {title: t('flow.proto'), dataIndex: 'proto'},
                {title: t('flow.state'), dataIndex: 'state'},
                {title: t('flow.from'), render: (_, c) => <span className="flow">{show(c.src)}</span>},
                {title: t('flow.to'), render: (_, c) => <span className="flow">{show(c.dst)}</span>},
                {title: t('flow.packets'), align: 'right', className: 'num', render: (_, c) => number(sum(c.packets))},
                {title: t('flow.bytes'), align: 'right', className: 'num', render: (_, c) => bytes(sum(c.bytes)), sorter: (a, b) => sum(a.bytes) - sum(b.bytes)},
                {title: t('flow.age'), align: 'right', className: 'num', render: (_, c) => span(c.age_ms), sorter: (a, b) => a.age_ms - b.age_ms},
                {title: t('flow.idle'), align: 'right', className: 'num', render: (_, c) => span(c.idle_ms)},
              ]}
            />
          </>
        ) : (
          <Nothing title={t('flow.live.none')} />
        )
      }
    </Data>
  );
}

export function VmEvents({vm}: {vm: Vm}) {
  const {t} = useI18n();
  const query = useApi<{items: BusEvent[]}>('events', {vm: vm.uuid, order: 'newest', limit: 100}, {every: LIVELY});
  return (
    <Data query={query}>
      {({items}) => (items.length ? <EventTable events={newestFirst(items)} /> : <Nothing title={t('events.none')} />)}
    </Data>
  );
}

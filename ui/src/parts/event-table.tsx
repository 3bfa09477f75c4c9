// SPDX-License-Identifier: Apache-2.0
// Events and flows as a table; a row opens what the event says word by word.
import {Table, type TableColumnsType} from 'antd';
import {useMemo} from 'react';

import type {BusEvent} from '../api/types';
import {useI18n, type I18n} from '../i18n/i18n';
import {HostLink, SeverityTag, Verdict, VmLink} from './show';

export function endOf(event: BusEvent, side: 'src' | 'dst'): string {
  const port = side === 'src' ? event.sport : event.dport;
  const address = event[side];
  return address ? `${address.includes(':') ? `[${address}]` : address}${port ? `:${port}` : ''}` : '';
}

function End({event, side}: {event: BusEvent; side: 'src' | 'dst'}) {
  // what a guard stops comes from the VM, whatever address it wears
  const own = side === 'src' && event.type.startsWith('guard.') ? event.vm_name : undefined;
  const name = (side === 'src' ? event.src_vm : event.dst_vm) ?? own;
  return (
    <span>
      {name && (
        <>
          <VmLink uuid={own && event.vm} name={name} />{' '}
        </>
      )}
      <span className="flow dim">{endOf(event, side)}</span>
    </span>
  );
}

const isFlow = (e: BusEvent): boolean => e.type.startsWith('flow.') || e.type.startsWith('guard.');

/** What an event is about, in a line. */
export function summary(e: BusEvent): string {
  for (const member of ['reason', 'message', 'text', 'summary', 'why', 'problem']) {
    if (typeof e[member] === 'string' && e[member]) {
      return e[member] as string;
    }
  }
  const first = (...members: string[]): string | undefined => members.map((m) => e[m]).find((x): x is string => typeof x === 'string' && x !== '');
  const who = [first('who', 'user'), first('detail', 'object', 'path'), first('from')].filter(Boolean);
  return who.join(' · ');
}

const time = ({t, dateTime}: I18n): TableColumnsType<BusEvent>[number] => ({
  title: t('event.time'),
  dataIndex: 'time',
  className: 'num nowrap',
  render: (at: string) => dateTime(at),
});

export function flowColumns(i18n: I18n): TableColumnsType<BusEvent> {
  const {t, number, td} = i18n;
  return [
    time(i18n),
    {title: t('flow.verdict'), render: (_, e) => <Verdict action={e.verdict} />},
    {title: t('event.type'), dataIndex: 'type', render: (type: string) => <span title={td(`event.${type}`, '')}>{type}</span>},
    {title: t('flow.from'), render: (_, e) => <End event={e} side="src" />},
    {title: t('flow.to'), render: (_, e) => <End event={e} side="dst" />},
    {title: t('flow.proto'), dataIndex: 'proto'},
    {title: t('flow.count'), dataIndex: 'count', align: 'right', className: 'num', render: (n: number | undefined) => (n ? number(n) : '')},
    {title: t('flow.rule'), dataIndex: 'rule_text', render: (text: string | undefined, e) => text ?? e.reason ?? ''},
  ];
}

export function eventColumns(i18n: I18n): TableColumnsType<BusEvent> {
  const {t, td} = i18n;
  return [
    time(i18n),
    {title: t('event.severity'), dataIndex: 'severity', render: (_, e) => <SeverityTag severity={e.severity} />},
    {title: t('event.type'), dataIndex: 'type', render: (type: string) => <span title={td(`event.${type}`, '')}>{type}</span>},
    {title: t('event.host'), dataIndex: 'host', render: (host: string | undefined) => host && <HostLink name={host} />},
    {
      title: t('event.what'),
      render: (_, e) =>
        isFlow(e) ? (
          <>
            <End event={e} side="src" />
            <span className="effect-arrow">→</span>
            <End event={e} side="dst" /> <Verdict action={e.verdict} />
          </>
        ) : (
          <>
            {(e.vm_name || e.vm) && <VmLink uuid={e.vm} name={e.vm_name} />} {summary(e)}
          </>
        ),
    },
  ];
}

interface Props {
  events: BusEvent[];
  flows?: boolean;
  /** Events with greater ids have come while the table is looked at. */
  newerThan?: number;
  open?: number;
}

export function EventTable({events, flows, newerThan, open}: Props) {
  const i18n = useI18n();
  const columns = useMemo(() => (flows ? flowColumns(i18n) : eventColumns(i18n)), [i18n, flows]);
  return (
    <Table
      size="small"
      rowKey="id"
      columns={columns}
      dataSource={events}
      pagination={false}
      scroll={{x: 'max-content'}}
      rowClassName={(e) => (newerThan !== undefined && e.id > newerThan ? 'event-row-new' : '')}
      expandable={{
        expandRowByClick: true,
        ...(open ? {defaultExpandedRowKeys: [open]} : {}),
        expandedRowRender: (e) => <pre className="event-detail">{JSON.stringify(e, null, 2)}</pre>,
      }}
    />
  );
}

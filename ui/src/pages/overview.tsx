// SPDX-License-Identifier: Apache-2.0
// At a glance: is everything protected, is everybody in step, what was refused, what is missing.
import {Alert, Table} from 'antd';
import {Link} from 'react-router-dom';

import {part} from '../api/client';
import {LIVELY, useApi} from '../api/queries';
import type {BusEvent, Host, Status} from '../api/types';
import {useI18n} from '../i18n/i18n';
import {Data} from '../parts/data';
import {Nothing} from '../parts/empty';
import {summary} from '../parts/event-table';
import {PageFrame} from '../parts/page';
import {HostStateTag, Long, SeverityTag, Time, VmLink} from '../parts/show';
import {Stat} from '../parts/stat';
import {useSession} from '../session/session';

interface AlertCounts {
  open: number;
  acknowledged: number;
  open_critical: number;
}

function Figures({status}: {status: Status}) {
  const {t, tn, number} = useI18n();
  const {may} = useSession();
  const c = status.counts;
  const alerts = useApi<{counts: AlertCounts}>('alerts', {limit: 1}, {every: LIVELY, enabled: may('event.read')});
  const counts = alerts.data?.counts;
  const nics = c.nics ?? 0;
  const open = c.nics_unprotected ?? 0;
  const missing = status.events?.missing ?? 0;
  const hosts = status.hosts; // a tenant's people see none
  const outOfStep = hosts ? hosts.online - hosts.in_sync : 0;
  const offline = hosts ? hosts.total - hosts.online : 0;
  return (
    <div className="stats">
      <Stat label={t('overview.protected')} value={number(nics - open)} hint={tn('overview.of-nics', nics)} mood={nics > open ? 'good' : 'calm'} to="/inventory" />
      <Stat
        label={t('overview.unprotected')}
        value={number(open)}
        hint={open ? t('overview.unprotected.hint') : t('overview.unprotected.none')}
        mood={open ? 'bad' : 'calm'}
        to="/inventory?protection=open"
      />
      {hosts && (
        <Stat
          label={t('overview.hosts')}
          value={`${number(hosts.in_sync)} / ${number(hosts.total)}`}
          hint={offline ? tn('overview.offline', offline) : outOfStep ? tn('overview.out-of-step', outOfStep) : t('overview.in-step')}
          mood={offline ? 'bad' : outOfStep ? 'warn' : hosts.total ? 'good' : 'calm'}
          to="/hosts"
        />
      )}
      {counts && (
        <Stat
          label={t('overview.alerts')}
          value={number(counts.open)}
          hint={counts.open_critical ? tn('overview.critical', counts.open_critical) : t('overview.acknowledged', {n: counts.acknowledged})}
          mood={counts.open_critical ? 'bad' : counts.open ? 'warn' : 'calm'}
          to="/alerts?state=open"
        />
      )}
      <Stat label={t('overview.policies')} value={number(c.policies ?? 0)} hint={t('overview.rules', {n: c.rules ?? 0, revision: status.revision})} to="/policies" />
      <Stat label={t('overview.vms')} value={number(c.vms ?? 0)} hint={tn('overview.tenants', c.tenants ?? 0)} to="/inventory" />
      <Stat
        label={t('overview.events')}
        value={number(status.events?.stored ?? 0)}
        hint={missing ? tn('overview.missing', missing) : t('overview.complete')}
        mood={missing ? 'warn' : 'calm'}
        to={missing ? '/events?type=gap' : '/events'}
      />
    </div>
  );
}

function Troubles({status}: {status: Status}) {
  const {t, tn} = useI18n();
  const list: {key: string; type: 'error' | 'warning'; text: string; to?: string}[] = [];
  if (status.bus && !status.bus.connected) {
    list.push({key: 'bus', type: 'error', text: t('overview.trouble.bus')});
  }
  if (status.store?.ok === false) {
    list.push({key: 'store', type: 'error', text: t('overview.trouble.store')});
  }
  if (status.counts.address_conflicts) {
    list.push({key: 'addr', type: 'warning', text: tn('overview.trouble.conflicts', status.counts.address_conflicts), to: '/inventory?protection=conflict'});
  }
  return (
    <>
      {list.map((item) => (
        <Alert
          key={item.key}
          type={item.type}
          showIcon
          message={item.text}
          action={item.to && <Link to={item.to}>{t('action.show')}</Link>}
        />
      ))}
    </>
  );
}

function HostsInTrouble({hosts}: {hosts: Host[]}) {
  const {t} = useI18n();
  const bad = hosts.filter((h) => !h.in_sync || h.nics_unprotected || h.maintenance?.on);
  return (
    <section className="panel" aria-label={t('overview.attention')}>
      <div className="panel-head">{t('overview.attention')}</div>
      {bad.length ? (
        <Table
          size="small"
          rowKey="name"
          dataSource={bad}
          pagination={{pageSize: 8, hideOnSinglePage: true, showSizeChanger: false}}
          scroll={{x: 'max-content'}}
          columns={[
            {title: t('host.name'), dataIndex: 'name', render: (name: string) => <Link to={`/hosts/${part(name)}`}>{name}</Link>},
            {title: t('host.state'), dataIndex: 'state', render: (_, h) => <HostStateTag state={h.state} />},
            {title: t('host.unprotected'), dataIndex: 'nics_unprotected', align: 'right', className: 'num'},
            {title: t('host.problem'), dataIndex: 'problem', render: (_, h) => h.problem ?? (h.maintenance?.on ? t('host.in-maintenance') : '')},
          ]}
        />
      ) : (
        <Nothing title={hosts.length ? t('overview.attention.none') : t('hosts.none')} hint={hosts.length ? undefined : t('hosts.none.hint')} />
      )}
    </section>
  );
}

function Refused() {
  const {t, clock} = useI18n();
  const flows = useApi<{items: BusEvent[]}>('flows', {verdict: 'deny', since: '1d', order: 'newest', limit: 12}, {every: LIVELY});
  return (
    <section className="panel" aria-label={t('overview.refused')}>
      <div className="panel-head">
        {t('overview.refused')}
        <Link to="/events?view=flows&verdict=deny">{t('action.all')}</Link>
      </div>
      <Data query={flows}>
        {({items}) =>
          items.length ? (
            <Table
              size="small"
              rowKey="id"
              dataSource={items}
              pagination={false}
              scroll={{x: 'max-content'}}
              columns={[
                {title: t('event.time'), dataIndex: 'time', className: 'num', render: (time: string) => clock(time)},
                {title: t('flow.from'), render: (_, e) => (e.src_vm ? <VmLink uuid={undefined} name={e.src_vm} /> : <span className="flow">{e.src}</span>)},
                {title: t('flow.to'), render: (_, e) => (e.dst_vm ? <VmLink uuid={undefined} name={e.dst_vm} /> : <span className="flow">{e.dst}</span>)},
                {title: t('flow.service'), render: (_, e) => <span className="flow">{`${e.proto ?? ''}${e.dport ? `/${e.dport}` : ''}`}</span>},
                {title: t('flow.rule'), dataIndex: 'rule_text', className: 'half', render: (text?: string) => <Long text={text} />},
              ]}
            />
          ) : (
            <Nothing title={t('overview.refused.none')} />
          )
        }
      </Data>
    </section>
  );
}

function Grave() {
  const {t} = useI18n();
  const events = useApi<{items: BusEvent[]}>('events', {severity: 'warning', since: '1d', order: 'newest', limit: 12}, {every: LIVELY});
  return (
    <section className="panel" aria-label={t('overview.grave')}>
      <div className="panel-head">
        {t('overview.grave')}
        <Link to="/events?severity=warning">{t('action.all')}</Link>
      </div>
      <Data query={events}>
        {({items}) =>
          items.length ? (
            <Table
              size="small"
              rowKey="id"
              dataSource={items}
              pagination={false}
              scroll={{x: 'max-content'}}
              columns={[
                {title: t('event.time'), dataIndex: 'time', render: (time: string) => <Time at={time} />},
                {title: t('event.severity'), dataIndex: 'severity', render: (_, e) => <SeverityTag severity={e.severity} />},
                {title: t('event.type'), dataIndex: 'type', render: (type: string, e) => <Link to={`/events?id=${e.id}`}>{type}</Link>},
                {title: t('event.what'), render: (_, e) => (e.vm_name ? <VmLink uuid={e.vm} name={e.vm_name} /> : summary(e) || e.host || '')},
              ]}
            />
          ) : (
            <Nothing title={t('overview.grave.none')} />
          )
        }
      </Data>
    </section>
  );
}

export default function Overview() {
  const {t} = useI18n();
  const {may} = useSession();
  const status = useApi<Status>('status', undefined, {every: LIVELY});
  return (
    <PageFrame title={t('nav.overview')}>
      <Data query={status}>
        {(s) => (
          <>
            <Troubles status={s} />
            <Figures status={s} />
            <div className="columns">
              {may('event.read') && <Grave />}
              {may('flow.read') && <Refused />}
              {may('host.read') && <HostsInTrouble hosts={s.host_list ?? []} />}
            </div>
          </>
        )}
      </Data>
    </PageFrame>
  );
}

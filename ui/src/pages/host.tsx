// SPDX-License-Identifier: Apache-2.0
import {App, Button, Input, Table, Tabs, Tag} from 'antd';
import {useState} from 'react';
import {Link, useParams} from 'react-router-dom';

import {part, put} from '../api/client';
import {LIVELY, useApi, useRefresh} from '../api/queries';
import type {Counts, Host} from '../api/types';
import {useI18n} from '../i18n/i18n';
import {useAct} from '../parts/act';
import {Data} from '../parts/data';
import {Facts} from '../parts/facts';
import {useFilters} from '../parts/filters';
import {PageFrame} from '../parts/page';
import {Addresses, HostStateTag, LabelTags, Time, VmLink, VmState} from '../parts/show';
import {useSession} from '../session/session';
import {ProtectionTag} from './inventory';

const TABLES = ['nics', 'addrs', 'sets', 'rows', 'cidrs', 'ranges'] as const;

function Room({host}: {host: Host}) {
  const {t, td, number, percent} = useI18n();
  const rows = TABLES.filter((k) => host.capacity?.[k]).map((k) => ({
    table: k,
    used: (host.used as Counts | undefined)?.[k] ?? 0,
    capacity: host.capacity?.[k] ?? 0,
  }));
  return (
    <Table
      scroll={{x: 'max-content'}}
      size="small"
      rowKey="table"
      pagination={false}
      dataSource={rows}
      columns={[
        {title: t('host.table'), dataIndex: 'table', render: (k: string) => td(`host.table.${k}`, k)},
        {title: t('host.used'), dataIndex: 'used', align: 'right', className: 'num', render: number},
        {title: t('host.capacity'), dataIndex: 'capacity', align: 'right', className: 'num', render: number},
        {
          title: t('host.share'),
          width: 200,
          render: (_, r) => (
            <>
              <span className="num">{percent(r.used / r.capacity)}</span>
              <div className="bar">
                <i style={{width: `${Math.min(100, (100 * r.used) / r.capacity)}%`}} />
              </div>
            </>
          ),
        },
      ]}
    />
  );
}

function MaintenanceButton({host}: {host: Host}) {
  const {t} = useI18n();
  const {modal} = App.useApp();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const on = host.maintenance?.on ?? false;
  const change = (reason: string): Promise<boolean> =>
    run(async () => {
      await put(`hosts/${part(host.name)}/maintenance`, {on: !on, ...(reason ? {reason} : {})});
      await refresh('hosts');
    }, on ? t('host.maintenance.ended') : t('host.maintenance.begun'));
  const ask = (): void => {
    let reason = '';
    void modal.confirm({
      title: on ? t('host.maintenance.end') : t('host.maintenance.begin'),
      content: on ? (
        t('host.maintenance.end.text')
      ) : (
        <>
          <p>{t('host.maintenance.begin.text')}</p>
          <Input maxLength={256} placeholder={t('form.reason')} aria-label={t('form.reason')} onChange={(e) => (reason = e.target.value)} />
        </>
      ),
      onOk: () => change(reason),
    });
  };
  return (
    <Button onClick={ask} loading={busy}>
      {on ? t('host.maintenance.end') : t('host.maintenance.begin')}
    </Button>
  );
}

function AboutHost({host}: {host: Host}) {
  const {t, td, span} = useI18n();
  return (
    <section className="panel panel-pad">
      <Facts
        items={[
          [t('host.state'), <HostStateTag key="s" state={host.state} />],
          [t('host.problem'), host.problem && <span className="bad">{host.problem}</span>],
          [
            t('host.maintenance'),
            host.maintenance?.on && (
              <>
                {host.maintenance.reason || t('host.in-maintenance')} · {host.maintenance.by} · <Time at={host.maintenance.since} />
              </>
            ),
          ],
          [t('host.labels'), host.labels && Object.keys(host.labels).length > 0 && <LabelTags labels={host.labels} />],
          [t('host.revision'), host.revision],
          [t('host.installed-at'), host.installed_at && <Time at={host.installed_at} />],
          [t('host.install-time'), host.install_us ? span(host.install_us / 1000) : undefined],
          [t('host.last-seen'), <Time key="l" at={host.last_seen} />],
          [t('host.enrolled'), <Time key="e" at={host.enrolled_at} exact />],
          [t('host.version'), host.version],
          [
            t('host.certificate'),
            host.certificate && (
              <span className={host.certificate.expired ? 'bad' : ''}>
                {td(host.certificate.expired ? 'host.certificate.ended' : 'host.certificate.until', '')} <Time at={host.certificate.not_after} />
              </span>
            ),
          ],
          [t('host.hash'), host.installed && <span className="mono">{host.installed}</span>],
        ]}
      />
    </section>
  );
}

export default function HostPage() {
  const {t} = useI18n();
  const {name = ''} = useParams();
  const {may} = useSession();
  const [tab, setTab] = useFilters<'tab'>('tab');
  const [filter, setFilter] = useState('');
  const query = useApi<Host>(`hosts/${part(name)}`, undefined, {every: LIVELY});
  return (
    <PageFrame
      title={name}
      trail={[{name: t('nav.hosts'), to: '/hosts'}]}
      tags={query.data?.maintenance?.on && <Tag color="warning">{t('host.in-maintenance')}</Tag>}
      extra={
        <>
          <Link to={`/events?host=${part(name)}`}>
            <Button>{t('nav.events')}</Button>
          </Link>
          {query.data && may('host.write') && <MaintenanceButton host={query.data} />}
        </>
      }
    >
      <Data query={query}>
        {(host) => (
          <>
            <AboutHost host={host} />
            <section className="panel panel-pad">
              <Tabs
                activeKey={tab.tab ?? 'vms'}
                onChange={(k) => setTab({tab: k === 'vms' ? undefined : k})}
                items={[
                  {
                    key: 'vms',
                    label: `${t('host.vms')} ${host.vms}`,
                    children: (
                      <div className="stack">
                        <Input.Search allowClear style={{maxWidth: 260}} placeholder={t('inventory.search')} onChange={(e) => setFilter(e.target.value)} />
                        <Table
                          size="small"
                          rowKey="uuid"
                          dataSource={(host.vm_list ?? []).filter((v) => v.name.includes(filter))}
                          pagination={{pageSize: 50, hideOnSinglePage: true}}
                          scroll={{x: 'max-content'}}
                          columns={[
                            {title: t('vm.name'), render: (_, v) => <VmLink uuid={v.uuid} name={v.name} />},
                            {title: t('vm.state'), render: (_, v) => <VmState state={v.state} />},
                            {title: t('vm.protection'), render: (_, v) => <ProtectionTag vm={v} />},
                            {title: t('vm.tenant'), dataIndex: 'tenant'},
                            {title: t('vm.addresses'), render: (_, v) => <Addresses list={v.nics.flatMap((n) => n.addresses)} />},
                          ]}
                        />
                      </div>
                    ),
                  },
                  {key: 'room', label: t('host.room'), children: <Room host={host} />},
                ]}
              />
            </section>
          </>
        )}
      </Data>
    </PageFrame>
  );
}

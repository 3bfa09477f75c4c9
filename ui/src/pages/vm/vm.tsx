// SPDX-License-Identifier: Apache-2.0
// Everything about one VM: who it is, what protects it, with whom it talks, where it ran.
import {Alert, Tabs} from 'antd';
import {Link, useParams} from 'react-router-dom';

import {part} from '../../api/client';
import {LIVELY, useApi} from '../../api/queries';
import type {Vm} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {Data} from '../../parts/data';
import {useFilters} from '../../parts/filters';
import {PageFrame} from '../../parts/page';
import {VmState} from '../../parts/show';
import {useSession} from '../../session/session';
import {NicTable, ProtectionTag} from '../inventory';
import {AboutVm} from './about';
import {VmActs} from './acts';
import {VmConnections, VmEvents, VmFlows} from './traffic';
import {VmHistory} from './history';
import {LabelEditor} from './labels';
import {OrderBanner} from './orders';
import {VmPolicy} from './policy';
import {Snapshots} from './snapshots';

function Warnings({vm}: {vm: Vm}) {
  const {t} = useI18n();
  const open = vm.nics.filter((n) => !n.protected && vm.state !== 'shutoff' && vm.state !== 'gone');
  return (
    <>
      {vm.quarantine && <Alert type="warning" showIcon message={t('vm.quarantine.note', {why: vm.quarantine.why})} description={t('vm.quarantine.text')} />}
      {vm.over_quota && (
        <Alert type="error" showIcon message={t('vm.over-quota.note', {labels: vm.over_quota.labels, limit: vm.over_quota.limit})} description={t('vm.over-quota.text')} />
      )}
      {open.map((n) => (
        <Alert key={n.mac} type="error" showIcon message={t('vm.open.note', {mac: n.mac})} description={n.reason || t('vm.open.hint')} />
      ))}
      {vm.misplaced && <Alert type="warning" showIcon message={t('vm.misplaced')} description={vm.misplaced} />}
      {vm.address_conflicts?.map((c) => (
        <Alert
          key={c.address + c.vm}
          type="warning"
          showIcon
          message={t('vm.conflict', {address: c.address, vm: c.vm_name})}
          description={c.why}
          action={<Link to={`/vms/${part(c.vm)}`}>{c.vm_name}</Link>}
        />
      ))}
    </>
  );
}

export default function VmPage() {
  const {t} = useI18n();
  const {id = ''} = useParams();
  const {may} = useSession();
  const [filters, set] = useFilters<'tab'>('tab');
  const query = useApi<Vm>(`vms/${part(id)}`, undefined, {every: LIVELY});
  const vm = query.data;
  return (
    <PageFrame
      title={vm?.name ?? id}
      trail={[
        {name: t('nav.inventory'), to: '/inventory'},
        ...(vm ? [{name: vm.tenant, to: `/inventory?in=${part(vm.tenant)}`}] : []),
      ]}
      tags={
        vm && (
          <>
            <VmState state={vm.state} />
            <ProtectionTag vm={vm} />
          </>
        )
      }
      extra={vm && <VmActs vm={vm} />}
    >
      <Data query={query}>
        {(v) => (
          <>
            <OrderBanner vm={v} />
            <Warnings vm={v} />
            <div className="columns">
              <AboutVm vm={v} />
              <LabelEditor vm={v} />
            </div>
            <section className="panel">
              <div className="panel-head">{t('vm.nics')}</div>
              <NicTable nics={v.nics} />
            </section>
            <section className="panel panel-pad">
              <Tabs
                activeKey={filters.tab ?? 'policy'}
                onChange={(tab) => set({tab: tab === 'policy' ? undefined : tab})}
                destroyOnHidden
                items={[
                  ...(may('policy.read') ? [{key: 'policy', label: t('vm.tab.policy'), children: <VmPolicy vm={v} />}] : []),
                  ...(may('flow.read') ? [{key: 'flows', label: t('vm.tab.flows'), children: <VmFlows vm={v} />}] : []),
                  ...(may('host.read') && v.host ? [{key: 'live', label: t('vm.tab.live'), children: <VmConnections vm={v} host={v.host} />}] : []),
                  ...(may('event.read') ? [{key: 'events', label: t('vm.tab.events'), children: <VmEvents vm={v} />}] : []),
                  ...(may('vm.snapshot', v.tenant) || may('vm.revert', v.tenant) ? [{key: 'snapshots', label: t('vm.tab.snapshots'), children: <Snapshots vm={v} />}] : []),
                  {key: 'history', label: t('vm.tab.history'), children: <VmHistory vm={v} />},
                ]}
              />
            </section>
          </>
        )}
      </Data>
    </PageFrame>
  );
}

// SPDX-License-Identifier: Apache-2.0
import type {Vm} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {Facts} from '../../parts/facts';
import {Addresses, HostLink, Time} from '../../parts/show';

export function AboutVm({vm}: {vm: Vm}) {
  const {t} = useI18n();
  return (
    <section className="panel">
      <div className="panel-head">{t('vm.about')}</div>
      <div className="panel-pad">
        <Facts
          items={[
            [t('vm.tenant'), vm.tenant],
            [t('vm.identity'), vm.identity],
            [t('vm.addresses'), <Addresses key="a" list={vm.nics.flatMap((n) => n.addresses)} />],
            [t('vm.host'), <HostLink key="h" name={vm.host} />],
            [t('vm.moving-to'), vm.moving_to && <HostLink name={vm.moving_to} />],
            [t('vm.birth'), vm.birth === 'closed' ? t('vm.birth.closed') : t('vm.birth.open')],
            [t('vm.type'), vm.type],
            [t('vm.uuid'), <span key="u" className="mono">{vm.uuid}</span>],
            [t('vm.last-seen'), vm.last_seen && <Time at={vm.last_seen} />],
          ]}
        />
      </div>
    </section>
  );
}

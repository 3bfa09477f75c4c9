// SPDX-License-Identifier: Apache-2.0
// Where it ran, how it came there, and its migrations with their steps.
import {Timeline} from 'antd';

import {LIVELY, useApi} from '../../api/queries';
import type {Migration, Vm} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {Data} from '../../parts/data';
import {Nothing} from '../../parts/empty';
import {HostLink, Time} from '../../parts/show';
import {MigrationTable} from '../migrations';
import {OrderTable} from './orders';

export function VmHistory({vm}: {vm: Vm}) {
  const {t, td} = useI18n();
  const migrations = useApi<{items: Migration[]}>('migrations', {vm: vm.uuid, limit: 100}, {every: LIVELY});
  return (
    <div className="stack">
      {vm.history?.length ? (
        <Timeline
          items={vm.history.map((p) => ({
            color: p.until ? 'gray' : 'green',
            children: (
              <>
                <HostLink name={p.host} /> · {td(`place.${p.how}`, p.how)} <Time at={p.since} exact />
                {p.until && (
                  <>
                    {' – '}
                    <Time at={p.until} exact />
                  </>
                )}
              </>
            ),
          }))}
        />
      ) : (
        <Nothing title={t('vm.history.none')} />
      )}
      <h2 className="part-head">{t('vm.history.migrations')}</h2>
      <Data query={migrations}>{({items}) => (items.length ? <MigrationTable items={items} /> : <Nothing title={t('vm.history.no-migrations')} />)}</Data>
      <h2 className="part-head">{t('vm.history.orders')}</h2>
      <OrderTable vm={vm} />
    </div>
  );
}

// SPDX-License-Identifier: Apache-2.0
import {CALM, useApi} from '../../api/queries';
import type {Status} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {Data} from '../../parts/data';
import {Facts} from '../../parts/facts';
import {Time} from '../../parts/show';

export function About() {
  const {t, number, bytes} = useI18n();
  const query = useApi<Status>('status', undefined, {every: CALM});
  return (
    <Data query={query}>
      {(s) => (
        <Facts
          items={[
            [t('about.version'), s.version],
            [t('about.started'), s.started_at && <Time at={s.started_at} exact />],
            [t('about.bus'), s.bus && <span className={s.bus.connected ? 'good' : 'bad'}>{s.bus.connected ? t('about.bus.up') : t('about.bus.down')}</span>],
            [t('about.store'), s.store?.size_bytes !== undefined && bytes(s.store.size_bytes)],
            [t('about.free'), s.store?.free_bytes !== undefined && bytes(s.store.free_bytes)],
            [t('about.events'), number(s.events?.stored ?? 0)],
            [t('about.followers'), s.events?.followers],
          ]}
        />
      )}
    </Data>
  );
}

// SPDX-License-Identifier: Apache-2.0
import {useI18n} from '../i18n/i18n';

/** The name of the place until it is known who comes; index.html shows the same before, so that nothing moves. */
export function Splash() {
  const {t} = useI18n();
  return (
    <div className="splash" role="status" aria-label={t('state.loading')}>
      <img src="/bulkhead.svg" alt="" width={36} height={36} />
      {t('app.name')}
    </div>
  );
}

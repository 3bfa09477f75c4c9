// SPDX-License-Identifier: Apache-2.0
import {Spin} from 'antd';

import {useI18n} from '../i18n/i18n';

/** Shown only after a moment, by CSS: what comes at once needs no spinner. */
export function Waiting({whole}: {whole?: boolean}) {
  const {t} = useI18n();
  return (
    <div className={whole ? 'waiting waiting-whole' : 'waiting'} role="status" aria-label={t('state.loading')}>
      <Spin />
    </div>
  );
}

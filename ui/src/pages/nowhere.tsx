// SPDX-License-Identifier: Apache-2.0
import {Link} from 'react-router-dom';

import {useI18n} from '../i18n/i18n';
import {Nothing} from '../parts/empty';
import {PageFrame} from '../parts/page';

export default function Nowhere() {
  const {t} = useI18n();
  return (
    <PageFrame title={t('nowhere.title')}>
      <div className="panel">
        <Nothing title={t('nowhere.text')} action={<Link to="/">{t('nav.overview')}</Link>} />
      </div>
    </PageFrame>
  );
}

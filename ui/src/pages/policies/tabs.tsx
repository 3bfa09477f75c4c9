// SPDX-License-Identifier: Apache-2.0
import {Segmented} from 'antd';
import {useLocation, useNavigate} from 'react-router-dom';

import {useI18n} from '../../i18n/i18n';

export function PolicyTabs() {
  const {t} = useI18n();
  const {pathname} = useLocation();
  const navigate = useNavigate();
  return (
    <div>
      <Segmented
        value={pathname}
        onChange={(path) => navigate(path)}
        options={[
          {value: '/policies', label: t('policy.tab.list')},
          {value: '/policies/rules', label: t('policy.tab.rules')},
          {value: '/policies/watched', label: t('policy.tab.watched')},
          {value: '/policies/explain', label: t('policy.tab.explain')},
          {value: '/policies/history', label: t('policy.tab.history')},
        ]}
      />
    </div>
  );
}

// SPDX-License-Identifier: Apache-2.0
import {Tabs} from 'antd';

import {useI18n} from '../../i18n/i18n';
import {useFilters} from '../../parts/filters';
import {PageFrame} from '../../parts/page';
import {useSession} from '../../session/session';
import {About} from './about';
import {AccountSettingsForm} from './accounts';
import {AlertRulesForm} from './alert-rules';
import {Approvals} from './approvals';
import {Channels} from './channels';
import {Enroll} from './enroll';
import {OidcSettings} from './oidc';
import {Tenants} from './tenants';

export default function Settings() {
  const {t} = useI18n();
  const {may} = useSession();
  const [tab, setTab] = useFilters<'tab'>('tab');
  const items = [
    ...(may('tenant.read') ? [{key: 'tenants', label: t('settings.tenants'), children: <Tenants />}] : []),
    ...(may('host.enroll') ? [{key: 'enroll', label: t('settings.enroll'), children: <Enroll />}] : []),
    ...(may('settings.read') || may('settings.write')
      ? [
          {key: 'accounts', label: t('settings.accounts'), children: <AccountSettingsForm />},
          {key: 'oidc', label: t('factor.oidc'), children: <OidcSettings />},
          {key: 'alerts', label: t('settings.alerts'), children: <AlertRulesForm />},
          {key: 'channels', label: t('settings.channels'), children: <Channels />},
          {key: 'approvals', label: t('settings.approvals'), children: <Approvals />},
        ]
      : []),
    {key: 'about', label: t('settings.about'), children: <About />},
  ];
  return (
    <PageFrame title={t('nav.settings')}>
      <section className="panel panel-pad">
        <Tabs activeKey={tab.tab ?? items[0]?.key ?? 'about'} onChange={(k) => setTab({tab: k})} items={items} destroyOnHidden />
      </section>
    </PageFrame>
  );
}

// SPDX-License-Identifier: Apache-2.0
import {useI18n} from '../../i18n/i18n';
import {PageFrame} from '../../parts/page';
import {Explain} from './explain-form';
import {PolicyTabs} from './tabs';

export default function ExplainPage() {
  const {t} = useI18n();
  return (
    <PageFrame title={t('policy.tab.explain')} trail={[{name: t('nav.policies'), to: '/policies'}]}>
      <PolicyTabs />
      <section className="panel panel-pad">
        <p className="dim">{t('explain.text')}</p>
        <Explain />
      </section>
    </PageFrame>
  );
}

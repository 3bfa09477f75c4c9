// SPDX-License-Identifier: Apache-2.0
// One's own account: password, second factor, sessions, tokens.
import {Tabs} from 'antd';

import {useI18n} from '../../i18n/i18n';
import {useFilters} from '../../parts/filters';
import {PageFrame} from '../../parts/page';
import {useSession} from '../../session/session';
import {RoleTags} from '../users/users';
import Factors from './factors';
import Password from './password';
import {SessionTable} from './sessions';
import {Tokens} from './tokens';

export default function Me() {
  const {t} = useI18n();
  const {session, may} = useSession();
  const [tab, setTab] = useFilters<'tab'>('tab');
  return (
    <PageFrame title={session.name || session.user} tags={<RoleTags roles={session.roles} />}>
      <section className="panel panel-pad">
        <Tabs
          activeKey={tab.tab ?? 'factor'}
          onChange={(k) => setTab({tab: k === 'factor' ? undefined : k})}
          items={[
            {key: 'factor', label: t('me.tab.factor'), children: <Factors />},
            {key: 'password', label: t('me.tab.password'), children: <Password />},
            {key: 'sessions', label: t('me.sessions'), children: <SessionTable user={session.user} />},
            ...(may('token.write') ? [{key: 'tokens', label: t('me.tab.tokens'), children: <Tokens />}] : []),
          ]}
        />
      </section>
    </PageFrame>
  );
}

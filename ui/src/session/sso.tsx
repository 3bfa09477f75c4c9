// SPDX-License-Identifier: Apache-2.0
// Logging in where the organisation does (OpenID Connect), when the manager is set up for it.
import {LoginOutlined} from '@ant-design/icons';
import {Button, Divider} from 'antd';

import {useI18n} from '../i18n/i18n';

export interface Provider {
  name: string;
  url: string;
}

export function SingleSignOn({provider}: {provider: Provider}) {
  const {t} = useI18n();
  return (
    <>
      <Divider plain className="login-or">
        {t('login.or')}
      </Divider>
      <Button block icon={<LoginOutlined />} href={provider.url}>
        {t('login.oidc', {name: provider.name || t('factor.oidc')})}
      </Button>
    </>
  );
}

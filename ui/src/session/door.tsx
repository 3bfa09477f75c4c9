// SPDX-License-Identifier: Apache-2.0
// What stands before the console: a card in the middle of an empty page, for logging in and for what has to be done first.
import {Card, Typography} from 'antd';
import type {ReactNode} from 'react';

import {LanguageSwitch, ThemeSwitch} from '../app/switches';
import {useI18n} from '../i18n/i18n';

export function Door({title, wide, foot, children}: {title: string; wide?: boolean; foot?: ReactNode; children: ReactNode}) {
  const {t} = useI18n();
  return (
    <main className="login">
      <Card className={wide ? 'login-card login-card-wide' : 'login-card'}>
        <div className="login-head">
          <img src="/bulkhead.svg" alt="" width={36} height={36} />
          <div>
            <Typography.Title level={1} className="login-name">
              {t('app.name')}
            </Typography.Title>
            <Typography.Text type="secondary">{title}</Typography.Text>
          </div>
        </div>
        {children}
      </Card>
      <div className="login-foot">
        <LanguageSwitch />
        <ThemeSwitch />
        {foot}
      </div>
    </main>
  );
}

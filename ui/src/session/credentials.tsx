// SPDX-License-Identifier: Apache-2.0
// Name and password, then the second factor when there is one.
import {Button, Form, Input, Space, Typography} from 'antd';
import {useState} from 'react';

import {call, setCsrf} from '../api/client';
import {fetchSession} from '../api/session';
import type {Session} from '../api/types';
import {useI18n} from '../i18n/i18n';
import {Failure} from '../parts/failure';
import {Factor} from './factor';
import type {AssertionOptions} from './webauthn';

interface LoginAnswer {
  session?: unknown;
  need?: string[];
  webauthn?: AssertionOptions;
  csrf?: string;
}

/** The session is read anew: what a login answers need not be whole. */
async function entered(): Promise<Session> {
  setCsrf('');
  return fetchSession();
}

/** user: nobody else; owed: the first proof was given elsewhere, these are ways to give the second. */
export function Credentials({user, owed, onDone}: {user?: string; owed?: string[] | undefined; onDone: (session: Session) => void}) {
  const {t} = useI18n();
  const [need, setNeed] = useState<LoginAnswer | null>(owed?.length ? {need: owed} : null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);

  const login = async (values: {user: string; password: string}): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      const answer = await call<LoginAnswer>('POST', 'login', {body: {user: user ?? values.user.trim(), password: values.password}, quiet: true});
      if (answer.need?.length) {
        setNeed(answer);
      } else {
        onDone(await entered());
      }
    } catch (e) {
      setError(e);
    } finally {
      setBusy(false);
    }
  };

  if (need) {
    return (
      <Space direction="vertical" size="middle" className="fill">
        <Typography.Text type="secondary">{t('login.second')}</Typography.Text>
        <Factor
          methods={need.need ?? []}
          begin={async () =>
            need.webauthn ?? (await call<{webauthn: AssertionOptions}>('POST', 'login/second', {body: {method: 'webauthn'}, quiet: true})).webauthn
          }
          send={async (answer) => {
            await call('POST', 'login/second', {body: answer, quiet: true});
            onDone(await entered());
          }}
        />
        <Button type="link" size="small" onClick={() => setNeed(null)}>
          {t('login.back')}
        </Button>
      </Space>
    );
  }
  return (
    <Form layout="vertical" requiredMark={false} onFinish={(v: {user: string; password: string}) => void login(v)} initialValues={{user}}>
      {user === undefined && (
        <Form.Item name="user" label={t('login.user')} rules={[{required: true, message: t('form.required')}]}>
          <Input autoFocus autoComplete="username" spellCheck={false} autoCapitalize="none" maxLength={64} />
        </Form.Item>
      )}
      <Form.Item name="password" label={t('login.password')} rules={[{required: true, message: t('form.required')}]}>
        <Input.Password autoFocus={user !== undefined} autoComplete="current-password" maxLength={1024} />
      </Form.Item>
      <Button type="primary" htmlType="submit" block loading={busy}>
        {t('login.submit')}
      </Button>
      {error !== null && <Failure error={error} compact />}
    </Form>
  );
}

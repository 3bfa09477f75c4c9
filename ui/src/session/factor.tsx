// SPDX-License-Identifier: Apache-2.0
// Asks for a second factor: a code of an app, a security key, or a recovery code. What is then done with it is the caller's.
import {KeyOutlined} from '@ant-design/icons';
import {Button, Form, Input, Segmented, Space} from 'antd';
import {useState} from 'react';

import {useI18n} from '../i18n/i18n';
import {Failure} from '../parts/failure';
import {assertion, canWebauthn, type AssertionOptions} from './webauthn';

export interface FactorProps {
  methods: string[];
  /** For security keys: what the manager wants signed. */
  begin: () => Promise<AssertionOptions>;
  send: (answer: Record<string, string>) => Promise<void>;
}

const ORDER = ['totp', 'webauthn', 'recovery', 'password'];

export function Factor({methods, begin, send}: FactorProps) {
  const {t, td} = useI18n();
  const usable = ORDER.filter((m) => methods.includes(m) && (m !== 'webauthn' || canWebauthn()));
  const [method, setMethod] = useState(usable[0] ?? 'totp');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);

  const run = async (work: () => Promise<void>): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      await work();
    } catch (e) {
      setError(e);
    } finally {
      setBusy(false);
    }
  };
  const submit = (values: {code: string}): Promise<void> =>
    run(() => send(method === 'password' ? {method, password: values.code} : {method, code: values.code.trim()}));
  const touch = (): Promise<void> => run(async () => send({method: 'webauthn', ...(await assertion(await begin()))}));

  return (
    <Space direction="vertical" size="middle" className="fill">
      {usable.length > 1 && (
        <Segmented block value={method} onChange={setMethod} options={usable.map((m) => ({value: m, label: td(`factor.${m}`, m)}))} />
      )}
      {method === 'webauthn' ? (
        <Button type="primary" block icon={<KeyOutlined />} loading={busy} onClick={() => void touch()}>
          {t('factor.touch')}
        </Button>
      ) : (
        <Form layout="vertical" requiredMark={false} key={method} onFinish={(v: {code: string}) => void submit(v)}>
          <Form.Item name="code" label={td(`factor.${method}.label`, method)} rules={[{required: true, message: t('form.required')}]}>
            {method === 'password' ? (
              <Input.Password autoFocus autoComplete="current-password" />
            ) : (
              <Input autoFocus className="code-input" autoComplete="one-time-code" inputMode={method === 'totp' ? 'numeric' : 'text'} maxLength={64} />
            )}
          </Form.Item>
          <Button type="primary" htmlType="submit" block loading={busy}>
            {t('factor.confirm')}
          </Button>
        </Form>
      )}
      {error !== null && <Failure error={error} compact />}
    </Space>
  );
}

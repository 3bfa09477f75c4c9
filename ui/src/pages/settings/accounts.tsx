// SPDX-License-Identifier: Apache-2.0
// How long sessions and second factors are good, and what else is asked of who logs in.
import {Button, Form, Input, InputNumber, Switch} from 'antd';

import {patch} from '../../api/client';
import {useApi, useRefresh} from '../../api/queries';
import {useI18n} from '../../i18n/i18n';
import type {Key} from '../../i18n/text';
import {useAct} from '../../parts/act';
import {Data} from '../../parts/data';
import {useSession} from '../../session/session';

interface AccountSettings {
  fresh_s: number;
  idle_s: number;
  absolute_s: number;
  bind_address: boolean;
  admin_token: boolean;
  key_verify: boolean;
  /** Where people reach the console; security keys are bound to it. */
  console_url: string;
}

type Seconds = 'fresh_s' | 'idle_s' | 'absolute_s';

const MINUTE_S = 60;
const HOUR_S = 3600;

/** Spans in the unit that people think of them in, with the manager's limits. */
const SPANS: {name: Seconds; unit: number; unitName: Key; min: number; max: number}[] = [
  {name: 'fresh_s', unit: MINUTE_S, unitName: 'unit.minutes', min: 0.5, max: 60},
  {name: 'idle_s', unit: MINUTE_S, unitName: 'unit.minutes', min: 1, max: 1440},
  {name: 'absolute_s', unit: HOUR_S, unitName: 'unit.hours', min: 0.1, max: 168},
];
const SWITCHES = ['bind_address', 'admin_token', 'key_verify'] as const;

export function AccountSettingsForm() {
  const {t} = useI18n();
  const {may} = useSession();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const query = useApi<AccountSettings>('settings/accounts');
  const save = (v: AccountSettings): void =>
    void run(async () => {
      await patch('settings/accounts', {...v, ...Object.fromEntries(SPANS.map(({name, unit}) => [name, Math.round(v[name] * unit)]))});
      await refresh('settings');
    }, t('settings.saved'));
  return (
    <Data query={query}>
      {(s) => (
        <Form<AccountSettings>
          key={JSON.stringify(s)}
          layout="vertical"
          className="narrow"
          disabled={!may('settings.write')}
          initialValues={{...s, ...Object.fromEntries(SPANS.map(({name, unit}) => [name, Math.round((10 * s[name]) / unit) / 10]))}}
          onFinish={save}
        >
          {SPANS.map(({name, unitName, min, max}) => (
            <Form.Item key={name} name={name} label={t(`accounts.${name}`)} extra={t(`accounts.${name}.hint`)} rules={[{required: true, message: t('form.required')}]}>
              <InputNumber min={min} max={max} addonAfter={t(unitName)} />
            </Form.Item>
          ))}
          {SWITCHES.map((name) => (
            <Form.Item key={name} name={name} valuePropName="checked" label={t(`accounts.${name}`)} extra={t(`accounts.${name}.hint`)}>
              <Switch />
            </Form.Item>
          ))}
          <Form.Item name="console_url" label={t('accounts.console_url')} extra={t('accounts.console_url.hint')} rules={[{pattern: /^(https:\/\/[^/\s]+)?$/, message: t('accounts.console_url.rule')}]}>
            <Input className="mono" placeholder="https://console.example:7443" maxLength={279} spellCheck={false} />
          </Form.Item>
          {may('settings.write') && (
            <Button type="primary" htmlType="submit" loading={busy}>
              {t('action.save')}
            </Button>
          )}
        </Form>
      )}
    </Data>
  );
}

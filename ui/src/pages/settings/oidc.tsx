// SPDX-License-Identifier: Apache-2.0
// Logging in by OpenID Connect: which provider, who gets an account there, and what counts as a second factor.
import {DeleteOutlined, PlusOutlined} from '@ant-design/icons';
import {Button, Form, Input, Select, Space, Switch, Typography} from 'antd';

import {put} from '../../api/client';
import {useApi, useRefresh} from '../../api/queries';
import type {Page, Tenant} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {Data} from '../../parts/data';
import {useSession} from '../../session/session';
import type {Role} from '../users/users';

interface Settings {
  enabled: boolean;
  name: string;
  issuer: string;
  client_id: string;
  scopes: string;
  ca: string;
  tenant: string;
  create: boolean;
  /** Who logs out here is led there to log out too. */
  logout: boolean;
  claim: string;
  amr: string[];
  acr: string[];
  /** Who has this value in the claim gets this role there. */
  rules: {value: string; role: string; at: string}[];
}

type Told = Settings & {client_secret_set: boolean; redirect_uri: string; post_logout_redirect_uri: string};
type Fields = Settings & {client_secret?: string};

const TEXTS = ['name', 'issuer', 'client_id'] as const;
const MOST = 64;

function Rules({disabled}: {disabled: boolean}) {
  const {t, td} = useI18n();
  const {may} = useSession();
  const roles = useApi<{items: Role[]}>('roles');
  const tenants = useApi<Page<Tenant>>('tenants', {limit: 10000}, {enabled: may('tenant.read')});
  const required = [{required: true, message: t('form.required')}];
  const places = [{value: '*', label: t('user.everywhere')}, ...(tenants.data?.items ?? []).map((x) => ({value: x.name, label: x.name}))];
  return (
    <Form.List name="rules">
      {(fields, {add, remove}) => (
        <>
          {fields.map((f) => (
            <Space key={f.key} align="baseline" wrap className="label-row">
              <Form.Item name={[f.name, 'value']} rules={required}>
                <Input style={{width: 180}} placeholder={t('oidc.value')} aria-label={t('oidc.value')} maxLength={255} />
              </Form.Item>
              <Form.Item name={[f.name, 'role']} rules={required}>
                <Select style={{width: 200}} placeholder={t('user.role')} aria-label={t('user.role')} options={(roles.data?.items ?? []).map((r) => ({value: r.name, label: td(`role.${r.name}`, r.name)}))} />
              </Form.Item>
              <Form.Item name={[f.name, 'at']} rules={required}>
                <Select showSearch style={{width: 160}} placeholder={t('user.role-at')} aria-label={t('user.role-at')} options={places} />
              </Form.Item>
              {!disabled && <Button type="text" icon={<DeleteOutlined />} aria-label={t('action.remove')} onClick={() => remove(f.name)} />}
            </Space>
          ))}
          {!disabled && (
            <div>
              <Button type="dashed" icon={<PlusOutlined />} disabled={fields.length >= MOST} onClick={() => add()}>
                {t('oidc.rule.add')}
              </Button>
            </div>
          )}
        </>
      )}
    </Form.List>
  );
}

export function OidcSettings() {
  const {t} = useI18n();
  const {may} = useSession();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const query = useApi<Told>('settings/oidc');
  const writes = may('settings.write');
  const save = ({client_secret, ...v}: Fields): void =>
    void run(async () => {
      await put('settings/oidc', {...v, rules: v.rules ?? [], ...(client_secret ? {client_secret} : {})});
      await refresh('settings');
    }, t('settings.saved'));
  return (
    <Data query={query}>
      {({client_secret_set, redirect_uri, post_logout_redirect_uri, ...s}) => (
        <Form<Fields> key={JSON.stringify(s)} layout="vertical" disabled={!writes} initialValues={s} onFinish={save} className="wide-form">
          <Form.Item name="enabled" valuePropName="checked" label={t('oidc.enabled')}>
            <Switch />
          </Form.Item>
          {TEXTS.map((name) => (
            <Form.Item key={name} name={name} label={t(`oidc.${name}`)} extra={t(`oidc.${name}.hint`)}>
              <Input maxLength={1024} spellCheck={false} />
            </Form.Item>
          ))}
          <Form.Item name="client_secret" label={t('oidc.client_secret')} extra={client_secret_set ? t('oidc.client_secret.set') : undefined}>
            <Input.Password maxLength={1024} autoComplete="new-password" />
          </Form.Item>
          {redirect_uri && (
            <Form.Item label={t('oidc.redirect')}>
              <Typography.Text code copyable className="wrap">
                {redirect_uri}
              </Typography.Text>
            </Form.Item>
          )}
          <Form.Item name="logout" valuePropName="checked" label={t('oidc.logout')} extra={t('oidc.logout.hint', {url: post_logout_redirect_uri})}>
            <Switch />
          </Form.Item>
          <Form.Item name="scopes" label={t('oidc.scopes')}>
            <Input maxLength={1024} spellCheck={false} className="mono" />
          </Form.Item>
          <Form.Item name="ca" label={t('oidc.ca')} extra={t('oidc.ca.hint')}>
            <Input.TextArea rows={2} maxLength={65536} spellCheck={false} className="mono" />
          </Form.Item>
          <Form.Item name="create" valuePropName="checked" label={t('oidc.create')}>
            <Switch />
          </Form.Item>
          <Form.Item name="tenant" label={t('oidc.tenant')}>
            <Input maxLength={63} spellCheck={false} />
          </Form.Item>
          <Form.Item name="claim" label={t('oidc.claim')} extra={t('oidc.claim.hint')}>
            <Input maxLength={255} spellCheck={false} className="mono" />
          </Form.Item>
          <Form.Item label={t('oidc.rules')}>
            <Rules disabled={!writes} />
          </Form.Item>
          {(['amr', 'acr'] as const).map((name) => (
            <Form.Item key={name} name={name} label={t(`oidc.${name}`)} extra={t('oidc.factor.hint')}>
              <Select mode="tags" open={false} suffixIcon={null} maxCount={MOST} />
            </Form.Item>
          ))}
          {writes && (
            <Button type="primary" htmlType="submit" loading={busy}>
              {t('action.save')}
            </Button>
          )}
        </Form>
      )}
    </Data>
  );
}

// SPDX-License-Identifier: Apache-2.0
import {App, Button, Form, Input, Select, Space, Table, Tag} from 'antd';
import {useParams, useNavigate} from 'react-router-dom';

import {del, part, patch, post, put} from '../../api/client';
import {CALM, useApi, useRefresh} from '../../api/queries';
import type {Page, Tenant} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {Data} from '../../parts/data';
import {Facts} from '../../parts/facts';
import {PageFrame} from '../../parts/page';
import {Time} from '../../parts/show';
import {useSession} from '../../session/session';
import {SessionTable} from '../me/sessions';
import {Links} from './links';
import type {GivenRole, Role, User} from './users';

function Roles({user}: {user: User}) {
  const {t, td} = useI18n();
  const {may} = useSession();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const roles = useApi<{items: Role[]}>('roles');
  const tenants = useApi<Page<Tenant>>('tenants', {limit: 10000});
  const change = (work: () => Promise<unknown>): Promise<boolean> =>
    run(async () => {
      await work();
      await refresh('users');
    });
  const writes = may('role.write') || may('role.appoint');
  return (
    <section className="panel">
      <div className="panel-head">{t('user.roles')}</div>
      <Table<GivenRole>
        scroll={{x: 'max-content'}}
        size="small"
        rowKey="id"
        dataSource={user.roles}
        pagination={false}
        columns={[
          {title: t('user.role'), render: (_, r) => td(`role.${r.role}`, r.role)},
          {title: t('user.role-at'), render: (_, r) => (r.tenant === '*' ? t('user.everywhere') : r.tenant)},
          {title: t('request.until'), render: (_, r) => <Time at={r.until} />},
          {
            key: 'act',
            align: 'right',
            render: (_, r) =>
              writes && (
                <Button size="small" danger type="text" loading={busy} onClick={() => void change(() => del(`users/${part(user.name)}/roles/${r.id}`))}>
                  {t('action.remove')}
                </Button>
              ),
          },
        ]}
      />
      {writes && (
        <Form layout="inline" className="panel-pad" onFinish={(v: {role: string; at: string}) => void change(() => post(`users/${part(user.name)}/roles`, v))}>
          <Form.Item name="role" rules={[{required: true, message: t('form.required')}]}>
            <Select style={{width: 200}} placeholder={t('user.role')} options={(roles.data?.items ?? []).map((r) => ({value: r.name, label: td(`role.${r.name}`, r.name)}))} />
          </Form.Item>
          <Form.Item name="at" rules={[{required: true, message: t('form.required')}]}>
            <Select
              showSearch
              style={{width: 180}}
              placeholder={t('user.role-at')}
              options={[{value: '*', label: t('user.everywhere')}, ...(tenants.data?.items ?? []).map((x) => ({value: x.name, label: x.name}))]}
            />
          </Form.Item>
          <Button htmlType="submit" loading={busy}>
            {t('user.role.give')}
          </Button>
        </Form>
      )}
    </section>
  );
}

function Actions({user}: {user: User}) {
  const {t} = useI18n();
  const {modal} = App.useApp();
  const {run} = useAct();
  const refresh = useRefresh();
  const navigate = useNavigate();
  const path = `users/${part(user.name)}`;
  const {disabled} = user;
  const password = (): void => {
    let value = '';
    void modal.confirm({
      title: t('user.set-password'),
      content: <Input.Password autoComplete="new-password" placeholder={t('user.first-password')} onChange={(e) => (value = e.target.value)} />,
      onOk: () => run(() => put(`${path}/password`, {password: value}), t('user.password-set')),
    });
  };
  const remove = (): void =>
    void modal.confirm({
      title: t('user.remove.title', {user: user.name}),
      content: t('user.remove.text'),
      okButtonProps: {danger: true},
      okText: t('action.remove'),
      onOk: async () => {
        const done = await run(async () => {
          await del(path);
          await refresh('users');
        }, t('user.removed'));
        if (done) {
          navigate('/users');
        }
      },
    });
  return (
    <Space wrap>
      <Button onClick={password}>{t('user.set-password')}</Button>
      <Button
        onClick={() =>
          void run(async () => {
            await patch(path, {disabled: !disabled});
            await refresh('users');
          })
        }
      >
        {disabled ? t('user.enable') : t('user.disable')}
      </Button>
      <Button danger onClick={remove}>
        {t('action.remove')}
      </Button>
    </Space>
  );
}

export default function UserPage() {
  const {t} = useI18n();
  const {name = ''} = useParams();
  const {may} = useSession();
  const query = useApi<User>(`users/${part(name)}`, undefined, {every: CALM});
  return (
    <PageFrame title={name} trail={[{name: t('nav.users'), to: '/users'}]} extra={query.data && may('user.write') && <Actions user={query.data} />}>
      <Data query={query}>
        {(u) => (
          <>
            <section className="panel panel-pad">
              <Facts
                items={[
                  [t('user.name'), u.display],
                  [t('vm.tenant'), u.tenant],
                  [t('user.state'), u.disabled ? <Tag>{t('user.disabled')}</Tag> : <Tag color="success">{t('user.active')}</Tag>],
                  [t('user.factors'), u.second_factor ? t('me.app.on') : t('user.no-factor')],
                  [t('user.created'), <Time key="c" at={u.created} exact />],
                  [t('user.created-by'), u.made_by],
                  [t('user.last-login'), u.last_login && <Time at={u.last_login} />],
                ]}
              />
            </section>
            <Roles user={u} />
            {may('user.read') && <Links user={u.name} />}
            <section className="panel">
              <div className="panel-head">{t('me.sessions')}</div>
              <SessionTable user={u.name} />
            </section>
          </>
        )}
      </Data>
    </PageFrame>
  );
}

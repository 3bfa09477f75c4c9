// SPDX-License-Identifier: Apache-2.0
// Who may log in, with which roles; the roles and the rights behind them.
import {Button, Form, Input, Modal, Select, Table, Tabs, Tag} from 'antd';
import {useCallback, useMemo, useState} from 'react';
import {Link} from 'react-router-dom';

import {part, post} from '../../api/client';
import {CALM, useApi, useRefresh} from '../../api/queries';
import type {Grant, Page, Tenant} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {Data} from '../../parts/data';
import {Nothing} from '../../parts/empty';
import {useFilters} from '../../parts/filters';
import {PageFrame} from '../../parts/page';
import {SearchField} from '../../parts/search';
import {Time} from '../../parts/show';
import {useSession} from '../../session/session';
import {RolesAndRights} from './roles';

export interface User {
  name: string;
  display: string;
  tenant: string;
  disabled: boolean;
  must_change: boolean;
  second_factor: boolean;
  roles: GivenRole[];
  created: string;
  made_by: string;
  last_login: string | null;
}

export interface GivenRole extends Grant {
  id: number;
  by?: string;
  since?: string;
}

export interface Role {
  name: string;
  words?: string;
  builtin: boolean;
  tenant?: string;
  /** At the provider; at a tenant. */
  provider_verbs?: string[];
  tenant_verbs: string[];
}

export function RoleTags({roles}: {roles: Grant[]}) {
  const {t, td} = useI18n();
  return (
    <>
      {roles.map((r) => (
        <Tag key={`${r.role}@${r.tenant}`} title={r.until ?? undefined}>
          {td(`role.${r.role}`, r.role)} · {r.tenant === '*' ? t('user.everywhere') : r.tenant}
        </Tag>
      ))}
    </>
  );
}

interface Fields {
  name: string;
  display?: string;
  tenant: string;
  password: string;
  role?: string;
  at?: string;
}

function NewUser({onClose}: {onClose: () => void}) {
  const {t, td} = useI18n();
  const {session} = useSession();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const [form] = Form.useForm<Fields>();
  const roles = useApi<{items: Role[]}>('roles');
  const tenants = useApi<Page<Tenant>>('tenants', {limit: 10000});
  const home = session.roles.map((r) => r.tenant).find((x) => x !== '*') ?? 'provider';
  const send = async ({name, tenant, display, password, role, at}: Fields): Promise<void> => {
    const done = await run(async () => {
      await post('users', {name, tenant, password, ...(display ? {display} : {}), ...(role ? {role, at: at ?? tenant} : {})});
      await refresh('users');
    }, t('user.made'));
    if (done) {
      onClose();
    }
  };
  const required = [{required: true, message: t('form.required')}];
  return (
    <Modal open title={t('user.new')} onCancel={onClose} onOk={() => form.submit()} okText={t('user.create')} confirmLoading={busy} destroyOnHidden>
      <Form<Fields> form={form} layout="vertical" onFinish={(v) => void send(v)} initialValues={{tenant: home, at: home}}>
        <Form.Item name="name" label={t('login.user')} rules={[...required, {pattern: /^[a-z][a-z0-9._-]{0,30}(@[a-z0-9.-]+)?$/, message: t('user.name.rule')}]}>
          <Input maxLength={95} autoComplete="off" spellCheck={false} />
        </Form.Item>
        <Form.Item name="display" label={t('user.name')}>
          <Input maxLength={120} autoComplete="off" />
        </Form.Item>
        <Form.Item name="password" label={t('user.first-password')} rules={[...required, {min: 12, message: t('user.password.rule')}]} extra={t('user.first-password.hint')}>
          <Input.Password maxLength={1024} autoComplete="new-password" />
        </Form.Item>
        <Form.Item name="tenant" label={t('user.of')} rules={required}>
          <Select showSearch options={(tenants.data?.items ?? []).map((x) => ({value: x.name, label: x.name}))} />
        </Form.Item>
        <Form.Item name="role" label={t('user.role')}>
          <Select allowClear options={(roles.data?.items ?? []).map((r) => ({value: r.name, label: td(`role.${r.name}`, r.name)}))} />
        </Form.Item>
        <Form.Item name="at" label={t('user.role-at')}>
          <Select showSearch options={[{value: '*', label: t('user.everywhere')}, ...(tenants.data?.items ?? []).map((x) => ({value: x.name, label: x.name}))]} />
        </Form.Item>
      </Form>
    </Modal>
  );
}

function UserList() {
  const {t, td} = useI18n();
  const [filters, set] = useFilters<'q' | 'role'>('q', 'role');
  const query = useApi<{items: User[]}>('users', {limit: 10000}, {every: CALM});
  const search = useCallback((q: string | undefined) => set({q}), [set]);
  const found = useMemo(
    () =>
      (query.data?.items ?? []).filter(
        (u) =>
          (!filters.role || u.roles.some((r) => r.role === filters.role)) &&
          (!filters.q || `${u.name} ${u.display}`.toLowerCase().includes(filters.q.toLowerCase())),
      ),
    [query.data, filters],
  );
  const roles = [...new Set((query.data?.items ?? []).flatMap((u) => u.roles.map((r) => r.role)))].sort();
  return (
    <div className="stack">
      <div className="filters">
        <SearchField value={filters.q} onChange={search} placeholder={t('user.search')} />
        <Select
          allowClear
          value={filters.role}
          placeholder={t('user.role')}
          style={{width: 190}}
          onChange={(v: string | undefined) => set({role: v})}
          options={roles.map((r) => ({value: r, label: td(`role.${r}`, r)}))}
        />
      </div>
      <Data query={query}>
        {() => (
          <Table<User>
            size="small"
            rowKey="name"
            dataSource={found}
            scroll={{x: 'max-content'}}
            pagination={{defaultPageSize: 50, hideOnSinglePage: true}}
            locale={{emptyText: <Nothing title={t('list.no-match')} />}}
            columns={[
              {title: t('login.user'), render: (_, u) => <Link to={`/users/${part(u.name)}`}>{u.name}</Link>},
              {title: t('user.name'), dataIndex: 'display'},
              {title: t('vm.tenant'), dataIndex: 'tenant'},
              {title: t('user.roles'), render: (_, u) => <RoleTags roles={u.roles} />},
              {title: t('user.factors'), render: (_, u) => (u.second_factor ? t('me.app.on') : <span className="warn">{t('user.no-factor')}</span>)},
              {title: t('user.state'), render: (_, u) => (u.disabled ? <Tag>{t('user.disabled')}</Tag> : <Tag color="success">{t('user.active')}</Tag>)},
              {title: t('user.last-login'), render: (_, u) => <Time at={u.last_login} />},
            ]}
          />
        )}
      </Data>
    </div>
  );
}

export default function Users() {
  const {t} = useI18n();
  const {may} = useSession();
  const [making, setMaking] = useState(false);
  const [tab, setTab] = useFilters<'tab'>('tab');
  return (
    <PageFrame
      title={t('nav.users')}
      extra={
        may('user.write') && (
          <Button type="primary" onClick={() => setMaking(true)}>
            {t('user.new')}
          </Button>
        )
      }
    >
      <section className="panel panel-pad">
        <Tabs
          activeKey={tab.tab ?? 'users'}
          onChange={(k) => setTab({tab: k === 'users' ? undefined : k})}
          items={[
            {key: 'users', label: t('user.tab.users'), children: <UserList />},
            {key: 'roles', label: t('user.tab.roles'), children: <RolesAndRights />},
          ]}
        />
      </section>
      {making && <NewUser onClose={() => setMaking(false)} />}
    </PageFrame>
  );
}

// SPDX-License-Identifier: Apache-2.0
// Roles against rights: who may what, in one table.
import {CheckOutlined, WarningOutlined} from '@ant-design/icons';
import {Button, Popconfirm, Table, Tooltip} from 'antd';
import {useMemo, useState} from 'react';

import {del, part} from '../../api/client';
import {useApi, useRefresh} from '../../api/queries';
import type {Right} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {Data} from '../../parts/data';
import {useSession} from '../../session/session';
import {NewRole} from './new-role';
import type {Role} from './users';

/** Roles that somebody has made: which, where, and taking them away again. */
function CustomRoles({roles}: {roles: Role[]}) {
  const {t} = useI18n();
  const {may} = useSession();
  const {run} = useAct();
  const refresh = useRefresh();
  return (
    <Table<Role>
      size="small"
      rowKey={(r) => `${r.tenant}/${r.name}`}
      dataSource={roles}
      pagination={false}
      scroll={{x: 'max-content'}}
      columns={[
        {title: t('user.role'), dataIndex: 'name'},
        {title: t('vm.tenant'), dataIndex: 'tenant'},
        {title: t('role.words'), dataIndex: 'words'},
        {title: t('token.verbs'), render: (_, r) => <span className="mono wrap">{r.tenant_verbs.join(' ')}</span>},
        {
          key: 'act',
          align: 'right',
          render: (_, r) =>
            may('role.write', r.tenant) && (
              <Popconfirm
                title={t('role.delete.sure', {role: r.name})}
                onConfirm={() =>
                  run(async () => {
                    await del(`roles/${part(r.tenant ?? '')}/${part(r.name)}`);
                    await refresh('roles', 'users');
                  }, t('role.deleted'))
                }
              >
                <Button size="small" danger type="text">
                  {t('action.remove')}
                </Button>
              </Popconfirm>
            ),
        },
      ]}
    />
  );
}

export function RolesAndRights() {
  const {t, td} = useI18n();
  const {may} = useSession();
  const [making, setMaking] = useState(false);
  const roles = useApi<{items: Role[]}>('roles');
  const rights = useApi<{rights: Right[]}>('rights');
  const columns = useMemo(
    () => [
      {
        title: t('user.right'),
        fixed: 'left' as const,
        render: (_: unknown, r: Right) => (
          <div className="right-name">
            <span>
              {td(`verb.${r.verb}`, r.words ?? r.verb)}{' '}
              {r.dangerous && (
                <Tooltip title={t('user.dangerous')}>
                  <WarningOutlined className="warn" />
                </Tooltip>
              )}
            </span>
            <span className="mono dim">{r.verb}</span>
          </div>
        ),
      },
      ...(roles.data?.items ?? []).map((role) => ({
        title: <Tooltip title={role.words}>{td(`role.${role.name}`, role.name)}</Tooltip>,
        align: 'center' as const,
        render: (_: unknown, r: Right) => (role.tenant_verbs.includes(r.verb) || role.provider_verbs?.includes(r.verb) ? <CheckOutlined className="good" aria-label={t('user.has-right')} /> : ''),
      })),
    ],
    [roles.data, t, td],
  );
  const custom = (roles.data?.items ?? []).filter((r) => !r.builtin);
  return (
    <div className="stack">
      {may('role.write') && (
        <div>
          <Button onClick={() => setMaking(true)}>{t('role.new')}</Button>
        </div>
      )}
      {custom.length > 0 && <CustomRoles roles={custom} />}
      <Data query={rights}>
        {({rights: items}) => <Table<Right> size="small" rowKey="verb" dataSource={items} columns={columns} pagination={false} scroll={{x: 'max-content'}} sticky={{offsetHeader: 52}} />}
      </Data>
      {making && <NewRole rights={rights.data?.rights ?? []} onClose={() => setMaking(false)} />}
    </div>
  );
}

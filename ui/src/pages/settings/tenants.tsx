// SPDX-License-Identifier: Apache-2.0
import {Button, Form, Input, Popconfirm, Space, Switch, Table, Tooltip} from 'antd';
import {useState} from 'react';
import {Link} from 'react-router-dom';

import {del, part, post, put} from '../../api/client';
import {CALM, useApi, useRefresh} from '../../api/queries';
import type {Page, Tenant} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {Data} from '../../parts/data';
import {useSession} from '../../session/session';
import {QuotaDialog} from './quota';

export function Tenants() {
  const {t, number} = useI18n();
  const {may} = useSession();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const [form] = Form.useForm<{name: string}>();
  const [quotaOf, setQuotaOf] = useState<string | null>(null);
  const query = useApi<Page<Tenant>>('tenants', {limit: 10000}, {every: CALM});
  return (
    <div className="stack">
      {may('tenant.create') && (
        <Form
          form={form}
          layout="inline"
          onFinish={(v: {name: string}) =>
            void run(async () => {
              await post('tenants', v);
              form.resetFields();
              await refresh('tenants');
            }, t('tenant.made'))
          }
        >
          <Form.Item name="name" rules={[{required: true, message: t('form.required')}]}>
            <Input placeholder={t('tenant.name')} aria-label={t('tenant.name')} maxLength={63} spellCheck={false} />
          </Form.Item>
          <Button htmlType="submit" loading={busy}>
            {t('tenant.make')}
          </Button>
        </Form>
      )}
      <Data query={query}>
        {({items}) => (
          <Table<Tenant>
            scroll={{x: 'max-content'}}
            size="small"
            rowKey="number"
            dataSource={items}
            pagination={{defaultPageSize: 50, hideOnSinglePage: true}}
            columns={[
              {title: t('tenant.name'), render: (_, x) => <Link to={`/inventory?in=${part(x.name)}`}>{x.name}</Link>},
              {title: t('tenant.number'), dataIndex: 'number', className: 'num', align: 'right'},
              {title: t('host.vms'), dataIndex: 'vms', className: 'num', align: 'right', render: (n: number | undefined) => number(n ?? 0), sorter: (a, b) => (a.vms ?? 0) - (b.vms ?? 0)},
              {title: t('nav.policies'), dataIndex: 'policies', className: 'num', align: 'right', render: (n: number | undefined) => number(n ?? 0)},
              {
                title: <Tooltip title={t('tenant.self.words')}>{t('tenant.self')}</Tooltip>,
                render: (_, x) =>
                  x.name !== 'provider' && (
                    <Switch
                      size="small"
                      checked={x.self_service ?? true}
                      disabled={!may('settings.write') || busy}
                      aria-label={t('tenant.self.of', {tenant: x.name})}
                      onChange={on =>
                        void run(async () => {
                          await put(`tenants/${part(x.name)}/self-service`, {on});
                          await refresh('tenants');
                        })
                      }
                    />
                  ),
              },
              {
                key: 'act',
                align: 'right',
                render: (_, x) => (
                  <Space>
                    <Button size="small" type="text" onClick={() => setQuotaOf(x.name)}>
                      {t('quota.show')}
                    </Button>
                    {may('tenant.delete', x.name) && !x.vms && !x.policies && x.name !== 'provider' && (
                      <Popconfirm
                        title={t('tenant.delete.sure', {tenant: x.name})}
                        onConfirm={() =>
                          run(async () => {
                            await del(`tenants/${part(x.name)}`);
                            await refresh('tenants');
                          })
                        }
                      >
                        <Button size="small" danger type="text">
                          {t('action.remove')}
                        </Button>
                      </Popconfirm>
                    )}
                  </Space>
                ),
              },
            ]}
          />
        )}
      </Data>
      {quotaOf && <QuotaDialog tenant={quotaOf} onClose={() => setQuotaOf(null)} />}
    </div>
  );
}

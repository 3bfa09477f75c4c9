// SPDX-License-Identifier: Apache-2.0
// Tokens for programs: a part of one's own rights at one tenant, for some days, shown once.
import {Alert, Button, Form, Input, InputNumber, Select, Table, Typography} from 'antd';
import {useState} from 'react';

import {del, part, post} from '../../api/client';
import {CALM, useApi, useRefresh} from '../../api/queries';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {Data} from '../../parts/data';
import {Nothing} from '../../parts/empty';
import {Time} from '../../parts/show';
import {useSession} from '../../session/session';

interface Token {
  id: string | number;
  name: string;
  tenant: string;
  verbs: string[];
  created: string;
  expires: string | null;
  used?: string | null;
}

interface Fields {
  name: string;
  tenant: string;
  verbs: string[];
  days: number;
}

export function Tokens() {
  const {t, td} = useI18n();
  const {session} = useSession();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const [made, setMade] = useState<string | null>(null);
  const [form] = Form.useForm<Fields>();
  const tenant = Form.useWatch('tenant', form);
  const query = useApi<{items: Token[]}>('me/tokens', undefined, {every: CALM});
  const verbs = [...new Set([...(session.verbs['*'] ?? []), ...(session.verbs[tenant ?? ''] ?? [])])].sort();
  const required = [{required: true, message: t('form.required')}];
  const make = (v: Fields): void =>
    void run(async () => {
      setMade((await post<{token: string}>('me/tokens', v)).token);
      form.resetFields();
      await refresh('me/tokens');
    });
  return (
    <div className="stack">
      {made && (
        <Alert
          type="success"
          showIcon
          closable
          onClose={() => setMade(null)}
          message={t('token.once')}
          description={
            <Typography.Text code copyable className="wrap">
              {made}
            </Typography.Text>
          }
        />
      )}
      <Data query={query}>
        {({items}) =>
          items.length ? (
            <Table<Token>
              size="small"
              rowKey="id"
              dataSource={items}
              pagination={false}
              scroll={{x: 'max-content'}}
              columns={[
                {title: t('token.name'), dataIndex: 'name'},
                {title: t('vm.tenant'), dataIndex: 'tenant'},
                {title: t('token.verbs'), render: (_, x) => <span className="mono">{x.verbs.join(' ')}</span>},
                {title: t('token.expires'), render: (_, x) => <Time at={x.expires} />},
                {title: t('token.used'), render: (_, x) => <Time at={x.used} />},
                {
                  key: 'act',
                  align: 'right',
                  render: (_, x) => (
                    <Button
                      size="small"
                      danger
                      type="text"
                      onClick={() =>
                        void run(async () => {
                          await del(`me/tokens/${part(String(x.id))}`);
                          await refresh('me/tokens');
                        }, t('token.gone'))
                      }
                    >
                      {t('action.remove')}
                    </Button>
                  ),
                },
              ]}
            />
          ) : (
            <Nothing title={t('token.none')} hint={t('token.none.hint')} />
          )
        }
      </Data>
      <Form<Fields> form={form} layout="vertical" className="narrow" onFinish={make} initialValues={{days: 30}}>
        <Form.Item name="name" label={t('token.name')} rules={required}>
          <Input maxLength={60} />
        </Form.Item>
        <Form.Item name="tenant" label={t('vm.tenant')} rules={required}>
          <Select options={Object.keys(session.verbs).filter((x) => x !== '*').map((value) => ({value, label: value}))} />
        </Form.Item>
        <Form.Item name="verbs" label={t('token.verbs')} rules={required}>
          <Select mode="multiple" options={verbs.map((value) => ({value, label: `${value} · ${td(`verb.${value}`, value)}`}))} />
        </Form.Item>
        <Form.Item name="days" label={t('token.days')} rules={required}>
          <InputNumber min={1} max={365} />
        </Form.Item>
        <Button htmlType="submit" type="primary" loading={busy}>
          {t('token.make')}
        </Button>
      </Form>
    </div>
  );
}

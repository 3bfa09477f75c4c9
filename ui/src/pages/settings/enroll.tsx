// SPDX-License-Identifier: Apache-2.0
// Join tokens for hosts: each is good once, for an hour or as long as one says.
import {Alert, Button, Form, Input, Popconfirm, Select, Table, Tag, Typography} from 'antd';
import {useState} from 'react';

import {del, post} from '../../api/client';
import {CALM, useApi, useRefresh} from '../../api/queries';
import type {EnrollToken, Page} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {Data} from '../../parts/data';
import {Nothing} from '../../parts/empty';
import {Time} from '../../parts/show';

const HOURS = [1, 24, 168];

export function Enroll() {
  const {t} = useI18n();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const [made, setMade] = useState<string | null>(null);
  const query = useApi<Page<EnrollToken>>('enroll-tokens', {limit: 1000}, {every: CALM});
  const make = ({name, hours}: {name?: string; hours: number}): void =>
    void run(async () => {
      const answer = await post<{token: string}>('enroll-tokens', {...(name ? {name} : {}), ttl_s: hours * 3600});
      setMade(answer.token);
      await refresh('enroll-tokens');
    });
  return (
    <div className="stack">
      <p className="dim">{t('enroll.text')}</p>
      <Form layout="inline" onFinish={make} initialValues={{hours: 1}}>
        <Form.Item name="name">
          <Input placeholder={t('enroll.name')} aria-label={t('enroll.name')} maxLength={63} spellCheck={false} />
        </Form.Item>
        <Form.Item name="hours">
          <Select style={{width: 150}} aria-label={t('enroll.hours')} options={HOURS.map((value) => ({value, label: t('map.hours', {n: value})}))} />
        </Form.Item>
        <Button htmlType="submit" type="primary" loading={busy}>
          {t('enroll.make')}
        </Button>
      </Form>
      {made && (
        <Alert
          type="success"
          showIcon
          closable
          onClose={() => setMade(null)}
          message={t('enroll.once')}
          description={
            <Typography.Text code copyable className="wrap">
              {`bulkhead host enroll --manager https://${location.host} --token ${made}`}
            </Typography.Text>
          }
        />
      )}
      <Data query={query}>
        {({items}) =>
          items.length ? (
            <Table<EnrollToken>
              scroll={{x: 'max-content'}}
              size="small"
              rowKey="id"
              dataSource={items}
              pagination={{defaultPageSize: 50, hideOnSinglePage: true}}
              columns={[
                {title: '#', dataIndex: 'id', className: 'num'},
                {title: t('enroll.name'), dataIndex: 'name'},
                {title: t('user.created'), render: (_, x) => <Time at={x.created_at} />},
                {title: t('token.expires'), render: (_, x) => <Time at={x.expires_at} />},
                {title: t('user.state'), render: (_, x) => (x.used ? <Tag>{t('enroll.used', {host: x.used_by ?? ''})}</Tag> : <Tag color="processing">{t('enroll.open')}</Tag>)},
                {
                  key: 'act',
                  align: 'right',
                  render: (_, x) => (
                    <Popconfirm
                      title={t('enroll.delete.sure')}
                      onConfirm={() =>
                        run(async () => {
                          await del(`enroll-tokens/${x.id}`);
                          await refresh('enroll-tokens');
                        })
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
          ) : (
            <Nothing title={t('enroll.none')} />
          )
        }
      </Data>
    </div>
  );
}

// SPDX-License-Identifier: Apache-2.0
// Where events go: syslog, webhooks; and for each what it delivered, what waits, what it gave up.
import {Button, Form, Input, Modal, Popconfirm, Select, Space, Table, Tag} from 'antd';
import {useState} from 'react';

import {del, part, post, put} from '../../api/client';
import {LIVELY, useApi, useRefresh} from '../../api/queries';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {Data} from '../../parts/data';
import {Nothing} from '../../parts/empty';
import {useSession} from '../../session/session';

interface Channel {
  name: string;
  kind: string;
  format: string;
  url: string;
  enabled: boolean;
  state: 'up' | 'failing' | 'off';
  delivered: number;
  queued: number;
  gave_up: number;
  last_error?: string | null;
}

interface Fields {
  name: string;
  kind: string;
  format: string;
  url: string;
  severity?: string;
  secret?: string;
}

function NewChannel({onClose}: {onClose: () => void}) {
  const {t, td} = useI18n();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const [form] = Form.useForm<Fields>();
  const kind = Form.useWatch('kind', form) ?? 'syslog';
  const required = [{required: true, message: t('form.required')}];
  return (
    <Modal open title={t('channel.new')} onCancel={onClose} onOk={() => form.submit()} confirmLoading={busy} okText={t('action.save')} destroyOnHidden>
      <Form
        form={form}
        layout="vertical"
        initialValues={{kind: 'syslog', format: 'ecs'}}
        onFinish={({name, severity, secret, ...v}) =>
          void run(async () => {
            await put(`channels/${part(name)}`, {...v, enabled: true, ...(severity ? {filter: {severity}} : {}), ...(secret ? {secret} : {})});
            await refresh('channels');
          }, t('settings.saved')).then((done) => {
            if (done) {
              onClose();
            }
          })
        }
      >
        <Form.Item name="name" label={t('channel.name')} rules={required}>
          <Input maxLength={63} spellCheck={false} />
        </Form.Item>
        <Form.Item name="kind" label={t('channel.kind')}>
          <Select
            options={(['syslog', 'webhook'] as const).map((value) => ({value, label: t(`channel.kind.${value}`)}))}
          />
        </Form.Item>
        <Form.Item name="format" label={t('channel.format')}>
          <Select options={['ecs', 'cef', 'raw'].map((value) => ({value, label: value}))} />
        </Form.Item>
        <Form.Item name="url" label={t('channel.target')} rules={required}>
          <Input className="mono" placeholder={kind === 'syslog' ? 'tls://siem.example:6514' : 'https://hooks.example/bulkhead'} maxLength={500} />
        </Form.Item>
        <Form.Item name="severity" label={t('event.severity')}>
          <Select allowClear options={['notice', 'warning', 'critical'].map((s) => ({value: s, label: t('events.or-graver', {severity: td(`severity.${s}`, s)})}))} />
        </Form.Item>
        {kind === 'webhook' && (
          <Form.Item name="secret" label={t('channel.secret')} extra={t('channel.secret.hint')}>
            <Input.Password autoComplete="new-password" maxLength={200} />
          </Form.Item>
        )}
      </Form>
    </Modal>
  );
}

const STATE_COLOR: Record<Channel['state'], string> = {up: 'success', failing: 'error', off: 'default'};

export function Channels() {
  const {t, td, number} = useI18n();
  const {may} = useSession();
  const {run} = useAct();
  const refresh = useRefresh();
  const [making, setMaking] = useState(false);
  const query = useApi<{items: Channel[]}>('channels', undefined, {every: LIVELY});
  const writes = may('channel.write');
  const add = writes && (
    <Button type="primary" onClick={() => setMaking(true)}>
      {t('channel.new')}
    </Button>
  );
  return (
    <div className="stack">
      <div>{add}</div>
      <Data query={query}>
        {({items}) =>
          items.length ? (
            <Table<Channel>
              size="small"
              rowKey="name"
              dataSource={items}
              pagination={false}
              scroll={{x: 'max-content'}}
              columns={[
                {title: t('channel.name'), dataIndex: 'name'},
                {title: t('channel.kind'), render: (_, c) => td(`channel.kind.${c.kind}`, c.kind)},
                {title: t('user.state'), render: (_, c) => <Tag color={STATE_COLOR[c.state]}>{td(`channel.state.${c.state}`, c.state)}</Tag>},
                {title: t('channel.format'), dataIndex: 'format'},
                {title: t('channel.target'), render: (_, c) => <span className="mono">{c.url}</span>},
                {title: t('channel.delivered'), align: 'right', className: 'num', render: (_, c) => number(c.delivered)},
                {title: t('channel.queued'), align: 'right', className: 'num', render: (_, c) => number(c.queued)},
                {title: t('channel.gave-up'), align: 'right', className: 'num', render: (_, c) => <span className={c.gave_up ? 'bad' : ''}>{number(c.gave_up)}</span>},
                {title: t('channel.error'), render: (_, c) => (c.last_error ? <Tag color="error">{c.last_error}</Tag> : '')},
                {
                  key: 'act',
                  align: 'right',
                  render: (_, c) =>
                    writes && (
                      <Space>
                        <Button size="small" onClick={() => void run(() => post(`channels/${part(c.name)}:test`, {}), t('channel.tested'))}>
                          {t('channel.test')}
                        </Button>
                        <Popconfirm
                          title={t('channel.delete.sure')}
                          onConfirm={() =>
                            run(async () => {
                              await del(`channels/${part(c.name)}`);
                              await refresh('channels');
                            })
                          }
                        >
                          <Button size="small" danger type="text">
                            {t('action.remove')}
                          </Button>
                        </Popconfirm>
                      </Space>
                    ),
                },
              ]}
            />
          ) : (
            <Nothing title={t('channel.none')} hint={t('channel.none.hint')} />
          )
        }
      </Data>
      {making && <NewChannel onClose={() => setMaking(false)} />}
    </div>
  );
}

// SPDX-License-Identifier: Apache-2.0
// Snapshots of a VM: made, gone back to, removed.
import {Button, Form, Input, Modal, Space, Table, Tag} from 'antd';
import {useState} from 'react';

import {del, part} from '../../api/client';
import {CALM, useApi, useRefresh} from '../../api/queries';
import type {Vm} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {useAskReason} from '../../parts/ask-reason';
import {Data} from '../../parts/data';
import {Nothing} from '../../parts/empty';
import {Time, VmState} from '../../parts/show';
import {useSession} from '../../session/session';
import {order} from './acts';

interface Snapshot {
  name: string;
  created: string;
  state: string;
  current: boolean;
  description?: string;
}

function NewSnapshot({vm, onClose}: {vm: Vm; onClose: () => void}) {
  const {t} = useI18n();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const [form] = Form.useForm<{name: string; description?: string}>();
  const send = async (v: {name: string; description?: string}): Promise<void> => {
    const done = await run(async () => {
      await order(vm, '/snapshots', v);
      await refresh('vms', 'orders');
    }, t('order.sent'));
    if (done) {
      onClose();
    }
  };
  return (
    <Modal open title={t('snapshot.new')} onCancel={onClose} onOk={() => form.submit()} okText={t('snapshot.make')} confirmLoading={busy} destroyOnHidden>
      <p className="dim">{t('snapshot.new.text')}</p>
      <Form form={form} layout="vertical" requiredMark={false} onFinish={(v) => void send(v)}>
        <Form.Item name="name" label={t('snapshot.name')} rules={[{required: true, message: t('form.required')}]}>
          <Input autoFocus maxLength={63} spellCheck={false} />
        </Form.Item>
        <Form.Item name="description" label={t('snapshot.description')}>
          <Input maxLength={200} />
        </Form.Item>
      </Form>
    </Modal>
  );
}

export function Snapshots({vm}: {vm: Vm}) {
  const {t} = useI18n();
  const {may} = useSession();
  const {run} = useAct();
  const ask = useAskReason();
  const refresh = useRefresh();
  const [making, setMaking] = useState(false);
  const path = `vms/${part(vm.uuid)}/snapshots`;
  const query = useApi<{items: Snapshot[]}>(path, undefined, {every: CALM});
  const change = (work: () => Promise<unknown>): Promise<boolean> =>
    run(async () => {
      await work();
      await refresh('vms', 'orders');
    }, t('order.sent'));
  const make = may('vm.snapshot', vm.tenant) && <Button onClick={() => setMaking(true)}>{t('snapshot.new')}</Button>;
  return (
    <div className="stack">
      <Data query={query}>
        {({items}) =>
          items.length ? (
            <>
              {make && <div>{make}</div>}
              <Table<Snapshot>
                size="small"
                rowKey="name"
                dataSource={items}
                pagination={{pageSize: 20, hideOnSinglePage: true}}
                scroll={{x: 'max-content'}}
                columns={[
                  {
                    title: t('snapshot.name'),
                    render: (_, s) => (
                      <>
                        {s.name} {s.current && <Tag bordered={false}>{t('snapshot.current')}</Tag>}
                      </>
                    ),
                  },
                  {title: t('snapshot.description'), dataIndex: 'description'},
                  {title: t('snapshot.made'), render: (_, s) => <Time at={s.created} exact />},
                  {title: t('vm.state'), render: (_, s) => <VmState state={s.state} />},
                  {
                    key: 'act',
                    align: 'right',
                    render: (_, s) =>
                      may('vm.revert', vm.tenant) && (
                        <Space>
                          <Button
                            size="small"
                            onClick={() =>
                              ask({title: t('snapshot.revert.title', {vm: vm.name, name: s.name}), text: t('snapshot.revert.text'), ok: t('snapshot.revert'), danger: true, typed: vm.name}, () =>
                                change(() => order(vm, `/snapshots/${part(s.name)}:revert`)),
                              )
                            }
                          >
                            {t('snapshot.revert')}
                          </Button>
                          <Button
                            size="small"
                            danger
                            type="text"
                            onClick={() =>
                              ask({title: t('snapshot.remove.title', {name: s.name}), text: t('snapshot.remove.text'), ok: t('action.remove'), danger: true}, () =>
                                change(() => del(`${path}/${part(s.name)}`)),
                              )
                            }
                          >
                            {t('action.remove')}
                          </Button>
                        </Space>
                      ),
                  },
                ]}
              />
            </>
          ) : (
            <Nothing title={t('snapshot.none')} hint={t('snapshot.none.hint')} action={make || undefined} />
          )
        }
      </Data>
      {making && <NewSnapshot vm={vm} onClose={() => setMaking(false)} />}
    </div>
  );
}

// SPDX-License-Identifier: Apache-2.0
// Labels: those of libvirt's metadata, and those set here, which win. Changing them changes what the VM may.
import {DeleteOutlined, PlusOutlined} from '@ant-design/icons';
import {Button, Form, Input, Space, Tag, Tooltip} from 'antd';
import {useState} from 'react';

import {part, put} from '../../api/client';
import {useRefresh} from '../../api/queries';
import type {Labels, Vm} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {Nothing} from '../../parts/empty';
import {useSession} from '../../session/session';

interface Row {
  key: string;
  value: string;
}

function Edit({vm, onEnd}: {vm: Vm; onEnd: () => void}) {
  const {t} = useI18n();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const save = async ({rows}: {rows: Row[]}): Promise<void> => {
    const labels: Labels = Object.fromEntries(rows.map((r) => [r.key.trim(), (r.value ?? '').trim()]));
    const done = await run(async () => {
      await put(`vms/${part(vm.uuid)}/labels`, {labels}, {wait: 10});
      await refresh('vms');
    }, t('vm.labels.saved'));
    if (done) {
      onEnd();
    }
  };
  return (
    <Form onFinish={(v: {rows: Row[]}) => void save(v)} initialValues={{rows: Object.entries(vm.labels_api ?? {}).map(([key, value]) => ({key, value}))}}>
      <Form.List name="rows">
        {(fields, {add, remove}) => (
          <>
            {fields.map((f) => (
              <Space key={f.key} align="baseline" className="label-row">
                <Form.Item name={[f.name, 'key']} rules={[{required: true, message: t('form.required')}]}>
                  <Input placeholder={t('vm.labels.key')} aria-label={t('vm.labels.key')} maxLength={63} />
                </Form.Item>
                =
                <Form.Item name={[f.name, 'value']}>
                  <Input placeholder={t('vm.labels.value')} aria-label={t('vm.labels.value')} maxLength={63} />
                </Form.Item>
                <Button type="text" icon={<DeleteOutlined />} aria-label={t('action.remove')} onClick={() => remove(f.name)} />
              </Space>
            ))}
            <Button type="dashed" block icon={<PlusOutlined />} onClick={() => add()}>
              {t('vm.labels.add')}
            </Button>
          </>
        )}
      </Form.List>
      <Space className="form-end">
        <Button type="primary" htmlType="submit" loading={busy}>
          {t('action.save')}
        </Button>
        <Button onClick={onEnd}>{t('action.cancel')}</Button>
      </Space>
    </Form>
  );
}

export function LabelEditor({vm}: {vm: Vm}) {
  const {t} = useI18n();
  const {may} = useSession();
  const [editing, setEditing] = useState(false);
  const entries = Object.entries(vm.labels).sort(([a], [b]) => a.localeCompare(b));
  return (
    <section className="panel">
      <div className="panel-head">
        {t('vm.labels')}
        {!editing && may('vm.labels', vm.tenant) && (
          <Button size="small" onClick={() => setEditing(true)}>
            {t('action.edit')}
          </Button>
        )}
      </div>
      <div className="panel-pad">
        {editing ? (
          <Edit vm={vm} onEnd={() => setEditing(false)} />
        ) : entries.length ? (
          <Space wrap>
            {entries.map(([key, value]) => (
              <Tooltip key={key} title={vm.labels_api && key in vm.labels_api ? t('vm.labels.of-api') : t('vm.labels.of-metadata')}>
                <Tag className="mono tag-words">
                  {key}={value}
                </Tag>
              </Tooltip>
            ))}
          </Space>
        ) : (
          <Nothing title={t('vm.labels.none')} hint={t('vm.labels.none.hint')} />
        )}
      </div>
    </section>
  );
}

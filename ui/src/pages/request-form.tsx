// SPDX-License-Identifier: Apache-2.0
// A request: a right for some hours, or a VM. What was refused elsewhere comes here filled in (parts/refusal.ts).
import {Form, Input, InputNumber, Modal, Segmented, Select, Space} from 'antd';
import {useEffect} from 'react';
import {useSearchParams} from 'react-router-dom';

import {part, post} from '../api/client';
import {useApi, useRefresh} from '../api/queries';
import type {Page, Right, Tenant, Vm} from '../api/types';
import {useI18n} from '../i18n/i18n';
import {useAct} from '../parts/act';
import {useSession} from '../session/session';

interface Fields {
  kind: string;
  tenant: string;
  verb?: string;
  object?: string;
  hours?: number;
  reason: string;
  name?: string;
  image?: string;
  cpus?: number;
  memory_mib?: number;
}

/** Tenants that a request can be about; and of those the one whose thing the object is. */
function useTenants(object: string | null): {names: string[]; likely: string | undefined} {
  const {session, may} = useSession();
  const tenants = useApi<Page<Tenant>>('tenants', {limit: 10000}, {enabled: may('tenant.read')});
  const vm = useApi<Vm>(`vms/${part(object?.replace(/^vm\//, '') ?? '')}`, undefined, {enabled: object?.startsWith('vm/') ?? false});
  const own = [...session.roles.map((r) => r.tenant), ...Object.keys(session.verbs)].filter((x) => x !== '*');
  const names = [...new Set([...(tenants.data?.items.map((x) => x.name) ?? []), ...own, ...(session.tenant ? [session.tenant] : [])])].sort();
  const home = session.roles.map((r) => r.tenant).find((x) => x !== '*'); // there somebody is asked who knows one
  return {names, likely: object?.startsWith('host/') ? 'provider' : object?.startsWith('vm/') ? vm.data?.tenant : home};
}

function Grant() {
  const {t, td} = useI18n();
  const rights = useApi<{rights: Right[]}>('rights');
  const required = [{required: true, message: t('form.required')}];
  return (
    <>
      <Form.Item name="verb" label={t('request.verb')} rules={required}>
        <Select
          showSearch
          optionFilterProp="label"
          options={(rights.data?.rights ?? []).map((r) => ({value: r.verb, label: `${td(`verb.${r.verb}`, r.verb)} (${r.verb})`}))}
        />
      </Form.Item>
      <Form.Item name="object" label={t('request.object')} extra={t('request.object.hint')}>
        <Input maxLength={200} className="mono" spellCheck={false} />
      </Form.Item>
      <Form.Item name="hours" label={t('request.hours')} rules={required}>
        <InputNumber min={1} max={720} />
      </Form.Item>
    </>
  );
}

function Machine() {
  const {t} = useI18n();
  const required = [{required: true, message: t('form.required')}];
  return (
    <>
      <Form.Item name="name" label={t('vm.name')} rules={required}>
        <Input maxLength={63} spellCheck={false} />
      </Form.Item>
      <Space>
        <Form.Item name="cpus" label={t('request.cpus')} rules={required}>
          <InputNumber min={1} max={512} />
        </Form.Item>
        <Form.Item name="memory_mib" label={t('request.memory')} rules={required}>
          <InputNumber min={64} max={16777216} step={512} />
        </Form.Item>
      </Space>
      <Form.Item name="image" label={t('request.image')} rules={required}>
        <Input maxLength={200} />
      </Form.Item>
    </>
  );
}

export function NewRequest({onClose}: {onClose: () => void}) {
  const {t} = useI18n();
  const {session} = useSession();
  const [params] = useSearchParams();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const [form] = Form.useForm<Fields>();
  const kind = Form.useWatch('kind', form) ?? 'grant';
  const object = params.get('object');
  const {names, likely} = useTenants(object);
  const tenant = params.get('tenant') ?? likely;
  useEffect(() => {
    if (tenant && !form.isFieldTouched('tenant')) {
      form.setFieldValue('tenant', tenant);
    }
  }, [form, tenant]);
  const send = async ({name, image, cpus, memory_mib, ...rest}: Fields): Promise<void> => {
    const {tenant: of, reason} = rest;
    const done = await run(async () => {
      await post('requests', kind === 'vm' ? {kind, tenant: of, reason, vm: {name, image, cpus, memory_mib}} : rest);
      await refresh('requests');
    }, t('request.sent'));
    if (done) {
      onClose();
    }
  };
  const required = [{required: true, message: t('form.required')}];
  return (
    <Modal open title={t('request.new')} onCancel={onClose} onOk={() => form.submit()} okText={t('request.send')} confirmLoading={busy} width={560} destroyOnHidden>
      <Form<Fields>
        form={form}
        layout="vertical"
        requiredMark={false}
        initialValues={{
          kind: params.get('new') === 'vm' ? 'vm' : 'grant',
          tenant: tenant ?? (session.tenant || names[0]),
          hours: Number(params.get('hours')) || 2,
          verb: params.get('verb') ?? undefined,
          object: object ?? undefined,
        }}
        onFinish={(v) => void send(v)}
      >
        <Form.Item name="kind">
          <Segmented
            options={[
              {value: 'grant', label: t('request.kind.grant')},
              {value: 'vm', label: t('request.kind.vm')},
            ]}
          />
        </Form.Item>
        <Form.Item name="tenant" label={t('vm.tenant')} rules={required}>
          <Select showSearch options={names.map((value) => ({value, label: value}))} />
        </Form.Item>
        {kind === 'grant' ? <Grant /> : <Machine />}
        <Form.Item name="reason" label={t('form.reason')} rules={required}>
          <Input.TextArea rows={3} maxLength={256} autoFocus={params.get('verb') !== null} />
        </Form.Item>
      </Form>
    </Modal>
  );
}

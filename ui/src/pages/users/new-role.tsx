// SPDX-License-Identifier: Apache-2.0
// A role of one's own: some of the rights that one holds at a tenant. Nobody makes a role that can do more than its maker.
import {Checkbox, Form, Input, Modal, Select} from 'antd';
import {useMemo} from 'react';

import {post} from '../../api/client';
import {useApi, useRefresh} from '../../api/queries';
import type {Page, Right, Tenant} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {useSession} from '../../session/session';

interface Fields {
  tenant: string;
  name: string;
  words?: string;
  verbs: string[];
}

export function NewRole({rights, onClose}: {rights: Right[]; onClose: () => void}) {
  const {t, td} = useI18n();
  const {may} = useSession();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const [form] = Form.useForm<Fields>();
  const tenants = useApi<Page<Tenant>>('tenants', {limit: 10000}, {enabled: may('tenant.read')});
  const names = (tenants.data?.items ?? []).map((x) => x.name).filter((x) => may('role.write', x));
  const tenant = Form.useWatch('tenant', form) ?? names[0];
  const groups = useMemo(() => {
    const held = rights.filter((r) => may(r.verb, tenant));
    return [...new Set(held.map((r) => r.verb.split('.')[0] ?? ''))].map((kind) => ({kind, verbs: held.filter((r) => r.verb.startsWith(`${kind}.`))}));
  }, [rights, may, tenant]);
  const required = [{required: true, message: t('form.required')}];
  const send = async (v: Fields): Promise<void> => {
    const done = await run(async () => {
      await post('roles', {...v, words: v.words ?? ''});
      await refresh('roles');
    }, t('role.made'));
    if (done) {
      onClose();
    }
  };
  return (
    <Modal open title={t('role.new')} onCancel={onClose} onOk={() => form.submit()} okText={t('user.create')} confirmLoading={busy} width={640} destroyOnHidden>
      <p className="dim">{t('role.new.text')}</p>
      <Form<Fields> form={form} layout="vertical" requiredMark={false} initialValues={{tenant: names[0], verbs: []}} onFinish={(v) => void send(v)}>
        <Form.Item name="tenant" label={t('vm.tenant')} rules={required}>
          <Select showSearch options={names.map((value) => ({value, label: value}))} />
        </Form.Item>
        <Form.Item name="name" label={t('user.role')} rules={[...required, {pattern: /^[a-z][a-z0-9._-]*$/, message: t('user.name.rule')}]}>
          <Input maxLength={63} spellCheck={false} autoComplete="off" />
        </Form.Item>
        <Form.Item name="words" label={t('role.words')}>
          <Input maxLength={190} />
        </Form.Item>
        <Form.Item name="verbs" label={t('token.verbs')} rules={[{required: true, type: 'array', min: 1, message: t('form.required')}]}>
          <Checkbox.Group className="rights">
            {groups.map((g) => (
              <div key={g.kind} className="rights-group">
                {g.verbs.map((r) => (
                  <Checkbox key={r.verb} value={r.verb}>
                    <span className={r.dangerous ? 'warn' : undefined}>{td(`verb.${r.verb}`, r.words ?? r.verb)}</span> <span className="mono dim">{r.verb}</span>
                  </Checkbox>
                ))}
              </div>
            ))}
          </Checkbox.Group>
        </Form.Item>
      </Form>
    </Modal>
  );
}

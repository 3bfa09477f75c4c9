// SPDX-License-Identifier: Apache-2.0
// What can be done with a VM. Acts that a person may never do are not offered; those that need a second factor or a second person ask for it
// when they are chosen (api/client.ts, parts/failure.tsx).
import {Button, Dropdown, Form, Input, Modal, Select, type MenuProps} from 'antd';
import {useState} from 'react';
import {useNavigate} from 'react-router-dom';

import {del, part, patch, post, put} from '../../api/client';
import {useApi, useRefresh} from '../../api/queries';
import type {Host, Page, Vm} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {useAskReason} from '../../parts/ask-reason';
import {useSession} from '../../session/session';
import {powerActs} from './power';

/** Seconds that an answer may wait for the host; longer acts go on as orders (orders.tsx). */
const WAIT_S = 2;

/** Sends an order; the same order again, as after a second factor, is one order. */
export async function order(vm: Vm, path: string, body: object = {}): Promise<void> {
  await post(`vms/${part(vm.uuid)}${path}`, {...body, request: crypto.randomUUID()}, {wait: WAIT_S});
}

function Migrate({vm, onClose}: {vm: Vm; onClose: () => void}) {
  const {t} = useI18n();
  const {may} = useSession();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const [form] = Form.useForm<{host: string; reason?: string}>();
  const hosts = useApi<Page<Host>>('hosts', {limit: 10000}, {enabled: may('host.read')});
  const fit = (hosts.data?.items ?? []).filter((h) => h.name !== vm.host);
  const send = async ({host, reason}: {host: string; reason?: string}): Promise<void> => {
    const done = await run(async () => {
      await order(vm, ':migrate', {host, ...(reason ? {reason} : {})});
      await refresh('vms', 'orders', 'migrations');
    }, t('vm.migrate.begun'));
    if (done) {
      onClose();
    }
  };
  return (
    <Modal open title={t('vm.migrate.title', {vm: vm.name})} okText={t('vm.migrate')} onCancel={onClose} onOk={() => form.submit()} confirmLoading={busy} destroyOnHidden>
      <p>{t('vm.migrate.text')}</p>
      <Form form={form} layout="vertical" requiredMark={false} onFinish={(v) => void send(v)}>
        <Form.Item name="host" label={t('migration.to')} rules={[{required: true, message: t('form.required')}]}>
          {may('host.read') ? (
            <Select
              showSearch
              loading={hosts.isPending}
              notFoundContent={t('vm.migrate.no-host')}
              options={fit.map((h) => ({
                value: h.name,
                disabled: !h.online || (h.maintenance?.on ?? false),
                label: !h.online ? `${h.name} · ${t('host.state.offline')}` : h.maintenance?.on ? `${h.name} · ${t('host.in-maintenance')}` : h.name,
              }))}
            />
          ) : (
            <Input maxLength={63} spellCheck={false} />
          )}
        </Form.Item>
        <Form.Item name="reason" label={t('ask.reason')}>
          <Input.TextArea rows={2} maxLength={256} />
        </Form.Item>
      </Form>
    </Modal>
  );
}

type Item = NonNullable<MenuProps['items']>[number];

function usePower(vm: Vm): Item[] {
  const {t} = useI18n();
  const {may} = useSession();
  const {run} = useAct();
  const ask = useAskReason();
  const refresh = useRefresh();
  const send = (path: string, body: object): Promise<boolean> =>
    run(async () => {
      await order(vm, path, body);
      await refresh('vms', 'orders');
    }, t('order.sent'));
  const acts = may('vm.power', vm.tenant) ? powerActs(vm.state) : [];
  const items: Item[] = acts.map((act) => ({
    key: act,
    label: t(`order.${act}`),
    onClick: () =>
      act === 'start' || act === 'resume'
        ? void send(`:${act}`, {})
        : ask({title: t('vm.power.title', {act: t(`order.${act}`), vm: vm.name}), text: t(`vm.${act}.text`), ok: t(`order.${act}`), danger: act === 'reset'}, (reason) =>
            send(`:${act}`, reason ? {reason} : {}),
          ),
  }));
  if (may('vm.destroy', vm.tenant) && vm.state !== 'gone') {
    const off = vm.state === 'shutoff';
    const act = off ? 'undefine' : 'destroy';
    items.push({
      key: act,
      danger: true,
      label: t(`order.${act}`),
      onClick: () =>
        ask({title: t('vm.power.title', {act: t(`order.${act}`), vm: vm.name}), text: t(`vm.${act}.text`), ok: t(`order.${act}`), danger: true, typed: vm.name}, (reason) =>
          send(':destroy', {...(off ? {undefine: true} : {}), ...(reason ? {reason} : {})}),
        ),
    });
  }
  return items;
}

function useProtection(vm: Vm): Item[] {
  const {t} = useI18n();
  const {may} = useSession();
  const {run} = useAct();
  const ask = useAskReason();
  const refresh = useRefresh();
  const navigate = useNavigate();
  const path = `vms/${part(vm.uuid)}`;
  const change = (work: () => Promise<unknown>, done: string): Promise<boolean> =>
    run(async () => {
      await work();
      await refresh('vms');
    }, done);
  const quarantine = (on: boolean): void =>
    ask(
      {
        title: on ? t('vm.quarantine.title', {vm: vm.name}) : t('vm.release.title', {vm: vm.name}),
        text: on ? t('vm.quarantine.text') : t('vm.release.text'),
        ok: on ? t('vm.quarantine') : t('vm.release'),
        danger: on,
      },
      (reason) => change(() => put(`${path}/quarantine`, {on, ...(reason ? {reason} : {})}), on ? t('vm.quarantine.done') : t('vm.release.done')),
    );
  const birth = (open: boolean): void =>
    ask({title: open ? t('vm.unprotect.title', {vm: vm.name}) : t('vm.protect.title', {vm: vm.name}), text: open ? t('vm.unprotect.text') : t('vm.protect.text'), ok: t('action.save'), danger: open}, () =>
      change(() => patch(path, {birth: open ? 'open' : 'closed'}), t('settings.saved')),
    );
  const forget = (): void =>
    ask({title: t('vm.forget.title', {vm: vm.name}), text: t('vm.forget.text'), ok: t('vm.forget'), danger: true}, () =>
      run(async () => {
        await del(path);
        await refresh('vms');
        navigate('/inventory');
      }),
    );
  const items: Item[] = [];
  if (vm.quarantine && may('vm.release', vm.tenant)) {
    items.push({key: 'release', label: t('vm.release'), onClick: () => quarantine(false)});
  } else if (!vm.quarantine && may('vm.quarantine', vm.tenant)) {
    items.push({key: 'quarantine', label: t('vm.quarantine'), danger: true, onClick: () => quarantine(true)});
  }
  if (may('vm.unprotect', vm.tenant)) {
    const open = vm.birth !== 'open';
    items.push({key: 'birth', label: open ? t('vm.unprotect') : t('vm.protect'), danger: open, onClick: () => birth(open)});
  }
  if (vm.state === 'gone' && may('vm.forget', vm.tenant)) {
    items.push({key: 'forget', label: t('vm.forget'), danger: true, onClick: forget});
  }
  return items;
}

export function VmActs({vm}: {vm: Vm}) {
  const {t} = useI18n();
  const {may} = useSession();
  const [migrating, setMigrating] = useState(false);
  const power = usePower(vm);
  const protection = useProtection(vm);
  const moves = (may('vm.migrate', vm.tenant) || may('vm.migrate-pool', vm.tenant)) && vm.state !== 'gone' && vm.host;
  const place: Item[] = moves ? [{key: 'migrate', label: t('vm.migrate'), disabled: Boolean(vm.moving_to), onClick: () => setMigrating(true)}] : [];
  const items = [power, place, protection].filter((g) => g.length).flatMap((g, i): Item[] => (i ? [{type: 'divider', key: `d${i}`}, ...g] : g));
  return (
    <>
      {items.length > 0 && (
        <Dropdown menu={{items}} trigger={['click']}>
          <Button>{t('action.more')}</Button>
        </Dropdown>
      )}
      {migrating && <Migrate vm={vm} onClose={() => setMigrating(false)} />}
    </>
  );
}

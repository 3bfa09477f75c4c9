// SPDX-License-Identifier: Apache-2.0
// Orders: what somebody asked a host to do with a VM. They go on while one looks elsewhere; here is how far they are and how they ended.
import {Alert, Button, Progress, Table, Tag} from 'antd';
import {useEffect, useRef} from 'react';

import {part, post} from '../../api/client';
import {LIVELY, useApi, useRefresh} from '../../api/queries';
import type {Vm} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {Data} from '../../parts/data';
import {Nothing} from '../../parts/empty';
import {Time} from '../../parts/show';
import {useSession} from '../../session/session';

export interface Order {
  id: string | number;
  vm: string;
  act: string;
  state: 'running' | 'done' | 'failed' | 'unknown';
  percent?: number | null;
  by?: string;
  reason?: string;
  begun: string;
  ended?: string | null;
  error?: string | null;
  /** Of a snapshot. */
  name?: string;
  /** Where it is to go. */
  to?: string;
}

const QUICK = 1000;
const FRESH_MS = 120_000;
/** Orders that can be given up, by which right. */
const CANCEL: Record<string, string> = {migrate: 'vm.migrate', snapshot: 'vm.snapshot', shutdown: 'vm.power'};
const COLOR: Record<string, string> = {running: 'processing', done: 'success', failed: 'error', unknown: 'warning'};

function useOrders(vm: Vm, every: number) {
  return useApi<{items: Order[]}>('orders', {vm: vm.uuid, limit: 50}, {every});
}

function words(order: Order, td: (key: string, other: string) => string): string {
  const act = td(`order.${order.act}`, order.act);
  const more = order.name ?? order.to;
  return more ? `${act} · ${more}` : act;
}

/** What goes on with the VM now, and what has just gone wrong. */
export function OrderBanner({vm}: {vm: Vm}) {
  const {t, td} = useI18n();
  const {may} = useSession();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const going = useRef(0);
  const query = useOrders(vm, going.current ? QUICK : LIVELY);
  const items = query.data?.items ?? [];
  const open = items.filter((o) => o.state === 'running');
  const last = items[0];
  const failed = last && last.state !== 'running' && last.error && last.ended && Date.now() - new Date(last.ended).getTime() < FRESH_MS ? last : undefined;
  useEffect(() => {
    if (open.length !== going.current) {
      going.current = open.length;
      void refresh('vms', 'orders');
    }
  }, [open.length, refresh]);
  return (
    <>
      {open.map((o) => (
        <Alert
          key={o.id}
          type="info"
          showIcon
          role="status"
          message={t('order.going', {what: words(o, td), who: o.by ?? ''})}
          description={typeof o.percent === 'number' ? <Progress percent={o.percent} size="small" status="active" /> : undefined}
          action={
            CANCEL[o.act] &&
            may(CANCEL[o.act] ?? '', vm.tenant) && (
              <Button size="small" loading={busy} onClick={() => void run(() => post(`orders/${part(String(o.id))}:cancel`, {}).then(() => refresh('orders')))}>
                {t('action.cancel')}
              </Button>
            )
          }
        />
      ))}
      {failed && <Alert key={`f${failed.id}`} type="error" showIcon closable message={t('order.failed', {what: words(failed, td)})} description={<span lang="en">{failed.error}</span>} />}
    </>
  );
}

export function OrderTable({vm}: {vm: Vm}) {
  const {t, td} = useI18n();
  const query = useOrders(vm, LIVELY);
  return (
    <Data query={query}>
      {({items}) =>
        items.length ? (
          <Table<Order>
            size="small"
            rowKey="id"
            dataSource={items}
            pagination={{pageSize: 20, hideOnSinglePage: true}}
            scroll={{x: 'max-content'}}
            columns={[
              {title: t('order.when'), render: (_, o) => <Time at={o.begun} />},
              {title: t('order.what'), render: (_, o) => words(o, td)},
              {title: t('audit.who'), dataIndex: 'by'},
              {
                title: t('user.state'),
                render: (_, o) => (
                  <Tag color={COLOR[o.state] ?? 'default'} bordered={false}>
                    {td(`order.state.${o.state}`, o.state)}
                  </Tag>
                ),
              },
              {title: t('form.reason'), render: (_, o) => <span className="wrap">{o.error || o.reason}</span>},
            ]}
          />
        ) : (
          <Nothing title={t('order.none')} />
        )
      }
    </Data>
  );
}

// SPDX-License-Identifier: Apache-2.0
// What somebody should look at. The same again is one line with a count; each is open, somebody's, or closed, with what was said about it.
import {Button, Drawer, Form, Input, Segmented, Select, Space, Table, Tag, Timeline} from 'antd';
import {useCallback, useMemo} from 'react';
import {Link} from 'react-router-dom';

import {part, post} from '../api/client';
import {LIVELY, useApi, useRefresh} from '../api/queries';
import type {BusEvent, Severity} from '../api/types';
import {useI18n} from '../i18n/i18n';
import {useAct} from '../parts/act';
import {Data} from '../parts/data';
import {Nothing} from '../parts/empty';
import {EventTable} from '../parts/event-table';
import {Facts} from '../parts/facts';
import {useFilters} from '../parts/filters';
import {PageFrame} from '../parts/page';
import {SearchField} from '../parts/search';
import {Long, SeverityTag, Time} from '../parts/show';
import {useSession} from '../session/session';

interface Step {
  time: string;
  who: string;
  what: string;
  text?: string;
}

interface Alert {
  id: number;
  type: string;
  severity: Severity;
  state: 'open' | 'acknowledged' | 'closed';
  /** What it is about, and its name for people. */
  object?: string;
  name?: string;
  signature?: string;
  tenant?: string;
  count: number;
  first: string;
  last: string;
  assignee?: string | null;
  comments?: number;
  last_event?: BusEvent | number;
  history?: Step[];
}

const STATE_COLOR: Record<string, string> = {open: 'error', acknowledged: 'processing', closed: 'default'};

/** To whom it is given: oneself with one click, others by name. */
function Assign({alert, busy, onAssign}: {alert: Alert; busy: boolean; onAssign: (assignee: string) => void}) {
  const {t} = useI18n();
  const {session, may} = useSession();
  const users = useApi<{items: {name: string; disabled: boolean}[]}>('users', {limit: 10000}, {enabled: may('user.read')});
  const names = [...new Set([session.user, ...(users.data?.items ?? []).filter((u) => !u.disabled).map((u) => u.name), ...(alert.assignee ? [alert.assignee] : [])])].sort();
  return (
    <Space wrap>
      <Select
        allowClear
        showSearch
        size="small"
        style={{width: 200}}
        value={alert.assignee || undefined}
        placeholder={t('alert.nobody')}
        aria-label={t('alert.assignee')}
        disabled={busy}
        onChange={(v: string | undefined) => onAssign(v ?? '')}
        options={names.map((value) => ({value, label: value}))}
      />
      {alert.assignee !== session.user && (
        <Button size="small" loading={busy} onClick={() => onAssign(session.user)}>
          {t('alert.assign-me')}
        </Button>
      )}
    </Space>
  );
}

function AlertDetail({id, onClose}: {id: string; onClose: () => void}) {
  const {t, td} = useI18n();
  const {may} = useSession();
  const refresh = useRefresh();
  const {busy, run} = useAct();
  const [form] = Form.useForm<{text: string}>();
  const query = useApi<Alert>(`alerts/${part(id)}`);
  const act = (verb: string, body?: unknown): Promise<boolean> =>
    run(async () => {
      await post(`alerts/${part(id)}:${verb}`, body ?? {});
      await refresh('alerts');
    });
  return (
    <Drawer open onClose={onClose} width={Math.min(720, window.innerWidth)} title={t('alert.title', {id})}>
      <Data query={query}>
        {(a) => (
          <div className="stack">
            <Facts
              items={[
                [t('event.type'), a.type],
                [t('event.severity'), <SeverityTag key="s" severity={a.severity} />],
                [t('alert.state'), td(`alert.state.${a.state}`, a.state)],
                [t('alert.object'), a.name || a.object],
                [t('flow.rule'), a.signature],
                [t('vm.tenant'), a.tenant],
                [t('alert.count'), a.count],
                [t('alert.first'), <Time key="f" at={a.first} exact />],
                [t('alert.last'), <Time key="l" at={a.last} exact />],
                [
                  t('alert.assignee'),
                  may('alert.write', a.tenant) ? <Assign key={a.assignee} alert={a} busy={busy} onAssign={(assignee) => void act('assign', {assignee})} /> : a.assignee,
                ],
              ]}
            />
            {may('alert.write', a.tenant) && (
              <Space wrap>
                {a.state === 'open' && (
                  <Button type="primary" loading={busy} onClick={() => void act('acknowledge')}>
                    {t('alert.ack')}
                  </Button>
                )}
                {a.state !== 'closed' && (
                  <Button loading={busy} onClick={() => void act('close')}>
                    {t('alert.close')}
                  </Button>
                )}
                {a.state === 'closed' && (
                  <Button loading={busy} onClick={() => void act('reopen')}>
                    {t('alert.reopen')}
                  </Button>
                )}
              </Space>
            )}
            {Boolean(a.history?.length) && (
              <Timeline
                items={(a.history ?? []).map((c) => ({
                  children: (
                    <>
                      <strong>{c.who}</strong> <Time at={c.time} /> <span className="dim">{td(`alert.what.${c.what}`, c.what)}</span>
                      <div className="wrap">{c.text}</div>
                    </>
                  ),
                }))}
              />
            )}
            {may('alert.write', a.tenant) && (
              <Form
                form={form}
                onFinish={({text}: {text: string}) =>
                  void act('comment', {text}).then((done) => {
                    if (done) {
                      form.resetFields();
                    }
                  })
                }
              >
                <Form.Item name="text" rules={[{required: true, message: t('form.required')}]}>
                  <Input.TextArea rows={2} maxLength={2000} placeholder={t('alert.comment')} aria-label={t('alert.comment')} />
                </Form.Item>
                <Button htmlType="submit" loading={busy}>
                  {t('alert.comment.send')}
                </Button>
              </Form>
            )}
            {typeof a.last_event === 'object' && <EventTable events={[a.last_event]} />}
            <Link to={`/events?type=${part(a.type)}`}>{t('alert.events')}</Link>
          </div>
        )}
      </Data>
    </Drawer>
  );
}

export default function Alerts() {
  const {t, td, number} = useI18n();
  const {session} = useSession();
  const [filters, set, clear] = useFilters<'state' | 'id' | 'severity' | 'q' | 'assignee'>('state', 'id', 'severity', 'q', 'assignee');
  const state = filters.state ?? 'active';
  const {severity, q, assignee} = filters;
  const query = useApi<{items: Alert[]; total: number}>('alerts', {state, severity, q, assignee, limit: 500}, {every: LIVELY});
  const search = useCallback((words: string | undefined) => set({q: words}), [set]);
  const narrowed = Boolean(filters.state ?? severity ?? q ?? assignee);
  const columns = useMemo(
    () => [
      {title: t('event.severity'), render: (_: unknown, a: Alert) => <SeverityTag severity={a.severity} />},
      {
        title: t('event.type'),
        render: (_: unknown, a: Alert) => (
          <Button type="link" size="small" className="cell-link" onClick={() => set({id: String(a.id)})}>
            {a.type}
          </Button>
        ),
      },
      {title: t('alert.object'), render: (_: unknown, a: Alert) => a.name || a.object},
      {title: t('flow.rule'), dataIndex: 'signature', render: (text: string) => <Long text={text} />},
      {title: t('vm.tenant'), dataIndex: 'tenant'},
      {title: t('alert.count'), dataIndex: 'count', align: 'right' as const, className: 'num', render: number, sorter: (a: Alert, b: Alert) => a.count - b.count},
      {title: t('alert.last'), render: (_: unknown, a: Alert) => <Time at={a.last} />},
      {
        title: t('alert.state'),
        render: (_: unknown, a: Alert) => (
          <Tag color={STATE_COLOR[a.state] ?? 'default'} bordered={false}>
            {td(`alert.state.${a.state}`, a.state)}
          </Tag>
        ),
      },
      {title: t('alert.assignee'), dataIndex: 'assignee'},
    ],
    [t, td, number, set],
  );
  return (
    <PageFrame title={t('nav.alerts')} count={query.data?.total ?? query.data?.items.length}>
      <div className="filters">
        <SearchField value={q} onChange={search} placeholder={t('alert.search')} />
        <Segmented
          value={state}
          onChange={(v) => set({state: v === 'active' ? undefined : v})}
          options={['active', 'open', 'acknowledged', 'closed', 'any'].map((v) => ({value: v, label: td(`alert.state.${v}`, v)}))}
        />
        <Select
          allowClear
          value={severity}
          placeholder={t('event.severity')}
          style={{width: 160}}
          onChange={(v: string | undefined) => set({severity: v})}
          options={['notice', 'warning', 'critical'].map((s) => ({value: s, label: t('events.or-graver', {severity: td(`severity.${s}`, s)})}))}
        />
        <Button type={assignee === session.user ? 'primary' : 'default'} aria-pressed={assignee === session.user} onClick={() => set({assignee: assignee === session.user ? undefined : session.user})}>
          {t('alert.mine')}
        </Button>
      </div>
      <Data query={query}>
        {({items}) => (
          <section className="panel">
            {items.length ? (
              <Table<Alert> size="small" rowKey="id" dataSource={items} columns={columns} scroll={{x: 'max-content'}} pagination={{defaultPageSize: 50, hideOnSinglePage: true}} />
            ) : (
              <Nothing title={narrowed ? t('list.no-match') : t('alert.none')} hint={narrowed ? <a onClick={clear}>{t('list.clear')}</a> : t('alert.none.hint')} />
            )}
          </section>
        )}
      </Data>
      {filters.id && <AlertDetail id={filters.id} onClose={() => set({id: undefined})} />}
    </PageFrame>
  );
}

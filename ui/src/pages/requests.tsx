// SPDX-License-Identifier: Apache-2.0
// Asking for what one may not do, and deciding what others ask for. Nobody decides his own.
import {Alert, Button, Segmented, Space, Table, Tag} from 'antd';
import {useState} from 'react';
import {useSearchParams} from 'react-router-dom';

import {part, post} from '../api/client';
import {LIVELY, useApi, useRefresh} from '../api/queries';
import {useI18n} from '../i18n/i18n';
import {useAct} from '../parts/act';
import {useAskReason} from '../parts/ask-reason';
import {Data} from '../parts/data';
import {Nothing} from '../parts/empty';
import {Facts} from '../parts/facts';
import {useFilters} from '../parts/filters';
import {PageFrame} from '../parts/page';
import {Time} from '../parts/show';
import {useSession} from '../session/session';
import {NewRequest} from './request-form';

interface Request {
  id: string | number;
  kind: string;
  state: string;
  user: string;
  tenant: string;
  verb?: string;
  object?: string;
  hours?: number;
  reason: string;
  /** The form of a VM that is wanted. */
  vm?: Record<string, unknown>;
  created: string;
  decided?: string | null;
  decided_by?: string | null;
  answer?: string | null;
  until?: string | null;
}

const COLOR: Record<string, string> = {waiting: 'processing', approved: 'success', refused: 'error', ended: 'default', expired: 'default'};

function useDecide(): (request: Request, verb: 'approve' | 'refuse' | 'end') => void {
  const {t} = useI18n();
  const {run} = useAct();
  const ask = useAskReason();
  const refresh = useRefresh();
  return (request, verb) =>
    ask({title: t(`request.${verb}.title`, {user: request.user}), text: request.reason, ok: t(`request.${verb}`), danger: verb !== 'approve', needed: verb !== 'end'}, (reason) =>
      run(async () => {
        await post(`requests/${part(String(request.id))}:${verb}`, reason ? {reason} : {});
        await refresh('requests');
      }, t(`request.${verb}.done`)),
    );
}

export default function Requests() {
  const {t, td} = useI18n();
  const {session, may} = useSession();
  const [params, setParams] = useSearchParams();
  const [filters, set] = useFilters<'state'>('state');
  const [asking, setAsking] = useState(params.get('new') !== null);
  const state = filters.state ?? '';
  const query = useApi<{items: Request[]}>('requests', {state: state || undefined}, {every: LIVELY});
  const decide = useDecide();
  const close = (): void => {
    setAsking(false);
    setParams((p) => {
      for (const name of ['new', 'verb', 'object', 'tenant', 'hours']) {
        p.delete(name);
      }
      return p;
    });
  };
  return (
    <PageFrame
      title={t('nav.requests')}
      count={query.data?.items.length}
      extra={
        may('request.submit') && (
          <Button type="primary" onClick={() => setAsking(true)}>
            {t('request.new')}
          </Button>
        )
      }
    >
      <div>
        <Segmented
          value={state}
          onChange={(v) => set({state: v || undefined})}
          options={['', 'waiting', 'approved', 'refused', 'ended', 'expired'].map((v) => ({value: v, label: v ? td(`request.state.${v}`, v) : t('request.state.all')}))}
        />
      </div>
      <Data query={query}>
        {({items}) => (
          <section className="panel">
            {items.length ? (
              <Table<Request>
                size="small"
                rowKey="id"
                dataSource={items}
                scroll={{x: 'max-content'}}
                pagination={{defaultPageSize: 50, hideOnSinglePage: true}}
                expandable={{
                  expandedRowRender: (r) => (
                    <Facts
                      items={[
                        [t('form.reason'), <span key="r" className="wrap">{r.reason}</span>],
                        [t('request.decided-by'), r.decided_by],
                        [t('request.decision'), r.answer],
                        [t('request.until'), r.until && <Time at={r.until} exact />],
                        ...Object.entries(r.vm ?? {}).map(([k, v]): [string, string] => [k, typeof v === 'object' ? JSON.stringify(v) : String(v)]),
                      ]}
                    />
                  ),
                }}
                columns={[
                  {title: t('request.when'), render: (_, r) => <Time at={r.created} />},
                  {title: t('audit.who'), dataIndex: 'user'},
                  {title: t('vm.tenant'), dataIndex: 'tenant'},
                  {title: t('request.what'), render: (_, r) => (r.verb ? td(`verb.${r.verb}`, r.verb) : td(`request.kind.${r.kind}`, r.kind))},
                  {title: t('audit.object'), className: 'mono', render: (_, r) => r.object ?? (typeof r.vm?.name === 'string' ? r.vm.name : '')},
                  {
                    title: t('alert.state'),
                    render: (_, r) => (
                      <Tag color={COLOR[r.state] ?? 'default'} bordered={false}>
                        {td(`request.state.${r.state}`, r.state)}
                      </Tag>
                    ),
                  },
                  {
                    key: 'act',
                    align: 'right',
                    render: (_, r) =>
                      r.state === 'waiting' && may('request.decide', r.tenant) && r.user !== session.user ? (
                        <Space>
                          <Button size="small" type="primary" onClick={() => decide(r, 'approve')}>
                            {t('request.approve')}
                          </Button>
                          <Button size="small" danger onClick={() => decide(r, 'refuse')}>
                            {t('request.refuse')}
                          </Button>
                        </Space>
                      ) : (
                        r.state === 'approved' &&
                        (r.user === session.user || may('request.decide', r.tenant)) && (
                          <Button size="small" onClick={() => decide(r, 'end')}>
                            {t('request.end')}
                          </Button>
                        )
                      ),
                  },
                ]}
              />
            ) : (
              <Nothing title={t('request.none')} hint={t('request.none.hint')} />
            )}
          </section>
        )}
      </Data>
      {(query.data?.items ?? []).some((r) => r.state === 'waiting' && r.user === session.user) && <Alert type="info" showIcon message={t('request.own-waits')} />}
      {asking && <NewRequest onClose={close} />}
    </PageFrame>
  );
}

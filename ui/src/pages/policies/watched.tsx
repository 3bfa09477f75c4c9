// SPDX-License-Identifier: Apache-2.0
// Policies under watch: a version that enforces nothing, and what it would have done to the flows recorded since.
import {EditOutlined, StopOutlined} from '@ant-design/icons';
import {Alert, Button, Drawer, Popconfirm, Space, Table, Tabs, Tag} from 'antd';
import {Link} from 'react-router-dom';

import {del, part} from '../../api/client';
import {CALM, useApi, useRefresh} from '../../api/queries';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {Data} from '../../parts/data';
import {Nothing} from '../../parts/empty';
import {Facts} from '../../parts/facts';
import {useFilters} from '../../parts/filters';
import {PageFrame} from '../../parts/page';
import {Time} from '../../parts/show';
import {useSession} from '../../session/session';
import {Flows, isFlows, type Preview} from './preview';
import {PolicyTabs} from './tabs';

interface Watched {
  tenant: string;
  policy: string;
  author: string;
  since: string;
  /** What would be without the policy is watched. */
  removes: boolean;
  /** What the manager's own looks found last. */
  found?: {would_deny: number; would_allow: number} | null;
}

interface WatchedWhole extends Watched {
  text: string;
  flows: Preview['flows'];
}

function Verdicts({flows}: {flows: Preview['flows']}) {
  const {t, tn} = useI18n();
  if (!isFlows(flows)) {
    return <Alert type="info" showIcon message={t('watch.no-flows')} description={flows?.error && <span lang="en">{flows.error}</span>} />;
  }
  const deny = flows.would_deny > 0 && tn('preview.sum.deny', flows.would_deny);
  const allow = flows.would_allow > 0 && tn('preview.sum.allow', flows.would_allow);
  return (
    <>
      <Alert type={deny ? 'warning' : 'success'} showIcon message={deny || allow ? [deny, allow].filter(Boolean).join(' · ') : t('watch.same')} />
      <Flows flows={flows} />
    </>
  );
}

function Found({found}: {found: Watched['found']}) {
  const {t, tn} = useI18n();
  if (!found) {
    return <>–</>;
  }
  const words = [found.would_deny > 0 && tn('preview.sum.deny', found.would_deny), found.would_allow > 0 && tn('preview.sum.allow', found.would_allow)].filter(Boolean);
  return <>{words.join(' · ') || t('watch.same')}</>;
}

function WatchedDetail({policy, onClose}: {policy: string; onClose: () => void}) {
  const {t} = useI18n();
  const {may} = useSession();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const [tenant = '', name = ''] = policy.split('/');
  const path = `policies/${part(tenant)}/${part(name)}/monitor`;
  const query = useApi<WatchedWhole>(path, undefined, {every: CALM});
  const stop = async (): Promise<void> => {
    const done = await run(async () => {
      await del(path);
      await refresh('monitors');
    }, t('watch.ended'));
    if (done) {
      onClose();
    }
  };
  return (
    <Drawer
      open
      onClose={onClose}
      width={Math.min(980, window.innerWidth)}
      title={policy}
      extra={
        may('policy.write', tenant) && (
          <Space>
            <Link to={`/policies/edit?watched=${part(policy)}`}>
              <Button type="primary" icon={<EditOutlined />}>
                {t('watch.edit')}
              </Button>
            </Link>
            <Popconfirm title={t('watch.end.sure')} onConfirm={stop}>
              <Button icon={<StopOutlined />} loading={busy}>
                {t('watch.end')}
              </Button>
            </Popconfirm>
          </Space>
        )
      }
    >
      <Data query={query}>
        {(w) => (
          <div className="stack">
            <Facts
              items={[
                [t('watch.what'), w.removes ? t('watch.removes') : t('watch.version')],
                [t('history.author'), w.author],
                [t('watch.since'), <Time key="s" at={w.since} exact />],
              ]}
            />
            <Tabs
              items={[
                {key: 'flows', label: t('watch.would'), children: <div className="stack"><Verdicts flows={w.flows} /></div>},
                ...(w.text ? [{key: 'text', label: t('policy.text'), children: <pre className="code">{w.text}</pre>}] : []),
              ]}
            />
          </div>
        )}
      </Data>
    </Drawer>
  );
}

export default function WatchedPolicies() {
  const {t} = useI18n();
  const [filters, set] = useFilters<'policy'>('policy');
  const query = useApi<{items: Watched[]; total?: number}>('monitors', {limit: 1000}, {every: CALM});
  return (
    <PageFrame title={t('policy.tab.watched')} trail={[{name: t('nav.policies'), to: '/policies'}]} count={query.data?.total ?? query.data?.items.length}>
      <PolicyTabs />
      <Data query={query}>
        {({items}) => (
          <section className="panel">
            {items.length ? (
              <Table<Watched>
                size="small"
                rowKey={(w) => `${w.tenant}/${w.policy}`}
                dataSource={items}
                scroll={{x: 'max-content'}}
                pagination={{defaultPageSize: 50, hideOnSinglePage: true}}
                columns={[
                  {
                    title: t('policy.name'),
                    render: (_, w) => (
                      <Button type="link" size="small" className="cell-link" onClick={() => set({policy: `${w.tenant}/${w.policy}`})}>
                        {w.tenant}/{w.policy}
                      </Button>
                    ),
                  },
                  {title: t('watch.what'), render: (_, w) => <Tag bordered={false} color={w.removes ? 'warning' : 'processing'}>{w.removes ? t('watch.removes') : t('watch.version')}</Tag>},
                  {title: t('history.author'), dataIndex: 'author'},
                  {title: t('watch.since'), render: (_, w) => <Time at={w.since} />},
                  {title: t('watch.would'), render: (_, w) => <Found found={w.found} />},
                ]}
              />
            ) : (
              <Nothing title={t('watch.none')} hint={t('watch.none.hint')} />
            )}
          </section>
        )}
      </Data>
      {filters.policy && <WatchedDetail policy={filters.policy} onClose={() => set({policy: undefined})} />}
    </PageFrame>
  );
}

// SPDX-License-Identifier: Apache-2.0
// One policy: its rules in words with how often they were hit, its text, its revisions.
import {Button, Dropdown, Table, Tabs, type MenuProps} from 'antd';
import {Link, useNavigate, useParams} from 'react-router-dom';

import {del, part, put} from '../../api/client';
import {CALM, useApi, useRefresh} from '../../api/queries';
import type {Policy, PolicyRule} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {useAskReason} from '../../parts/ask-reason';
import {Data} from '../../parts/data';
import {Facts} from '../../parts/facts';
import {PageFrame} from '../../parts/page';
import {Time} from '../../parts/show';
import {useSession} from '../../session/session';
import {Tier} from './list';
import type {RuleHit} from './rules';

function Rules({policy}: {policy: Policy}) {
  const {t, number} = useI18n();
  const hits = useApi<{items: RuleHit[]}>('rules', {tenant: policy.tenant, policy: policy.name}, {every: CALM});
  const byNumber = new Map((hits.data?.items ?? []).map((h) => [h.number, h]));
  return (
    <Table<PolicyRule>
      size="small"
      rowKey="number"
      pagination={{pageSize: 100, hideOnSinglePage: true}}
      scroll={{x: 'max-content'}}
      dataSource={policy.rule_list}
      columns={[
        {title: t('rule.direction'), dataIndex: 'dir', render: (d: 'ingress' | 'egress') => t(`dir.${d}`)},
        {title: '#', dataIndex: 'index', className: 'num', render: (i: number) => i + 1},
        {title: t('rule.text'), dataIndex: 'text'},
        {
          title: t('rule.hits'),
          align: 'right',
          className: 'num',
          render: (_, r) => {
            const hit = byNumber.get(r.number);
            return hit ? number(hit.hits) : <span className="dim">–</span>;
          },
        },
        {title: t('rule.last-hit'), render: (_, r) => <Time at={byNumber.get(r.number)?.last_hit} />},
      ]}
    />
  );
}

export default function PolicyPage() {
  const {t} = useI18n();
  const {tenant = '', name = ''} = useParams();
  const {may} = useSession();
  const {run} = useAct();
  const ask = useAskReason();
  const refresh = useRefresh();
  const navigate = useNavigate();
  const query = useApi<Policy>(`policies/${part(tenant)}/${part(name)}`, undefined, {every: CALM});

  const remove = (): void =>
    ask({title: t('policy.remove.title', {policy: `${tenant}/${name}`}), text: t('policy.remove.text'), ok: t('action.remove'), danger: true, typed: name}, () =>
      run(async () => {
        await del(`policies/${part(tenant)}/${part(name)}`, {wait: 10});
        await refresh('policies', 'revisions');
        navigate('/policies');
      }, t('policy.removed')),
    );
  const watchRemoval = (): Promise<boolean> =>
    run(async () => {
      await put(`policies/${part(tenant)}/${part(name)}/monitor`, undefined, {remove: true});
      await refresh('monitors');
      navigate(`/policies/watched?policy=${part(`${tenant}/${name}`)}`);
    }, t('watch.begun'));
  const more: MenuProps['items'] = [
    ...(may('policy.write', tenant)
      ? [
          {key: 'draft', label: t('policy.remove.draft'), onClick: () => navigate(`/policies/edit?remove=${part(`${tenant}/${name}`)}`)},
          {key: 'watch', label: t('policy.remove.watch'), onClick: () => void watchRemoval()},
        ]
      : []),
    ...(may('policy.commit', tenant) ? [{key: 'remove', label: t('policy.remove.now'), danger: true, onClick: remove}] : []),
  ];

  return (
    <PageFrame
      title={name}
      trail={[
        {name: t('nav.policies'), to: '/policies'},
        {name: tenant, to: `/policies?tenant=${part(tenant)}`},
      ]}
      tags={query.data && <Tier tier={query.data.tier} />}
      extra={
        <>
          {may('policy.write', tenant) && (
            <Link to={`/policies/edit?policy=${part(`${tenant}/${name}`)}`}>
              <Button type="primary">{t('action.edit')}</Button>
            </Link>
          )}
          {more.length > 0 && (
            <Dropdown menu={{items: more}} trigger={['click']}>
              <Button>{t('action.more')}</Button>
            </Dropdown>
          )}
        </>
      }
    >
      <Data query={query}>
        {(p) => (
          <>
            <section className="panel panel-pad">
              <Facts
                items={[
                  [t('policy.order'), p.order],
                  [t('policy.revision'), p.revision && <Link to={`/policies/history?revision=${p.revision}`}>{p.revision}</Link>],
                  [t('policy.file'), p.file && <span className="mono">{p.file}</span>],
                ]}
              />
            </section>
            <section className="panel panel-pad">
              <Tabs
                items={[
                  {key: 'rules', label: t('policy.rules'), children: <Rules policy={p} />},
                  {key: 'text', label: t('policy.text'), children: <pre className="code">{p.text}</pre>},
                ]}
              />
            </section>
          </>
        )}
      </Data>
    </PageFrame>
  );
}

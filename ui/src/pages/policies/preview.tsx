// SPDX-License-Identifier: Apache-2.0
// What a change would change, before it does: texts, who may reach whom, recorded flows, open connections.
import {Alert, Button, Segmented, Table, Tabs, Tag} from 'antd';
import {lazy, Suspense, useMemo, useState} from 'react';

import type {Diff, EffectEntry, EffectSide, Labels} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {Nothing} from '../../parts/empty';
import {HostLink, LabelTags, PolicyLink, Time, Verdict, VmLink} from '../../parts/show';
import {TextDiff} from '../../parts/text-diff';
import {Waiting} from '../../parts/waiting';
import {mapOfEffect, mapOfFlows} from './preview-map';

const Picture = lazy(() => import('../map/picture'));

export interface FlowEnd {
  entity?: string;
  tenant?: string;
  labels?: Labels;
  addresses?: string[];
}

export interface RecordedFlows {
  since: string;
  flows: number;
  judged: number;
  would_deny: number;
  would_allow: number;
  unknown: number;
  overflow: number;
  entries: {
    src: FlowEnd;
    dst: FlowEnd;
    service: string;
    flows: number;
    bytes: number;
    first: string;
    last: string;
    before: {action: EffectSide['action']; rule: unknown};
    after: {action: EffectSide['action']; rule: unknown};
  }[];
  left_out: number;
  complete: boolean;
  by_name: boolean;
}

export type Preview = Diff & {flows?: RecordedFlows | {error: string} | null};

const SHOWN_PEERS = 5;

type Misplaced = NonNullable<Diff['misplaced']>['vms'][number];

export const isFlows = (f: Preview['flows']): f is RecordedFlows => Boolean(f && 'entries' in f);

const ruleWords = (rule: unknown): string => (typeof rule === 'string' ? rule : ((rule as {text?: string} | null)?.text ?? ''));

function Change({before, after}: {before: EffectSide['action']; after: EffectSide['action']}) {
  return (
    <span className="nowrap">
      <Verdict action={before} />
      <span className="effect-arrow">→</span>
      <Verdict action={after} />
    </span>
  );
}

function End({end}: {end: FlowEnd}) {
  const {td} = useI18n();
  if (end.entity) {
    return (
      <span>
        {td(`entity.${end.entity}`, end.entity)} {end.addresses && <span className="flow dim">{end.addresses.slice(0, 3).join(', ')}</span>}
      </span>
    );
  }
  return (
    <span>
      {end.tenant} <LabelTags labels={end.labels} />
    </span>
  );
}

function Texts({preview}: {preview: Preview}) {
  const {t} = useI18n();
  return (
    <div className="stack">
      {preview.changes
        .filter((c) => c.change !== 'same')
        .map((c) => (
          <section key={`${c.tenant}/${c.name}`} className="panel">
            <div className="panel-head">
              {c.change === 'added' ? `${c.tenant}/${c.name}` : <PolicyLink policy={`${c.tenant}/${c.name}`} />}
              <Tag color={c.change === 'added' ? 'success' : c.change === 'removed' ? 'error' : 'processing'} bordered={false}>
                {t(`change.${c.change}`)}
              </Tag>
            </div>
            {c.text && <TextDiff text={c.text} />}
          </section>
        ))}
    </div>
  );
}

/** Some of them; the others where the reader asks for them. */
function Peers({names}: {names: string[]}) {
  const {t} = useI18n();
  const [all, setAll] = useState(false);
  const left = names.length - SHOWN_PEERS;
  return (
    <>
      {(all ? names : names.slice(0, SHOWN_PEERS)).map((p) => (
        <div key={p}>{p}</div>
      ))}
      {left > 0 && !all && (
        <Button type="link" size="small" className="cell-link" onClick={() => setAll(true)}>
          {t('preview.peers.more', {n: left})}
        </Button>
      )}
    </>
  );
}

function EffectTable({entries}: {entries: EffectEntry[]}) {
  const {t, tn} = useI18n();
  return (
    <Table<EffectEntry>
      size="small"
      rowKey={(e) => JSON.stringify(e)}
      dataSource={entries}
      pagination={{pageSize: 50, hideOnSinglePage: true}}
      scroll={{x: 'max-content'}}
      columns={[
        {
          title: t('preview.vms'),
          render: (_, e) => (
            <>
              {e.selected.tenant} <LabelTags labels={e.selected.labels} />
              {e.identity_count > 1 && <span className="dim"> {tn('preview.identities', e.identity_count)}</span>}
            </>
          ),
        },
        {title: t('rule.direction'), dataIndex: 'dir', render: (d: 'ingress' | 'egress') => t(`dir.${d}`)},
        {title: t('preview.peers'), render: (_, e) => <Peers names={e.peers} />},
        {title: t('flow.service'), render: (_, e) => <span className="flow">{e.services.join(', ')}</span>},
        {title: t('preview.change'), render: (_, e) => <Change before={e.before.action} after={e.after.action} />},
        {
          title: t('preview.rule'),
          render: (_, e) => (
            <>
              <span className="dim">{e.before.rule}</span>
              <span className="effect-arrow">→</span>
              {e.after.rule}
            </>
          ),
        },
      ]}
    />
  );
}

export function Flows({flows}: {flows: RecordedFlows}) {
  const {t, number} = useI18n();
  return (
    <div className="stack">
      {!flows.complete && <Alert type="warning" showIcon message={t('preview.flows.incomplete')} />}
      {flows.by_name && <Alert type="info" showIcon message={t('preview.flows.by-name')} />}
      {flows.entries.length ? (
        <Table
          size="small"
          rowKey={(e) => JSON.stringify([e.src, e.dst, e.service])}
          dataSource={flows.entries}
          pagination={{pageSize: 50, hideOnSinglePage: true}}
          scroll={{x: 'max-content'}}
          columns={[
            {title: t('flow.from'), render: (_, e) => <End end={e.src} />},
            {title: t('flow.to'), render: (_, e) => <End end={e.dst} />},
            {title: t('flow.service'), dataIndex: 'service', className: 'flow'},
            {title: t('flow.count'), dataIndex: 'flows', align: 'right', className: 'num', render: number, sorter: (a, b) => a.flows - b.flows},
            {title: t('preview.last'), render: (_, e) => <Time at={e.last} />},
            {title: t('preview.change'), render: (_, e) => <Change before={e.before.action} after={e.after.action} />},
            {title: t('preview.rule'), render: (_, e) => ruleWords(e.after.rule)},
          ]}
        />
      ) : (
        <Nothing title={t('preview.flows.none')} />
      )}
      <p className="dim">{t('preview.flows.basis', {flows: flows.flows, judged: flows.judged})}</p>
    </div>
  );
}

function Connections({preview}: {preview: Preview}) {
  const {t, span} = useI18n();
  const c = preview.connections;
  const end = (e: {address: string; port: number; vm?: string}): string => `${e.vm ? `${e.vm} ` : ''}${e.address}${e.port ? `:${e.port}` : ''}`;
  if (!c?.total) {
    return <Nothing title={t('preview.cut.none')} hint={c?.silent.length ? t('preview.cut.silent', {hosts: c.silent.join(', ')}) : undefined} />;
  }
  return (
    <div className="stack">
      {c.silent.length > 0 && <Alert type="warning" showIcon message={t('preview.cut.silent', {hosts: c.silent.join(', ')})} />}
      <Table
        size="small"
        rowKey={(x) => JSON.stringify(x)}
        dataSource={c.cut}
        pagination={{pageSize: 50, hideOnSinglePage: true}}
        scroll={{x: 'max-content'}}
        columns={[
          {title: t('flow.proto'), dataIndex: 'proto'},
          {title: t('flow.from'), render: (_, x) => end(x.src)},
          {title: t('flow.to'), render: (_, x) => end(x.dst)},
          {title: t('flow.age'), render: (_, x) => (x.age_ms === undefined ? '' : span(x.age_ms)), className: 'num'},
          {title: t('flow.rule'), dataIndex: 'rule'},
          {title: t('event.host'), render: (_, x) => <HostLink name={x.host} />},
        ]}
      />
    </div>
  );
}

function Changes({preview}: {preview: Preview}) {
  const {t} = useI18n();
  const flows = isFlows(preview.flows) && preview.flows.entries.length ? preview.flows : undefined;
  const [by, setBy] = useState(flows ? 'flows' : 'effect');
  const data = useMemo(
    () => (by === 'flows' && flows ? mapOfFlows(flows) : mapOfEffect(preview.effect?.entries ?? [], preview.effect?.left_out ?? 0)),
    [by, flows, preview.effect],
  );
  return (
    <div className="stack">
      {flows && (
        <div>
          <Segmented
            value={by}
            onChange={setBy}
            options={[
              {value: 'flows', label: t('preview.flows')},
              {value: 'effect', label: t('preview.effect')},
            ]}
          />
        </div>
      )}
      {data.edges.length ? (
        <div className="map map-small">
          <Suspense fallback={<Waiting />}>
            <Picture data={data}>
              <span className="good">
                <i />
                {t('preview.map.allowed')}
              </span>
              <span className="bad">
                <i className="dashed" />
                {t('preview.map.refused')}
              </span>
              {data.left_out > 0 && <span>{t('preview.left-out', {n: data.left_out})}</span>}
            </Picture>
          </Suspense>
        </div>
      ) : (
        <Nothing title={t('preview.effect.none')} />
      )}
    </div>
  );
}

function Verdictless({preview}: {preview: Preview}) {
  const {t, tn} = useI18n();
  const flows = isFlows(preview.flows) ? preview.flows : undefined;
  const parts = [
    preview.effect && tn('preview.sum.pairs', preview.effect.pairs_changed),
    flows && flows.would_deny > 0 && tn('preview.sum.deny', flows.would_deny),
    flows && flows.would_allow > 0 && tn('preview.sum.allow', flows.would_allow),
    preview.connections && preview.connections.total > 0 && tn('preview.sum.cut', preview.connections.total),
    preview.misplaced && preview.misplaced.total > 0 && tn('preview.sum.misplaced', preview.misplaced.total),
  ].filter(Boolean);
  const grave = Boolean(preview.connections?.total || flows?.would_deny);
  return <Alert type={grave ? 'warning' : 'info'} showIcon message={t('preview.sum')} description={parts.join(' · ')} />;
}

export function PreviewView({preview}: {preview: Preview}) {
  const {t, number} = useI18n();
  if (!preview.changed) {
    return <Nothing title={t('preview.same')} hint={t('preview.same.hint')} />;
  }
  const flows = isFlows(preview.flows) ? preview.flows : undefined;
  const count = (n: number | undefined): string => (n ? ` ${number(n)}` : '');
  return (
    <div className="stack">
      <Verdictless preview={preview} />
      <Tabs
        items={[
          {
            key: 'effect',
            label: t('preview.effect') + count(preview.effect?.entries.length),
            children: preview.effect?.entries.length ? (
              <>
                {!preview.effect.complete && <Alert type="warning" showIcon message={t('preview.effect.incomplete')} />}
                <EffectTable entries={preview.effect.entries} />
                {preview.effect.left_out > 0 && <p className="dim">{t('preview.left-out', {n: preview.effect.left_out})}</p>}
              </>
            ) : (
              <Nothing title={t('preview.effect.none')} />
            ),
          },
          ...(flows ? [{key: 'flows', label: t('preview.flows') + count(flows.would_allow + flows.would_deny), children: <Flows flows={flows} />}] : []),
          {key: 'map', label: t('nav.map'), children: <Changes preview={preview} />},
          {key: 'cut', label: t('preview.cut') + count(preview.connections?.total), children: <Connections preview={preview} />},
          {key: 'texts', label: t('preview.texts') + count(preview.changes.filter((c) => c.change !== 'same').length), children: <Texts preview={preview} />},
          ...(preview.misplaced?.total
            ? [
                {
                  key: 'misplaced',
                  label: t('preview.misplaced') + count(preview.misplaced.total),
                  children: (
                    <Table
                      scroll={{x: 'max-content'}}
                      size="small"
                      rowKey="vm"
                      dataSource={preview.misplaced.vms}
                      columns={[
                        {title: t('vm.name'), render: (_: unknown, m: Misplaced) => <VmLink uuid={m.vm} name={m.name} />},
                        {title: t('vm.host'), render: (_: unknown, m: Misplaced) => <HostLink name={m.host} />},
                        {title: t('migration.reason'), dataIndex: 'why'},
                      ]}
                    />
                  ),
                },
              ]
            : []),
        ]}
      />
    </div>
  );
}

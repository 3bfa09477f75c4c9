// SPDX-License-Identifier: Apache-2.0
// Draft, check, what would change, commit. What is typed is checked by the manager while one pauses and kept in this browser until it is
// saved as a draft or committed, so that neither a closed window nor an ended session loses it.
import {EyeOutlined} from '@ant-design/icons';
import {Alert, App, Button, Input, Select, Space, Tooltip} from 'antd';
import {lazy, Suspense, useCallback, useEffect, useMemo, useRef, useState} from 'react';
import {useBlocker, useNavigate, useSearchParams} from 'react-router-dom';

import {call, part, post, put} from '../../api/client';
import {useApi, useRefresh} from '../../api/queries';
import type {Applied, Identity, Page, PolicySummary, Tenant} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {Failure} from '../../parts/failure';
import {PageFrame} from '../../parts/page';
import {Waiting} from '../../parts/waiting';
import {useSession} from '../../session/session';
import {CheckLine, useCheck} from './check';
import type {World} from './completion';
import {Conflicts} from './conflicts';
import type {Draft} from './drafts';
import {PreviewView, type Preview} from './preview';
import {keptKey, loadSource, nameOf, onlyPolicy, type Source, type Wanted} from './source';
import {SuggestButton} from './suggest';

const YamlEditor = lazy(() => import('./yaml-editor'));

function useWorld(): World {
  const {may} = useSession();
  const tenants = useApi<Page<Tenant>>('tenants', {limit: 10000}, {enabled: may('tenant.read')});
  const identities = useApi<Page<Identity>>('identities', {limit: 10000}, {enabled: may('vm.read')});
  return useMemo(() => {
    const labels: Record<string, Set<string>> = {};
    for (const identity of identities.data?.items ?? []) {
      for (const [key, value] of Object.entries(identity.labels)) {
        (labels[key] ??= new Set()).add(value);
      }
    }
    return {
      tenants: (tenants.data?.items ?? []).map((x) => x.name),
      labels: Object.fromEntries(Object.entries(labels).map(([key, values]) => [key, [...values].sort()])),
    };
  }, [tenants.data, identities.data]);
}

function CommitButton({disabled, commit}: {disabled: boolean; commit: (confirm: string) => Promise<boolean>}) {
  const {t} = useI18n();
  const [confirm, setConfirm] = useState('5m');
  return (
    <Space.Compact>
      <Tooltip title={t('commit.confirm.hint')}>
        <Select
          value={confirm}
          onChange={setConfirm}
          style={{width: 250}}
          aria-label={t('commit.confirm')}
          options={[
            {value: '', label: t('commit.confirm.none')},
            {value: '1m', label: t('commit.confirm.within', {span: t('span.1m')})},
            {value: '5m', label: t('commit.confirm.within', {span: t('span.5m')})},
            {value: '30m', label: t('commit.confirm.within', {span: t('span.30m')})},
          ]}
        />
      </Tooltip>
      <Button type="primary" disabled={disabled} onClick={() => void commit(confirm)}>
        {t('commit.do')}
      </Button>
    </Space.Compact>
  );
}

/** Names of policies of the tenant that go when this is committed. */
function Removes({tenant, value, onChange}: {tenant: string; value: string[]; onChange: (names: string[]) => void}) {
  const {t} = useI18n();
  const {may} = useSession();
  const policies = useApi<Page<PolicySummary>>('policies', {limit: 10000}, {enabled: may('policy.read')});
  const names = [...new Set([...(policies.data?.items ?? []).filter((p) => p.tenant === tenant).map((p) => p.name), ...value])].sort();
  return (
    <label className="removes">
      <span className="dim">{t('draft.removes')}</span>
      <Select mode="multiple" allowClear value={value} onChange={onChange} placeholder={t('draft.removes.none')} options={names.map((n) => ({value: n, label: n}))} className="removes-list" maxTagCount="responsive" />
    </label>
  );
}

/** Leaving with something unsaved asks first; what is typed is kept in this browser in any case. */
function useUnsaved(key: string, text: string, dirty: boolean): () => void {
  const {t} = useI18n();
  const {modal} = App.useApp();
  const leaving = useRef(false);
  useEffect(() => {
    if (dirty) {
      sessionStorage.setItem(key, text);
    } else {
      sessionStorage.removeItem(key);
    }
  }, [dirty, text, key]);
  const blocker = useBlocker(({currentLocation, nextLocation}) => dirty && !leaving.current && currentLocation.pathname !== nextLocation.pathname);
  useEffect(() => {
    if (blocker.state === 'blocked') {
      void modal.confirm({
        title: t('editor.leave'),
        content: t('editor.leave.text'),
        okText: t('editor.leave.ok'),
        cancelText: t('editor.leave.stay'),
        onOk: () => {
          sessionStorage.removeItem(key);
          blocker.proceed();
        },
        onCancel: () => blocker.reset(),
      });
    }
  }, [blocker, modal, t, key]);
  return useCallback(() => {
    leaving.current = true;
    sessionStorage.removeItem(key);
  }, [key]);
}

interface Document {
  text: string;
  title: string;
  tenant: string;
  removes: string[];
}

interface Writing {
  document: Document;
  change: (part: Partial<Document>) => void;
  draft: Draft | null;
  setDraft: (draft: Draft) => void;
  dirty: boolean;
  busy: boolean;
  save: () => Promise<Draft | null>;
}

/** The document as it is typed, and the draft that it is saved as. */
function useWriting(source: Source): Writing {
  const {t} = useI18n();
  const {message} = App.useApp();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const [document, setDocument] = useState<Document>({text: source.text, title: source.title, tenant: source.tenant, removes: source.removes});
  const [draft, setDraft] = useState(source.draft);
  const [saved, setSaved] = useState({text: source.kept ? '' : source.text, title: source.title, removes: source.draft ? source.removes : []});
  const change = useCallback((part: Partial<Document>) => setDocument((d) => ({...d, ...part})), []);
  const dirty = document.text !== saved.text || document.title !== saved.title || document.removes.join() !== saved.removes.join();
  const save = useCallback(async (): Promise<Draft | null> => {
    const {text, title, tenant, removes} = document;
    let next: Draft | null = null;
    await run(async () => {
      next = draft
        ? await put<Draft>(`drafts/${draft.id}`, {version: draft.version, title, documents: text, removes})
        : await post<Draft>('drafts', {tenant, title, documents: text, removes});
      setDraft(next);
      setSaved({text, title, removes});
      await refresh('drafts');
      void message.success(t('draft.saved'));
    });
    return next;
  }, [run, draft, document, refresh, message, t]);
  return {document, change, draft, setDraft, dirty, busy, save};
}

/** The draft itself is asked when there is one, and when only one can say what is meant: that policies go. Null: it could not be saved. */
async function ask<T>({document, draft, dirty, save}: Writing, verb: 'what-if' | 'commit', query: Record<string, string | number>): Promise<T | null> {
  const saved = (draft && !dirty) || !(draft || document.removes.length) ? draft : await save();
  if (saved) {
    return post<T>(`drafts/${saved.id}:${verb}`, undefined, query);
  }
  if (draft || document.removes.length) {
    return null;
  }
  return call<T>('POST', verb === 'commit' ? 'policies:apply' : 'policies:diff', {
    body: document.text,
    query: {...query, tenant: document.tenant, ...(verb === 'commit' ? {file: document.title || undefined} : {})},
  });
}

function WatchButton({document, disabled, onDone}: {document: Document; disabled: boolean; onDone: () => void}) {
  const {t} = useI18n();
  const {may} = useSession();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const navigate = useNavigate();
  const policy = onlyPolicy(document.text, document.tenant);
  const watch = (): Promise<boolean> =>
    run(async () => {
      await call('PUT', `policies/${part(policy?.tenant ?? '')}/${part(policy?.name ?? '')}/monitor`, {body: document.text});
      await refresh('monitors', 'policies');
      onDone();
      navigate(`/policies/watched?policy=${part(`${policy?.tenant}/${policy?.name}`)}`);
    }, t('watch.begun'));
  return may('policy.write', document.tenant) ? (
    <Tooltip title={policy ? t('watch.hint') : t('watch.single')}>
      <Button icon={<EyeOutlined />} disabled={disabled || !policy} loading={busy} onClick={() => void watch()}>
        {t('watch.do')}
      </Button>
    </Tooltip>
  ) : null;
}

function Editing({source, whatFor}: {source: Source; whatFor: string}) {
  const {t} = useI18n();
  const {may, session} = useSession();
  const {message} = App.useApp();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const navigate = useNavigate();
  const world = useWorld();
  const writing = useWriting(source);
  const {document, change, draft, dirty, save} = writing;
  const {text, title, tenant, removes} = document;
  const [preview, setPreview] = useState<Preview | null>(null);
  const [days, setDays] = useState(7);
  const [looking, setLooking] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const checked = useCheck(text, tenant);
  const leave = useUnsaved(keptKey(whatFor), text, dirty);
  const setText = useCallback((next: string) => change({text: next}), [change]);
  useEffect(() => setPreview(null), [text, removes]);

  const look = async (): Promise<void> => {
    setLooking(true);
    setError(null);
    try {
      setPreview(await ask<Preview>(writing, 'what-if', {days}));
    } catch (e) {
      setError(e);
    } finally {
      setLooking(false);
    }
  };
  const commit = (confirm: string): Promise<boolean> =>
    run(async () => {
      const applied = await ask<Applied>(writing, 'commit', {...(confirm ? {confirm} : {}), wait: 5});
      if (!applied) {
        return;
      }
      leave();
      await refresh('policies', 'revisions', 'commits', 'drafts', 'rules');
      void message.success(applied.changed ? t('commit.done', {revision: String(applied.revision)}) : t('preview.same'));
      navigate(`/policies/history?revision=${applied.revision}`);
    });

  const mistakes = useMemo(() => (checked.state === 'bad' ? [checked.mistake] : checked.state === 'good' ? checked.warnings : []), [checked]);
  const good = checked.state === 'good' || (!text.trim() && removes.length > 0);
  const tenants = world.tenants.length ? world.tenants : Object.keys(session.verbs).filter((x) => x !== '*');
  return (
    <>
      <div className="filters">
        <Input value={title} onChange={(e) => change({title: e.target.value})} placeholder={t('draft.title')} aria-label={t('draft.title')} className="draft-title" maxLength={200} />
        <Select
          value={tenant}
          disabled={draft !== null}
          onChange={(v: string) => change({tenant: v})}
          style={{width: 150}}
          showSearch
          aria-label={t('vm.tenant')}
          options={tenants.map((value) => ({value, label: value}))}
        />
        {may('policy.write', tenant) && (
          <Button onClick={() => void save()} loading={writing.busy} disabled={!dirty && draft !== null}>
            {t('draft.save')}
          </Button>
        )}
        {may('flow.read', tenant) && <SuggestButton tenant={tenant} days={days} onText={setText} />}
        <WatchButton document={document} disabled={checked.state !== 'good'} onDone={leave} />
      </div>
      <div className="toolbar">
        <Removes tenant={tenant} value={removes} onChange={(names) => change({removes: names})} />
        <span className="spring" />
        <Select
          value={days}
          onChange={setDays}
          style={{width: 150}}
          aria-label={t('preview.days')}
          options={[1, 7, 30].map((n) => ({value: n, label: t('preview.days.of', {n})}))}
        />
        <Button onClick={() => void look()} loading={looking} disabled={!good}>
          {t('preview.look')}
        </Button>
        {may('policy.commit', tenant) && <CommitButton disabled={!good || busy} commit={commit} />}
      </div>
      {source.kept && <Alert type="info" showIcon closable message={t('editor.kept')} />}
      {draft && <Conflicts draft={draft} onRebased={writing.setDraft} />}
      <div className="editor">
        <Suspense fallback={<Waiting />}>
          <YamlEditor value={text} onChange={setText} mistakes={mistakes} world={world} label={t('policy.text')} onSave={() => void save()} />
        </Suspense>
        <div className="editor-status" role="status">
          <CheckLine checked={checked} />
          <span className="spring" />
          {dirty && <span>{t('editor.unsaved')}</span>}
        </div>
      </div>
      {checked.state === 'failed' && <Failure error={checked.error} />}
      {error !== null && <Failure error={error} />}
      {preview && (
        <section className="panel panel-pad">
          <PreviewView preview={preview} />
        </section>
      )}
    </>
  );
}

export default function Editor() {
  const {t} = useI18n();
  const {session} = useSession();
  const [params] = useSearchParams();
  const [draft, policy, remove, watched] = ['draft', 'policy', 'remove', 'watched'].map((name) => params.get(name)) as [string | null, string | null, string | null, string | null];
  const wanted = useMemo<Wanted>(() => ({draft, policy, remove, watched}), [draft, policy, remove, watched]);
  const own = Object.keys(session.verbs).find((x) => x !== '*' && session.verbs[x]?.includes('policy.write')) ?? 'provider';
  const [source, setSource] = useState<Source | null>(null);
  const [error, setError] = useState<unknown>(null);
  useEffect(() => {
    setSource(null);
    setError(null);
    loadSource(wanted, own).then(setSource, setError);
  }, [wanted, own]);
  return (
    <PageFrame
      title={policy ?? watched ?? remove ?? (draft ? t('draft.untitled', {id: draft}) : t('policy.new'))}
      trail={[{name: t('nav.policies'), to: '/policies'}]}
    >
      {error !== null && <Failure error={error} />}
      {source ? <Editing key={nameOf(wanted)} source={source} whatFor={nameOf(wanted)} /> : error === null && <Waiting />}
    </PageFrame>
  );
}

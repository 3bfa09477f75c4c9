// SPDX-License-Identifier: Apache-2.0
// Ctrl K: type a part of a name, arrow keys, Enter. Pages, VMs, hosts, policies, and what of these the session may see.
import {Input, Modal, Tag, type InputRef} from 'antd';
import {useEffect, useMemo, useRef, useState, type KeyboardEvent} from 'react';
import {useNavigate} from 'react-router-dom';

import {part} from '../api/client';
import {useApi} from '../api/queries';
import type {Host, Page, PolicySummary, Vm} from '../api/types';
import {useI18n} from '../i18n/i18n';
import type {Key} from '../i18n/text';
import {usePaused} from '../parts/paused';
import {useSession} from '../session/session';
import {NAV} from './nav';

interface Goal {
  key: string;
  kind: Key;
  name: string;
  more: string;
  /** What is looked through besides, and not shown. */
  hidden?: string;
  to: string;
}

const SHOWN = 12;

function useGoals(open: boolean, text: string): Goal[] {
  const {t} = useI18n();
  const {may} = useSession();
  const q = usePaused(text.trim());
  const vms = useApi<Page<Vm>>('vms', {q, limit: SHOWN}, {enabled: open && q !== '' && may('vm.read')});
  const hosts = useApi<Page<Host>>('hosts', {limit: 10000}, {enabled: open && may('host.read')});
  const policies = useApi<Page<PolicySummary>>('policies', {limit: 10000}, {enabled: open && may('policy.read')});
  return useMemo(
    () => [
      ...NAV.flatMap((g) => g.items)
        .filter((i) => !i.verbs || i.verbs.some((v) => may(v)))
        .map((i) => ({key: i.path, kind: 'jump.page' as const, name: t(i.label), more: '', to: i.path})),
      ...(vms.data?.items ?? []).map((v) => ({
        key: v.uuid,
        kind: 'jump.vm' as const,
        name: v.name,
        more: [v.tenant, ...v.nics.flatMap((n) => n.addresses)].join(' '),
        hidden: [v.uuid, ...v.nics.map((n) => n.mac)].join(' '),
        to: `/vms/${part(v.uuid)}`,
      })),
      ...(hosts.data?.items ?? []).map((h) => ({key: `h${h.name}`, kind: 'jump.host' as const, name: h.name, more: '', to: `/hosts/${part(h.name)}`})),
      ...(policies.data?.items ?? []).map((p) => ({
        key: `p${p.tenant}/${p.name}`,
        kind: 'jump.policy' as const,
        name: p.name,
        more: p.tenant,
        to: `/policies/${part(p.tenant)}/${part(p.name)}`,
      })),
    ],
    [t, may, vms.data, hosts.data, policies.data],
  );
}

/** Those whose name begins with the words first, then those that have them anywhere. */
function search(goals: Goal[], text: string): Goal[] {
  const wanted = text.trim().toLowerCase();
  if (!wanted) {
    return goals.slice(0, SHOWN);
  }
  const begins: Goal[] = [];
  const has: Goal[] = [];
  for (const g of goals) {
    if (g.name.toLowerCase().startsWith(wanted)) {
      begins.push(g);
    } else if (has.length < SHOWN && `${g.name} ${g.more} ${g.hidden ?? ''}`.toLowerCase().includes(wanted)) {
      has.push(g);
    }
    if (begins.length >= SHOWN) {
      break;
    }
  }
  return [...begins, ...has].slice(0, SHOWN);
}

export function Jump({open, onClose}: {open: boolean; onClose: () => void}) {
  const {t} = useI18n();
  const navigate = useNavigate();
  const [text, setText] = useState('');
  const goals = useGoals(open, text);
  const [at, setAt] = useState(0);
  const input = useRef<InputRef>(null);
  const found = useMemo(() => search(goals, text), [goals, text]);

  useEffect(() => {
    if (open) {
      setText('');
      setAt(0);
    }
  }, [open]);

  const go = (goal: Goal | undefined): void => {
    if (goal) {
      onClose();
      navigate(goal.to);
    }
  };
  const onKey = (e: KeyboardEvent): void => {
    if (e.key === 'ArrowDown' || e.key === 'ArrowUp') {
      e.preventDefault();
      setAt((i) => (found.length ? (i + (e.key === 'ArrowDown' ? 1 : found.length - 1)) % found.length : 0));
    } else if (e.key === 'Enter') {
      go(found[at]);
    }
  };

  return (
    <Modal open={open} onCancel={onClose} footer={null} closable={false} width={560} className="jump" afterOpenChange={(o) => o && input.current?.focus()} destroyOnHidden>
      <Input
        ref={input}
        size="large"
        variant="borderless"
        placeholder={t('jump.placeholder')}
        value={text}
        role="combobox"
        aria-expanded
        aria-controls="jump-list"
        aria-activedescendant={found[at] ? `jump-${at}` : undefined}
        onChange={(e) => {
          setText(e.target.value);
          setAt(0);
        }}
        onKeyDown={onKey}
      />
      <ul className="jump-list" role="listbox" id="jump-list">
        {found.map((g, i) => (
          <li key={g.key} id={`jump-${i}`} role="option" aria-selected={i === at} onMouseEnter={() => setAt(i)} onClick={() => go(g)}>
            <Tag>{t(g.kind)}</Tag>
            <span className="jump-name">{g.name}</span>
            <span className="jump-more">{g.more}</span>
          </li>
        ))}
        {!found.length && <li className="jump-none">{t('jump.none')}</li>}
      </ul>
    </Modal>
  );
}

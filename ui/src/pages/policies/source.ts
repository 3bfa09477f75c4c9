// SPDX-License-Identifier: Apache-2.0
// Where the editor's text comes from, and where this browser keeps it until it is saved.
import {get, part} from '../../api/client';
import type {Policy} from '../../api/types';
import type {Draft} from './drafts';

const TEMPLATE = `kind: Policy
metadata:
  name: my-policy
  tenant: TENANT
spec:
  selector:
    matchLabels: {role: web}
  ingress:
  - name: from-anywhere
    action: allow
    ports: [tcp/443]
`;

/** What the URL asks the editor for. */
export interface Wanted {
  draft: string | null;
  /** TENANT/NAME: to change, to remove, or its version under watch. */
  policy: string | null;
  remove: string | null;
  watched: string | null;
}

export interface Source {
  text: string;
  tenant: string;
  title: string;
  draft: Draft | null;
  /** Names of policies that go. */
  removes: string[];
  kept: boolean;
}

export const nameOf = (w: Wanted): string => w.draft ?? w.policy ?? (w.watched ? `watched ${w.watched}` : w.remove ? `remove ${w.remove}` : 'new');

export const keptKey = (what: string): string => `bulkhead.editing.${what}`;

const split = (policy: string): [string, string] => {
  const at = policy.indexOf('/');
  return [policy.slice(0, at), policy.slice(at + 1)];
};

/** A draft, a policy, or a fresh page; over it what this browser has kept. */
export async function loadSource(wanted: Wanted, tenant: string): Promise<Source> {
  const kept = sessionStorage.getItem(keptKey(nameOf(wanted)));
  if (wanted.draft) {
    const draft = await get<Draft>(`drafts/${part(wanted.draft)}`);
    return {text: kept ?? draft.documents ?? '', tenant: draft.tenant, title: draft.title, draft, removes: draft.removes ?? [], kept: kept !== null && kept !== draft.documents};
  }
  const policy = wanted.policy ?? wanted.watched;
  if (policy) {
    const [of, name] = split(policy);
    const {text} = await get<Policy>(`policies/${part(of)}/${part(name)}${wanted.watched ? '/monitor' : ''}`);
    return {text: kept ?? text, tenant: of, title: policy, draft: null, removes: wanted.watched && !text ? [name] : [], kept: kept !== null && kept !== text};
  }
  if (wanted.remove) {
    const [of, name] = split(wanted.remove);
    return {text: kept ?? '', tenant: of, title: '', draft: null, removes: [name], kept: kept !== null && kept !== ''};
  }
  return {text: kept ?? TEMPLATE.replace('TENANT', tenant), tenant, title: '', draft: null, removes: [], kept: kept !== null};
}

/** The one policy that a text holds: its place among watched ones; null when it holds several, or something else. */
export function onlyPolicy(text: string, tenant: string): {tenant: string; name: string} | null {
  const documents = text.split(/^---.*$/m).filter((d) => d.replace(/#.*$/gm, '').trim());
  const whole = `${documents[0] ?? ''}\n`;
  const inline = /^metadata:[ \t]*\{([^{}]*)/m.exec(whole)?.[1];
  const metadata = inline?.split(',').map((pair) => pair.trim()).join('\n') ?? /^metadata:[ \t]*\n((?:[ \t]+.*\n?|\n)*)/m.exec(whole)?.[1];
  if (documents.length !== 1 || !/^kind:\s*Policy\s*$/m.test(documents[0] ?? '') || metadata === undefined) {
    return null;
  }
  const indent = /^[ \t]*/.exec(metadata)?.[0] ?? '';
  const value = (key: string): string | undefined => new RegExp(`^${indent}${key}:[ \\t]*["']?([^"'\\s#]+)`, 'm').exec(metadata)?.[1];
  const name = value('name');
  return name ? {tenant: value('tenant') ?? tenant, name} : null;
}

// SPDX-License-Identifier: Apache-2.0
// What may stand here: words of the policy language (docs/policy.md), tenants, labels and their values that exist.
import type {CompletionContext, CompletionResult, Completion} from '@codemirror/autocomplete';

export interface World {
  tenants: string[];
  /** Values by key of a label. */
  labels: Record<string, string[]>;
}

const VALUES: Record<string, string[]> = {
  kind: ['Policy', 'Tenant'],
  apiVersion: ['bulkhead/v1'],
  tier: ['tenant', 'guardrail', 'default'],
  action: ['allow', 'deny', 'reject'],
  entity: ['world', 'host', 'multicast', 'any'],
  tenancy: ['same', 'other'],
  operator: ['In', 'NotIn', 'Exists', 'DoesNotExist'],
  log: ['true', 'false'],
  quarantine: ['true', 'false'],
  withoutManager: ['allow', 'refuse'],
  directions: ['[ingress]', '[egress]', '[ingress, egress]'],
  permit: ['[dhcp-server]', '[router-advertisement]', '[any-source]'],
  ports: ['[tcp/443]', '[tcp/80, tcp/443]', '[tcp/22]', '[udp/53, tcp/53]', '[icmp/8]'],
};

/** Keys by the key that they stand under. */
const KEYS: Record<string, string[]> = {
  '': ['apiVersion', 'kind', 'metadata', 'spec'],
  metadata: ['name', 'tenant', 'description', 'labels'],
  spec: ['selector', 'tier', 'order', 'tenants', 'directions', 'ingress', 'egress', 'permit', 'vlans', 'placement', 'migration', 'rollback', 'quarantine'],
  ingress: ['name', 'action', 'log', 'from', 'ports'],
  egress: ['name', 'action', 'log', 'to', 'ports'],
  from: ['selector', 'tenant', 'tenancy', 'cidr', 'except', 'entity'],
  to: ['selector', 'tenant', 'tenancy', 'cidr', 'except', 'entity'],
  selector: ['matchLabels', 'matchExpressions', 'addresses', 'vms'],
  hosts: ['matchLabels', 'matchExpressions'],
  matchExpressions: ['key', 'operator', 'values'],
  placement: ['hosts'],
  migration: ['withoutManager'],
  rollback: ['quarantine', 'releaseAfter'],
};

const indentOf = (line: string): number => line.length - line.replace(/^[\s-]*/, '').length;

/** The key that the line at this place stands under; "" at the top of a document. */
export function parentKey(lines: string[], at: number, indent: number): string {
  for (let i = at - 1; i >= 0; i--) {
    const line = lines[i] ?? '';
    if (/^---/.test(line)) {
      return '';
    }
    const key = /^[\s-]*([A-Za-z][\w./-]*):/.exec(line);
    if (key && line.trim() && indentOf(line) < indent) {
      return key[1] ?? '';
    }
    // a list may stand as far left as the key that it belongs to
    if (key && indentOf(line) === indent && /^\s*-/.test(lines[at] ?? '') && /:\s*$/.test(line) && !/^\s*-/.test(line)) {
      return key[1] ?? '';
    }
  }
  return '';
}

const options = (labels: string[], type: string, apply?: (label: string) => string): Completion[] =>
  labels.map((label) => ({label, type, ...(apply ? {apply: apply(label)} : {})}));

/** What is known of a line up to the cursor. */
export function suggest(lines: string[], at: number, world: World): Completion[] {
  const line = lines[at] ?? '';
  const inBraces = /(matchLabels):\s*\{[^}]*$/.exec(line);
  if (inBraces) {
    const value = /([\w./-]+):\s*[\w./-]*$/.exec(line);
    const open = /[{,]\s*[\w./-]*$/.test(line);
    return open ? options(Object.keys(world.labels), 'property', (l) => `${l}: `) : value ? options(world.labels[value[1] ?? ''] ?? [], 'constant') : [];
  }
  const pair = /^[\s-]*([A-Za-z][\w./-]*):\s+\S*$/.exec(line);
  const parent = parentKey(lines, at, indentOf(line));
  if (pair) {
    const key = pair[1] ?? '';
    if (parent === 'matchLabels') {
      return options(world.labels[key] ?? [], 'constant');
    }
    if (key === 'tenant') {
      return options([...world.tenants, ...(parent === 'metadata' ? [] : ['"*"'])], 'class');
    }
    return key === 'key' ? options(Object.keys(world.labels), 'property') : options(VALUES[key] ?? [], 'constant');
  }
  if (parent === 'matchLabels') {
    return options(Object.keys(world.labels), 'property', (l) => `${l}: `);
  }
  return options(KEYS[parent] ?? [], 'keyword', (l) => `${l}: `);
}

export function completions(context: CompletionContext, world: World): CompletionResult | null {
  const word = context.matchBefore(/[\w./"*-]*/);
  if (!word || (word.from === word.to && !context.explicit && !/[:{,]\s$/.test(context.state.sliceDoc(Math.max(0, word.from - 2), word.from)))) {
    return null;
  }
  const line = context.state.doc.lineAt(context.pos);
  const lines = context.state.sliceDoc(0, context.pos).split('\n');
  return {from: word.from, options: suggest(lines, line.number - 1, world), validFor: /^[\w./"*-]*$/};
}

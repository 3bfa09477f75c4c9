// SPDX-License-Identifier: Apache-2.0
import {describe, expect, it} from 'vitest';

import {parentKey, suggest, type World} from './completion';

const world: World = {tenants: ['shop', 'rival'], labels: {role: ['db', 'web'], zone: ['a']}};
/** The cursor stands at the end of the text. */
const at = (text: string): string[] => {
  const lines = text.split('\n');
  return suggest(lines, lines.length - 1, world).map((o) => o.label);
};

describe('completion', () => {
  it('knows which key a line stands under', () => {
    const lines = 'kind: Policy\nspec:\n  ingress:\n  - name: a\n    from:\n    - selector:\n        '.split('\n');
    expect(parentKey(lines, 6, 8)).toBe('selector');
    expect(parentKey(lines, 3, 4)).toBe('ingress');
    expect(parentKey(lines, 1, 0)).toBe('');
    expect(parentKey(['a:', '  b: 1', '---', ''], 3, 0)).toBe('');
  });

  it('offers keys where keys stand', () => {
    expect(at('')).toContain('kind');
    expect(at('spec:\n  sel')).toContain('selector');
    expect(at('spec:\n  ingress:\n  - ')).toContain('ports');
    expect(at('spec:\n  egress:\n  - to:\n    - ')).toContain('cidr');
  });

  it('offers values', () => {
    expect(at('kind: ')).toEqual(['Policy', 'Tenant']);
    expect(at('spec:\n  ingress:\n  - action: de')).toContain('deny');
    expect(at('metadata:\n  tenant: ')).toEqual(['shop', 'rival']);
    expect(at('spec:\n  ingress:\n  - from:\n    - tenant: ')).toContain('"*"');
  });

  it('offers labels that exist, with their values', () => {
    expect(at('spec:\n  selector:\n    matchLabels:\n      ')).toEqual(['role', 'zone']);
    expect(at('spec:\n  selector:\n    matchLabels:\n      role: ')).toEqual(['db', 'web']);
    expect(at('    matchLabels: {ro')).toEqual(['role', 'zone']);
    expect(at('    matchLabels: {role: d')).toEqual(['db', 'web']);
    expect(at('    matchLabels: {role: db, z')).toEqual(['role', 'zone']);
  });
});

// SPDX-License-Identifier: Apache-2.0
import {describe, expect, it} from 'vitest';

import {diffText, lineDiff} from './text-diff';

const before = (text: ReturnType<typeof lineDiff>): string =>
  text
    .filter((l) => l.kind !== '+')
    .map((l) => l.text)
    .join('\n');
const after = (text: ReturnType<typeof lineDiff>): string =>
  text
    .filter((l) => l.kind !== '-')
    .map((l) => l.text)
    .join('\n');

describe('differences of lines', () => {
  it('are as small as can be', () => {
    expect(lineDiff('a\nb\nc', 'a\nx\nc').map((l) => l.kind + l.text)).toEqual([' a', '-b', '+x', ' c']);
    expect(diffText('a\nb', 'a\nb')).toBe('');
    expect(diffText('', 'a')).toBe('-\n+a');
  });

  it('leave out what is far', () => {
    const lines = Array.from({length: 30}, (_, i) => `line ${i}`);
    const text = diffText(lines.join('\n'), lines.map((l, i) => (i === 15 ? 'x' : l)).join('\n'));
    expect(text.split('\n')).toHaveLength(2 + 6 + 2);
    expect(text.startsWith('...\n line 12')).toBe(true);
  });

  it('hold both texts, whatever they are', () => {
    let seed = 1;
    const random = (n: number): number => (seed = (seed * 48271) % 2147483647) % n;
    for (let turn = 0; turn < 300; turn++) {
      const make = (): string => Array.from({length: random(12)}, () => 'abc'[random(3)]).join('\n');
      const [a, b] = [make(), make()];
      for (const limit of [4_000_000, 3]) {
        const found = lineDiff(a, b, limit);
        expect(before(found)).toBe(a);
        expect(after(found)).toBe(b);
      }
    }
  });
});

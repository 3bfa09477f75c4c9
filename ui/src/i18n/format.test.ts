// SPDX-License-Identifier: Apache-2.0
import {describe, expect, it} from 'vitest';

import {bytes, number, plural, relative, span} from './format';
import {fill, preferredLocale} from './text';

describe('numbers and times', () => {
  it('are written as the language does', () => {
    expect(number('en', 1234567)).toBe('1,234,567');
    expect(bytes('en', 1_500_000)).toBe('1.5 MB');
    expect(bytes('en', 0)).toBe('0 byte');
    expect(span('en', 1500)).toBe('1.5 sec');
    expect(span('zh-CN', 120_000)).toContain('2');
    expect(plural('en', 1)).toBe('one');
    expect(plural('zh-CN', 1)).toBe('other');
  });

  it('tell how long ago', () => {
    const now = Date.UTC(2026, 10, 22, 12);
    expect(relative('en', now - 90_000, now)).toBe('1 minute ago');
    expect(relative('en', now + 7_200_000, now)).toBe('in 2 hours');
    expect(relative('en', now - 200, now)).toBe('now');
    expect(relative('zh-CN', now - 86_400_000, now)).toBe('昨天');
  });
});

describe('texts', () => {
  it('get their values', () => {
    expect(fill('{n} of {what}, {other}', {n: 12345, what: 'x'}, 'en')).toBe('12,345 of x, {other}');
  });

  it('come in the language that was chosen, else in the one that is wanted', () => {
    expect(preferredLocale('zh-CN', ['en'])).toBe('zh-CN');
    expect(preferredLocale(null, ['zh-TW', 'en'])).toBe('zh-CN');
    expect(preferredLocale(null, ['en-GB', 'zh'])).toBe('en');
    expect(preferredLocale('xx', ['de'])).toBe('en');
  });
});

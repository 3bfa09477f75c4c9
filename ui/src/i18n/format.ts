// SPDX-License-Identifier: Apache-2.0
// Dates, numbers and spans as the reader's language writes them.

export type Locale = 'en' | 'zh-CN';

const cache = new Map<string, Intl.DateTimeFormat | Intl.NumberFormat | Intl.RelativeTimeFormat | Intl.PluralRules>();

function kept<T extends Intl.DateTimeFormat | Intl.NumberFormat | Intl.RelativeTimeFormat | Intl.PluralRules>(key: string, make: () => T): T {
  let f = cache.get(key) as T | undefined;
  if (!f) {
    f = make();
    cache.set(key, f);
  }
  return f;
}

/** Where English is read: a date there is written as there. */
const tagOf = (locale: Locale): string => (locale === 'en' && typeof navigator !== 'undefined' ? (navigator.languages?.find((l) => l.startsWith('en')) ?? locale) : locale);

export const number = (locale: Locale, v: number): string => kept(`n${locale}`, () => new Intl.NumberFormat(locale)).format(v);

export const compact = (locale: Locale, v: number): string =>
  kept(`c${locale}`, () => new Intl.NumberFormat(locale, {notation: 'compact', maximumFractionDigits: 1})).format(v);

export const percent = (locale: Locale, v: number): string =>
  kept(`p${locale}`, () => new Intl.NumberFormat(locale, {style: 'percent', maximumFractionDigits: 1})).format(v);

export const dateTime = (locale: Locale, time: string | number | Date): string =>
  kept(
    `d${locale}`,
    () =>
      new Intl.DateTimeFormat(tagOf(locale), {
        year: 'numeric',
        month: '2-digit',
        day: '2-digit',
        hour: '2-digit',
        minute: '2-digit',
        second: '2-digit',
        hourCycle: 'h23',
      }),
  ).format(new Date(time));

export const clock = (locale: Locale, time: string | number | Date): string =>
  kept(
    `t${locale}`,
    () => new Intl.DateTimeFormat(tagOf(locale), {hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23'}),
  ).format(new Date(time));

const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['day', 86400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
];

/** "3 minutes ago", "in 2 hours". */
export function relative(locale: Locale, time: string | number | Date, now: number = Date.now()): string {
  const s = Math.round((new Date(time).getTime() - now) / 1000);
  const [unit, size] = UNITS.find(([, seconds]) => Math.abs(s) >= seconds) ?? ['second', 1];
  return kept(`r${locale}`, () => new Intl.RelativeTimeFormat(locale, {numeric: 'auto', style: 'long'})).format(Math.trunc(s / size), unit);
}

const SPANS: [string, number, number][] = [
  ['day', 86400000, 1],
  ['hour', 3600000, 1],
  ['minute', 60000, 0],
  ['second', 1000, 1],
  ['millisecond', 1, 1],
];

/** A length of time in its largest fitting unit. */
export function span(locale: Locale, ms: number): string {
  const [unit, size, digits] = SPANS.find(([, length]) => Math.abs(ms) >= length) ?? ['millisecond', 1, 1];
  return kept(`s${unit}${locale}`, () => new Intl.NumberFormat(locale, {style: 'unit', unit, unitDisplay: 'short', maximumFractionDigits: digits})).format(
    ms / size,
  );
}

const BYTES = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'];

export function bytes(locale: Locale, v: number): string {
  const step = v > 0 ? Math.min(BYTES.length - 1, Math.floor(Math.log10(v) / 3)) : 0;
  const unit = BYTES[step] ?? 'byte';
  return kept(`b${unit}${locale}`, () => new Intl.NumberFormat(locale, {style: 'unit', unit, unitDisplay: 'short', maximumFractionDigits: step ? 1 : 0})).format(
    v / 1000 ** step,
  );
}

export const plural = (locale: Locale, n: number): 'one' | 'other' =>
  kept(`u${locale}`, () => new Intl.PluralRules(locale)).select(n) === 'one' ? 'one' : 'other';

// SPDX-License-Identifier: Apache-2.0
// Texts of the console by key. English is the reference: another catalogue has exactly its keys, which the compiler and a test hold.
import {en} from './en';
import * as format from './format';
import type {Locale} from './format';

export type Key = keyof typeof en;
export type Catalogue = Record<Key, string>;
export type Values = Record<string, string | number>;

/** Keys that exist as `key.one` and `key.other`. */
export type PluralKey = Key extends infer K ? (K extends `${infer Stem}.other` ? Stem : never) : never;

/** `{name}` is replaced by its value; numbers are written as the language does. */
export function fill(text: string, values: Values | undefined, locale: Locale): string {
  return values
    ? text.replace(/\{(\w+)\}/g, (whole, name: string) => {
        const v = values[name];
        return v === undefined ? whole : typeof v === 'number' ? format.number(locale, v) : v;
      })
    : text;
}

export const LOCALES: {locale: Locale; name: string}[] = [
  {locale: 'en', name: 'English'},
  {locale: 'zh-CN', name: '简体中文'},
];

export async function loadCatalogue(locale: Locale): Promise<Catalogue> {
  return locale === 'zh-CN' ? (await import('./zh')).zh : en;
}

export function preferredLocale(kept: string | null, wanted: readonly string[]): Locale {
  const known = LOCALES.find((l) => l.locale === kept);
  if (known) {
    return known.locale;
  }
  return wanted.some((w) => w.toLowerCase().startsWith('zh')) && !wanted[0]?.toLowerCase().startsWith('en') ? 'zh-CN' : 'en';
}

/** A key that is put together at run time; the key itself when the catalogue has no such text. */
export function lookUp(catalogue: Catalogue, key: string): string | undefined {
  return (catalogue as Record<string, string>)[key];
}

// SPDX-License-Identifier: Apache-2.0
// The language that the reader has chosen, for components: useI18n().
import {createContext, useCallback, useContext, useEffect, useMemo, useState, type ReactNode} from 'react';

import * as format from './format';
import type {Locale} from './format';
import {fill, loadCatalogue, lookUp, preferredLocale, type Catalogue, type Key, type PluralKey, type Values} from './text';

export interface I18n {
  locale: Locale;
  setLocale: (locale: Locale) => void;
  t: (key: Key, values?: Values) => string;
  /** One or many: `key.one`, `key.other`, with {n}. */
  tn: (key: PluralKey, n: number, values?: Values) => string;
  /** A text whose key is put together; `other` when there is none. */
  td: (key: string, other: string) => string;
  number: (v: number) => string;
  compact: (v: number) => string;
  percent: (v: number) => string;
  dateTime: (time: string | number | Date) => string;
  clock: (time: string | number | Date) => string;
  relative: (time: string | number | Date, now?: number) => string;
  span: (ms: number) => string;
  bytes: (v: number) => string;
}

const KEPT = 'bulkhead.locale';
const Context = createContext<I18n | null>(null);

function make(locale: Locale, catalogue: Catalogue, setLocale: (l: Locale) => void): I18n {
  const t = (key: Key, values?: Values): string => fill(catalogue[key], values, locale);
  return {
    locale,
    setLocale,
    t,
    tn: (key, n, values) => t(`${key}.${format.plural(locale, n)}` as Key, {n, ...values}),
    td: (key, other) => lookUp(catalogue, key) ?? other,
    number: (v) => format.number(locale, v),
    compact: (v) => format.compact(locale, v),
    percent: (v) => format.percent(locale, v),
    dateTime: (time) => format.dateTime(locale, time),
    clock: (time) => format.clock(locale, time),
    relative: (time, now) => format.relative(locale, time, now),
    span: (ms) => format.span(locale, ms),
    bytes: (v) => format.bytes(locale, v),
  };
}

export function I18nProvider({children}: {children: ReactNode}) {
  const [wanted, setWanted] = useState<Locale>(() => preferredLocale(localStorage.getItem(KEPT), navigator.languages));
  const [shown, setShown] = useState<{locale: Locale; catalogue: Catalogue} | null>(null);
  const setLocale = useCallback((locale: Locale) => {
    localStorage.setItem(KEPT, locale);
    setWanted(locale);
  }, []);

  useEffect(() => {
    let current = true;
    void loadCatalogue(wanted).then((catalogue) => {
      if (current) {
        document.documentElement.lang = wanted;
        setShown({locale: wanted, catalogue});
      }
    });
    return () => {
      current = false;
    };
  }, [wanted]);

  const value = useMemo(() => shown && make(shown.locale, shown.catalogue, setLocale), [shown, setLocale]);
  return value && <Context.Provider value={value}>{children}</Context.Provider>;
}

export function useI18n(): I18n {
  const i18n = useContext(Context);
  if (!i18n) {
    throw new Error('useI18n outside of I18nProvider');
  }
  return i18n;
}

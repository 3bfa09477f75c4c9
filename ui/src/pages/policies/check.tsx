// SPDX-License-Identifier: Apache-2.0
// What the manager says of a text while it is being typed: mistakes at their lines, and what looks odd.
import {useEffect, useState} from 'react';

import {ApiError, call} from '../../api/client';
import {useI18n} from '../../i18n/i18n';
import type {Mistake} from './yaml-editor';

const CHECK_AFTER_MS = 500;

interface Warning {
  message: string;
  line: number;
  column: number;
}

export type Checked = {state: 'none'} | {state: 'checking'} | {state: 'good'; warnings: Mistake[]} | {state: 'bad'; mistake: Mistake} | {state: 'failed'; error: unknown};

/** The manager's word on the text, a moment after the last key. */
export function useCheck(text: string, tenant: string): Checked {
  const [checked, setChecked] = useState<Checked>({state: 'none'});
  useEffect(() => {
    if (!text.trim()) {
      setChecked({state: 'none'});
      return undefined;
    }
    const abort = new AbortController();
    const timer = setTimeout(() => {
      setChecked({state: 'checking'});
      call<{warnings?: Warning[]}>('POST', 'policies:check', {body: text, query: {tenant}, signal: abort.signal})
        .then((answer) => setChecked({state: 'good', warnings: (answer.warnings ?? []).map((w) => ({...w, severity: 'warning' as const}))}))
        .catch((error: unknown) => {
          if (abort.signal.aborted) {
            return;
          }
          setChecked(
            error instanceof ApiError && error.status === 422
              ? {state: 'bad', mistake: {message: error.message, line: error.body.line ?? 1, column: error.body.column ?? 1, severity: 'error'}}
              : {state: 'failed', error},
          );
        });
    }, CHECK_AFTER_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [text, tenant]);
  return checked;
}

export function CheckLine({checked}: {checked: Checked}) {
  const {t, tn} = useI18n();
  switch (checked.state) {
    case 'none':
      return <span>{t('editor.empty')}</span>;
    case 'checking':
      return <span>{t('editor.checking')}</span>;
    case 'good':
      return checked.warnings.length ? (
        <span className="warn">
          {tn('editor.warnings', checked.warnings.length)} {checked.warnings[0]?.message}
        </span>
      ) : (
        <span className="good">{t('editor.good')}</span>
      );
    case 'bad':
      return <span className="bad">{t('editor.bad', {line: String(checked.mistake.line), message: checked.mistake.message})}</span>;
    default:
      return <span className="bad">{t('editor.unchecked')}</span>;
  }
}

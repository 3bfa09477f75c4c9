// SPDX-License-Identifier: Apache-2.0
// What the console says of an error, in its own words and the reader's language: what happened, what the manager adds, what can be done,
// and the request form, filled in, when asking somebody is the way. The manager's own advice speaks of routes and is for programs.
import {ApiError} from '../api/client';
import type {I18n} from '../i18n/i18n';

export interface Refusal {
  title: string;
  /** The manager's words, where they tell more than the title does. */
  detail: string | undefined;
  advice: string | undefined;
  /** Path of the request form. */
  ask: string | undefined;
}

/** The title says everything that the manager's words say, and says it in the reader's language. */
const SAID = new Set(['forbidden', 'step_up', 'approval', 'unreachable', 'key', 'key_known']);

/** Kinds of objects that a request can name, by the first part of a right. */
const NAMED = new Set(['vm', 'host']);

/** The object of a refusal as requests write it: vm/UUID, host/NAME; "" when only the whole tenant can be meant. */
export function objectOf(verb: string, object: string | undefined): string {
  const kind = verb.split('.')[0] ?? '';
  return object && NAMED.has(kind) ? `${kind}/${object}` : '';
}

export function requestPath(verb: string, object?: string): string {
  const params = new URLSearchParams({new: 'grant', verb});
  const named = objectOf(verb, object);
  if (named) {
    params.set('object', named);
  }
  return `/requests?${params.toString()}`;
}

export function refusalOf(error: unknown, {t, td}: Pick<I18n, 't' | 'td'>): Refusal {
  if (!(error instanceof ApiError)) {
    return {title: t('error.console'), detail: error instanceof Error ? error.message : String(error), advice: undefined, ask: undefined};
  }
  const {code} = error;
  const {verb, object} = error.body;
  const asks = (code === 'forbidden' || code === 'approval') && verb !== undefined && verb !== '';
  const words = asks ? t(`error.${code}.way`, {act: td(`verb.${verb}`, verb)}) : td(`error.${code}.way`, '');
  return {
    title: td(`error.${code}`, td(`error.http.${error.status}`, t('error.refused'))),
    detail: SAID.has(code) ? undefined : error.message || undefined,
    advice: words || undefined,
    ask: asks ? requestPath(verb, object) : undefined,
  };
}

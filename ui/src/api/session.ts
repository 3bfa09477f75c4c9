// SPDX-License-Identifier: Apache-2.0
import {call} from './client';
import type {Session} from './types';

export const fetchSession = (): Promise<Session> => call<Session>('GET', 'session', {quiet: true});

/** Does the session hold the verb at the tenant; without one: anywhere? */
export function mayDo(session: Session, verb: string, tenant?: string): boolean {
  const lists = tenant === undefined ? Object.values(session.verbs) : [session.verbs['*'], session.verbs[tenant]];
  return lists.some((verbs) => verbs?.includes(verb) ?? false);
}

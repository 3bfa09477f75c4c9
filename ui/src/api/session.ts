// SPDX-License-Identifier: Apache-2.0
import {call} from './client';
import type {Session} from './types';

const ask = (): Promise<Session> => call<Session>('GET', 'session', {quiet: true});

let asked: Promise<Session> | undefined;

/** Asks while the rest of the console is still being set up; the first fetchSession() gets the answer. */
export function askEarly(): void {
  asked = ask();
  asked.catch(() => undefined); // fetchSession() gives it to its caller
}

export function fetchSession(): Promise<Session> {
  const answer = asked ?? ask();
  asked = undefined;
  return answer;
}

/** Does the session hold the verb at the tenant; without one: anywhere? */
export function mayDo(session: Session, verb: string, tenant?: string): boolean {
  const lists = tenant === undefined ? Object.values(session.verbs) : [session.verbs['*'], session.verbs[tenant]];
  return lists.some((verbs) => verbs?.includes(verb) ?? false);
}

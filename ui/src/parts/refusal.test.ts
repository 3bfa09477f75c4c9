// SPDX-License-Identifier: Apache-2.0
import {describe, expect, it} from 'vitest';

import {ApiError, type ApiErrorBody} from '../api/client';
import {en} from '../i18n/en';
import {fill, lookUp, type Catalogue} from '../i18n/text';
import {zh} from '../i18n/zh';
import {objectOf, refusalOf} from './refusal';

const words = (catalogue: Catalogue) => ({
  t: (key: keyof Catalogue, values?: Record<string, string | number>) => fill(catalogue[key], values, 'en'),
  td: (key: string, other: string) => lookUp(catalogue, key) ?? other,
});
const refused = (status: number, body: Partial<ApiErrorBody>): ApiError => new ApiError(status, {code: 'forbidden', message: 'not allowed: no role of yours gives it', ...body});
const WAY = 'ask for it: POST /v1/requests {"kind": "grant", "verb": "vm.power", ...}';

describe('refusals', () => {
  it('are in the words of the console, not of the API', () => {
    for (const catalogue of [en, zh]) {
      const r = refusalOf(refused(403, {verb: 'policy.commit', way: WAY}), words(catalogue));
      expect(r.title).toBe(catalogue['error.forbidden']);
      expect(r.advice).toContain(catalogue['verb.policy.commit']);
      expect(JSON.stringify(r)).not.toMatch(/POST|\/v1\/|not allowed/);
    }
  });

  it('lead to the request form, filled in', () => {
    expect(refusalOf(refused(403, {verb: 'vm.quarantine', object: 'b1c2', way: WAY}), words(en)).ask).toBe('/requests?new=grant&verb=vm.quarantine&object=vm%2Fb1c2');
    expect(refusalOf(refused(403, {code: 'approval', verb: 'host.remove', object: 'h1'}), words(en)).ask).toBe('/requests?new=grant&verb=host.remove&object=host%2Fh1');
    expect(refusalOf(refused(404, {code: 'not_found'}), words(en)).ask).toBeUndefined();
  });

  it('name an object only where a request can', () => {
    expect(objectOf('policy.write', 'shop')).toBe('');
    expect(objectOf('vm.labels', undefined)).toBe('');
  });

  it('keep what the manager alone knows', () => {
    expect(refusalOf(refused(422, {code: 'bad_document', message: 'line 3: unknown key'}), words(zh)).detail).toBe('line 3: unknown key');
    expect(refusalOf(new Error('broken'), words(en)).detail).toBe('broken');
    expect(refusalOf(refused(418, {code: 'http_418', message: ''}), words(en)).title).toBe(en['error.refused']);
  });
});

// SPDX-License-Identifier: Apache-2.0
import {afterEach, describe, expect, it, vi} from 'vitest';

import {ApiError, call, get, post, reread, setCsrf, setPrompts, url} from './client';

interface Sent {
  method: string;
  path: string;
  headers: Record<string, string>;
}

function answer(...responses: Response[]): Sent[] {
  const sent: Sent[] = [];
  vi.stubGlobal('fetch', (path: string, init: RequestInit) => {
    sent.push({path, method: init.method ?? '', headers: init.headers as Record<string, string>});
    const next = responses.shift();
    return next ? Promise.resolve(next) : Promise.reject(new TypeError('nothing listens'));
  });
  return sent;
}

const json = (status: number, body: unknown): Response => new Response(JSON.stringify(body), {status});
const refused = (status: number, code: string, more: object = {}): Response => json(status, {error: {code, message: 'no', ...more}});

afterEach(() => {
  vi.unstubAllGlobals();
  setPrompts(null);
  setCsrf('');
});

describe('the client', () => {
  it('leaves empty parameters out', () => {
    expect(url('vms', {a: '', b: undefined, c: null, d: 0, e: false, f: 'x y&z'})).toBe('/v1/vms?d=0&e=false&f=x+y%26z');
  });

  it('sends the CSRF value with what changes something, and only then', async () => {
    setCsrf('abc');
    const sent = answer(json(200, {}), json(200, {}));
    await get('vms');
    await post('tenants', {name: 'x'});
    expect(sent[0]?.headers['X-Bulkhead-Csrf']).toBeUndefined();
    expect(sent[1]?.headers['X-Bulkhead-Csrf']).toBe('abc');
  });

  it('keeps what is as before, and says what it has', async () => {
    const sent = answer(new Response('{"items": [1]}', {headers: {ETag: 'W/"a"'}}), new Response(null, {status: 304}), json(200, {items: []}));
    const first = await reread<{items: number[]}>(undefined, 'vms');
    expect(first.items).toEqual([1]);
    await expect(reread(first, 'vms')).resolves.toBe(first);
    await expect(reread(first, 'vms')).resolves.toEqual({items: []});
    expect(sent.map((s) => s.headers['If-None-Match'])).toEqual([undefined, 'W/"a"', 'W/"a"']);
  });

  it('does not take a 304 that it has not asked for', async () => {
    answer(new Response(null, {status: 304}));
    await expect(reread(undefined, 'vms')).rejects.toMatchObject({status: 304});
  });

  it('asks to log in once and sends the request again', async () => {
    const login = vi.fn(() => Promise.resolve(true));
    setPrompts({login, stepUp: () => Promise.resolve(false)});
    const sent = answer(refused(401, 'unauthorized'), json(200, {a: 1}));
    await expect(get('vms')).resolves.toEqual({a: 1});
    expect(login).toHaveBeenCalledTimes(1);
    expect(sent).toHaveLength(2);
  });

  it('does not send again what was not met', async () => {
    setPrompts({login: () => Promise.resolve(false), stepUp: () => Promise.resolve(true)});
    const sent = answer(refused(401, 'unauthorized'));
    await expect(get('vms')).rejects.toMatchObject({status: 401});
    expect(sent).toHaveLength(1);
  });

  it('asks for the second factor that is wanted', async () => {
    const stepUp = vi.fn(() => Promise.resolve(true));
    setPrompts({login: () => Promise.resolve(false), stepUp});
    answer(refused(403, 'step_up', {methods: ['totp'], verb: 'host.remove'}), new Response(null, {status: 204}));
    await expect(call('DELETE', 'hosts/h1')).resolves.toBeUndefined();
    expect(stepUp).toHaveBeenCalledWith(['totp'], 'host.remove');
  });

  it('passes refusals on with everything that they say', async () => {
    answer(refused(403, 'forbidden', {verb: 'vm.labels', way: 'ask'}));
    const error = await get('x').catch((e: unknown) => e);
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({status: 403, code: 'forbidden', body: {verb: 'vm.labels', way: 'ask'}});
  });

  it('says when nobody answers, and when it was no manager that did', async () => {
    answer();
    await expect(get('x')).rejects.toMatchObject({status: 0, code: 'unreachable'});
    answer(new Response('<html>', {status: 502}));
    await expect(get('x')).rejects.toMatchObject({status: 502, code: 'http_502'});
  });
});

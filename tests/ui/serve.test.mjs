// SPDX-License-Identifier: Apache-2.0
// How the manager serves the console's files: headers, compression, and nothing but these files.
import assert from 'node:assert/strict';
import {after, before, describe, it} from 'node:test';

import {missing} from './browser.mjs';
import {Manager} from './harness.mjs';

describe('files of the console', {skip: missing() || false}, () => {
  let manager;
  before(async () => {
    manager = await new Manager().start();
  });
  after(() => manager?.close());

  it('has a policy for its page that allows no foreign and no inline code', async () => {
    const page = await manager.ask('/');
    const nonce = /<meta property="csp-nonce" nonce="([^"]+)"/.exec(page.body)?.[1];
    assert.equal(page.status, 200);
    assert.ok(nonce && nonce.length >= 24);
    assert.match(page.headers['content-security-policy'], new RegExp(`default-src 'self'; style-src 'self' 'nonce-${nonce}';`));
    assert.doesNotMatch(page.headers['content-security-policy'], /unsafe/);
    assert.equal(page.headers['x-frame-options'], 'DENY');
    assert.equal(page.headers['x-content-type-options'], 'nosniff');
    assert.equal(page.headers['referrer-policy'], 'no-referrer');
    assert.match(page.headers['strict-transport-security'], /max-age=\d{7,}/);
    assert.notEqual(nonce, /nonce="([^"]+)"/.exec((await manager.ask('/vms/x')).body)[1], 'a nonce is used once');
  });

  it('sends scripts compressed, to be kept, and says when they are known', async () => {
    const script = /src="(\/assets\/[^"]+\.js)"/.exec((await manager.ask('/')).body)[1];
    const br = await manager.ask(script, {headers: {'Accept-Encoding': 'gzip, br'}});
    const gz = await manager.ask(script, {headers: {'Accept-Encoding': 'gzip'}});
    const plain = await manager.ask(script);
    assert.equal(br.headers['content-encoding'], 'br');
    assert.equal(gz.headers['content-encoding'], 'gzip');
    assert.equal(plain.headers['content-encoding'], undefined);
    assert.ok(br.data.length < gz.data.length && gz.data.length < plain.data.length);
    assert.match(br.headers['cache-control'], /immutable/);
    assert.equal((await manager.ask(script, {headers: {'Accept-Encoding': 'gzip, br', 'If-None-Match': br.headers.etag}})).status, 304);
  });

  it('has nothing else', async () => {
    assert.equal((await manager.ask('/assets/nothing.js')).status, 404);
    assert.equal((await manager.ask('/', {method: 'POST'})).status, 405);
    for (const path of ['/assets/..%2f..%2fstate%2fadmin.token', '/..%2fstate/admin.token', '/assets/%2e%2e/%2e%2e/etc/passwd.txt', '//etc/passwd.js']) {
      assert.equal((await manager.ask(path)).status, 404, path);
    }
    assert.equal((await manager.ask('/v1/status')).status, 401, 'the API is not the console');
  });
});

// SPDX-License-Identifier: Apache-2.0
// Every page, in both languages, light and dark, narrow and wide, with nothing and with something to show: no error, no violation of the
// Content-Security-Policy, nothing wider than the window.
import assert from 'node:assert/strict';
import {after, before, describe, it} from 'node:test';

import {Browser, calm, login, look, missing} from './browser.mjs';
import {Manager} from './harness.mjs';
import {ALL_ROLES, little, PAGES} from './world.mjs';

const LOOKS = {
  'English, light, wide': {},
  'Chinese, dark, wide': {dark: true, locale: 'zh-CN'},
  'English, dark, narrow': {width: 390, height: 844, dark: true},
  'Chinese, light, narrow': {width: 390, height: 844, locale: 'zh-CN'},
};

describe('pages', {skip: missing() || false}, () => {
  let manager;
  let browser;
  let first; // somebody is logged in here

  before(async () => {
    manager = await new Manager().start();
    browser = await new Browser().start(manager);
    await manager.must('POST', 'tenants', {name: 't0'});
    first = await browser.open();
    await login(first, await manager.person('anna', ALL_ROLES, {app: true}));
  });
  after(async () => {
    await browser?.close();
    await manager?.close();
  });

  it('say what to do where there is nothing yet', async () => {
    for (const path of PAGES.filter((p) => !/sim0|t0/.test(p))) {
      await look(first, path);
    }
    await first.goto('/inventory');
    await calm(first);
    assert.match(await first.locator('.page').innerText(), /enroll|join|host/i);
  });

  it('fill up', async () => {
    await little(manager);
  });

  for (const [name, options] of Object.entries(LOOKS)) {
    it(`are whole: ${name}`, async () => {
      const page = await browser.open({...options, like: first});
      for (const path of [...PAGES, `/vms/${manager.vms[0].uuid}`, '/users/anna']) {
        await look(page, path, options === LOOKS['English, light, wide']);
      }
      assert.equal(await page.evaluate(() => document.documentElement.lang), options.locale ?? 'en');
      await page.context().close();
    });
  }
});

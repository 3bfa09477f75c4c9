// SPDX-License-Identifier: Apache-2.0
// Every page, in both languages, light and dark, narrow and wide, with nothing and with something to show: no error, no violation of the
// Content-Security-Policy, nothing wider than the window. And names that are markup are shown as what they are.
import assert from 'node:assert/strict';
import {after, before, describe, it} from 'node:test';

import {Browser, calm, login, missing, noFaults} from './browser.mjs';
import {Manager, until} from './harness.mjs';
import {ALL_ROLES, little, PAGES} from './world.mjs';

const LOOKS = {
  'English, light, wide': {},
  'Chinese, dark, wide': {dark: true, locale: 'zh-CN'},
  'English, dark, narrow': {width: 390, height: 844, dark: true},
  'Chinese, light, narrow': {width: 390, height: 844, locale: 'zh-CN'},
};
const MARKUP = '<img src=x onerror=alert(1)>"\'><script>alert(2)</script>{{7*7}}${7*7}';

/** Nothing is in the way of looking at that page. fresh: it is loaded from nothing, else gone to as a link does. */
async function look(page, path, fresh = false) {
  page.faults.length = 0;
  if (fresh || !page.url().startsWith('https:')) {
    await page.goto(path);
  } else {
    await page.evaluate((to) => {
      history.pushState(null, '', to);
      dispatchEvent(new PopStateEvent('popstate', {state: null}));
    }, path);
  }
  await calm(page);
  noFaults(page, path);
  assert.deepEqual(await page.locator('.failure').allInnerTexts(), [], path);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 1, `${path} is ${wide} px wider than the window`);
}

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

  it('show names that are markup as text', async () => {
    const [vm] = manager.vms;
    manager.tell({host: 0, vm: 0, is: {name: MARKUP}});
    manager.event(0, {type: 'guard.spoof-ip', severity: 'critical', vm: vm.uuid, vm_name: MARKUP, rule_text: MARKUP, src: MARKUP, detail: MARKUP});
    manager.flow({...vm, name: MARKUP}, '203.0.113.5', 443, 'deny', {rule_text: MARKUP});
    await manager.must('POST', 'users', {name: 'mallory', display: MARKUP, role: 'tenant-viewer', at: 't0'});
    await manager.must('POST', 'drafts', {tenant: 't0', title: MARKUP, documents: `# ${MARKUP}\n`});
    await manager.must('PATCH', `vms/${vm.uuid}`, {labels: {note: 'x'}}).catch(() => undefined);
    await until('the name', async () => (await manager.must('GET', `vms/${vm.uuid}`)).name === MARKUP);
    const places = ['/inventory', `/vms/${vm.uuid}`, `/vms/${vm.uuid}?tab=flows`, '/events', '/events?view=flows', '/alerts', '/map?by=vm', '/users', '/users/mallory', '/policies', '/', '/audit'];
    let seen = 0;
    for (const path of places) {
      await look(first, path);
      seen += (await first.getByText('<img src=x', {exact: false}).count()) > 0;
      assert.equal(await first.locator('img[src=x]').count(), 0, path);
      assert.doesNotMatch(await first.locator('body').innerText(), /\b49\b.*alert/, path);
    }
    assert.ok(seen >= 6, `shown on ${seen} pages only`);
  });
});

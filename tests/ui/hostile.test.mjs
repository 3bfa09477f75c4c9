// SPDX-License-Identifier: Apache-2.0
// Whatever a tenant, a guest or a host can name or write is shown as what it is, on every page: nothing of it runs, becomes part of the page, leads
// anywhere, or breaks the page's width.
import assert from 'node:assert/strict';

import {calm, login, look, noFaults} from './browser.mjs';
import {until} from './harness.mjs';
import {ALL_ROLES, little, PAGES} from './world.mjs';
import {stage} from './stage.mjs';

const MARKUP = '<img src=x onerror=alert(1)>"\'><svg/onload=alert(2)><script>alert(3)</script>{{7*7}}${7*7}';
const LINK = 'javascript:alert(4)//<a href="javascript:alert(5)" onclick=alert(6)>';
const LONG = 'W'.repeat(190);
const TURNED = '\u202egnp.exe\u2066';
const LOOKS = {'wide, light': {}, 'narrow, dark, Chinese': {width: 390, height: 844, dark: true, locale: 'zh-CN'}};

/** What of those words has become more than words. */
const foreign = (page) =>
  page.evaluate(() => {
    const leads = (a) => ['href', 'src', 'action', 'xlink:href'].includes(a.name) && /^\s*javascript:/i.test(a.value);
    const runs = (e) => [...e.attributes].some((a) => a.name.startsWith('on') || leads(a));
    const bad = [...document.querySelectorAll('*')].filter((e) => runs(e) || e.matches('img[src="x"], script:not([src])'));
    return bad.map((e) => e.outerHTML.slice(0, 200));
  });

async function fill(manager) {
  const [vm, other, third] = manager.vms;
  [MARKUP, LINK, LONG].forEach((name, i) => manager.tell({host: 0, vm: i, is: {name}}));
  const event = {type: 'guard.spoof-ip', severity: 'critical', vm: vm.uuid, vm_name: MARKUP, rule_text: LINK, src: MARKUP, detail: LONG};
  manager.event(0, event);
  manager.event(0, {...event, vm: other.uuid, vm_name: LINK, detail: TURNED});
  manager.flow({...vm, name: MARKUP}, '203.0.113.5', 443, 'deny', {rule_text: MARKUP});
  manager.flow({...third, name: LONG}, '203.0.113.6', 443, 'deny', {rule_text: LONG});
  await manager.must('POST', 'users', {name: 'mallory', display: MARKUP, role: 'tenant-viewer', at: 't0'});
  await manager.must('POST', 'users', {name: 'lilly', display: LONG.slice(0, 100), role: 'tenant-viewer', at: 't0'});
  await manager.must('POST', 'roles', {tenant: 't0', name: 'odd', words: MARKUP, verbs: ['vm.read']});
  await manager.must('POST', 'drafts', {tenant: 't0', title: MARKUP, documents: `# ${MARKUP}\n`});
  await manager.must('POST', 'drafts', {tenant: 't0', title: LONG, documents: `# ${LONG}\n`});
  await manager.must('PUT', `vms/${other.uuid}/quarantine`, {on: true, reason: MARKUP});
  // Labels, policies and channels have names that no hostile word can be; what is written beside them is free.
  const policy = (name, words) => `kind: Policy\nmetadata: {name: ${JSON.stringify(name)}, tenant: t0, description: ${JSON.stringify(words)}}\nspec: {selector: {matchLabels: {role: db}}, ingress: []}\n`;
  for (const words of [MARKUP, LINK, TURNED]) {
    assert.equal((await manager.api('PATCH', `vms/${vm.uuid}/labels`, {labels: {[words]: 'x'}})).status, 400);
    assert.equal((await manager.api('PATCH', `vms/${vm.uuid}/labels`, {labels: {x: words}})).status, 400);
    assert.ok((await manager.api('POST', 'policies:apply', policy(words, 'x'))).status >= 400);
    assert.ok((await manager.api('PUT', `channels/${encodeURIComponent(words)}`, {kind: 'webhook', url: 'https://127.0.0.1:9/'})).status >= 400);
  }
  await manager.must('PATCH', `vms/${third.uuid}/labels`, {labels: {[LONG.slice(0, 63).toLowerCase()]: LONG.slice(0, 63).toLowerCase()}});
  await manager.must('POST', 'policies:apply', policy(LONG.slice(0, 63).toLowerCase(), MARKUP));
  await manager.must('PUT', 'channels/siem', {kind: 'webhook', url: 'https://127.0.0.1:9/', format: 'ecs', enabled: true});
  await manager.must('PATCH', 'settings/accounts', {console_url: `https://127.0.0.1:${manager.port}`, fresh_s: 3600});
  await manager.must('PUT', 'settings/oidc', {enabled: true, name: MARKUP, issuer: 'https://127.0.0.1:9', client_id: MARKUP, client_secret: 'x'});
  // The words of a snapshot and what a host says of an order.
  await manager.must('POST', `vms/${vm.uuid}/snapshots?wait=10`, {name: 'first', description: MARKUP, reason: LONG});
  await manager.behave(0, {state: 'failed', error: MARKUP, own: true});
  assert.equal((await manager.api('POST', `vms/${vm.uuid}:reboot?wait=10`, {reason: MARKUP})).status, 409);
  await manager.behave(0, {});
  // Somebody asks, by name of another browser, for a token and for a right.
  const bob = await manager.person('bob', [{role: 'requester', at: 't0'}]);
  const headers = {'User-Agent': MARKUP};
  const {body} = await manager.ask('/v1/login', {method: 'POST', headers, body: {user: 'bob', password: bob.password, bearer: true}});
  const asked = {kind: 'grant', tenant: 't0', verb: 'vm.power', reason: MARKUP};
  const answer = await manager.ask('/v1/requests', {method: 'POST', headers: {...headers, Authorization: `Bearer ${body.token}`}, body: asked});
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  await until('the names', async () => (await manager.must('GET', `vms/${vm.uuid}`)).name === MARKUP);
  const alert = await until('the alert', async () => (await manager.must('GET', 'alerts?limit=50')).items.find((a) => JSON.stringify(a).includes('critical')));
  await manager.must('POST', `alerts/${alert.id}:comment`, {text: `${MARKUP}\n${LONG}`});
}

stage(
  'hostile words',
  async (here) => {
    const {manager, browser} = here;
    await little(manager);
    await fill(manager);
    here.first = await browser.open();
    await login(here.first, await manager.person('anna', ALL_ROLES, {app: true}));
    await here.first.evaluate(async (names) => {
      const {csrf} = await (await fetch('/v1/session')).json();
      for (const name of names) {
        const headers = {'Content-Type': 'application/json', 'X-Bulkhead-Csrf': csrf};
        const answer = await fetch('/v1/me/tokens', {method: 'POST', headers, body: JSON.stringify({name, verbs: ['vm.read']})});
        if (!answer.ok) {
          throw new Error(await answer.text());
        }
      }
    }, [MARKUP.slice(0, 63), LONG.slice(0, 63)]);
    const [vm, other, third] = manager.vms.map((v) => `/vms/${v.uuid}`);
    const tabs = ['', '?tab=flows', '?tab=events', '?tab=snapshots', '?tab=history'];
    const more = [`/policies/t0/${LONG.slice(0, 63).toLowerCase()}`, `/policies/edit?policy=t0/${LONG.slice(0, 63).toLowerCase()}`, '/users/mallory', '/users/bob', '/users/lilly', '/policies/watched', ...['oidc', 'accounts', 'alerts'].map((tab) => `/settings?tab=${tab}`)];
    here.paths = [...PAGES, ...tabs.map((tab) => vm + tab), other, third, ...more];
  },
  (here, walk) => {
    for (const [name, options] of Object.entries(LOOKS)) {
      walk(`are words on every page: ${name}`, async () => {
        const page = await here.browser.open({...options, like: here.first});
        let seen = 0;
        for (const path of here.paths) {
          await look(page, path);
          assert.deepEqual(await foreign(page), [], path);
          seen += (await page.getByText('<img src=x').count()) > 0;
        }
        assert.ok(seen >= 12, `shown on ${seen} pages only`);
        await page.context().close();
      });
    }

    walk('are words in what opens above a page', async () => {
      const {first: page, manager} = here;
      const opened = async (path, open) => {
        await page.goto(path);
        await calm(page);
        await open();
        await until('the words', () => page.getByText('<img src=x').count());
        assert.deepEqual(await foreign(page), [], path);
        noFaults(page, path);
      };
      const [vm] = manager.vms;
      await opened('/alerts', () => page.locator('.ant-table-row').filter({hasText: 'guard.spoof-ip'}).first().getByRole('button').first().click());
      await opened('/events', () => page.locator('.ant-table-row').filter({hasText: '<img'}).first().click());
      await opened('/requests', () => page.getByRole('button', {name: 'Approve'}).first().click());
      await opened(`/vms/${vm.uuid}`, async () => {
        await page.getByRole('button', {name: 'Actions', exact: true}).click();
        await page.getByRole('menuitem', {name: 'Put in quarantine'}).click();
      });
      await opened('/', async () => {
        await page.keyboard.press('Control+k');
        await page.getByRole('combobox').fill('<img src=x');
        await page.getByRole('option').first().waitFor();
      });
    });

    walk('are words before anybody has logged in', async () => {
      const page = await here.browser.open();
      await page.goto('/');
      await page.getByText('<img src=x').waitFor();
      assert.deepEqual(await foreign(page), []);
      noFaults(page);
      await page.context().close();
    });

    walk('are words in an address', async () => {
      const page = await here.browser.open({like: here.first});
      const fields = ['inventory?q', 'events?q', 'policies/explain?from', 'policies/edit?policy', 'settings?tab', 'map?by'].map((field) => `/${field}=`);
      for (const path of [...fields, '/vms/', '/users/', '/hosts/']) {
        await page.goto(path + encodeURIComponent(MARKUP));
        await calm(page);
        assert.deepEqual(await foreign(page), [], path);
        noFaults(page, path);
      }
      await page.context().close();
    });
  },
);

// SPDX-License-Identifier: Apache-2.0
// What people do in the console, each walk from its first click to what the manager then holds.
import assert from 'node:assert/strict';
import {after, before, describe, it} from 'node:test';

import {Browser, calm, enter, login, missing, noFaults, prove} from './browser.mjs';
import {App, FIRST, Manager, PASSWORD, until} from './harness.mjs';
import {commit, OFFICER, write} from './stage.mjs';
import {little, policyOf} from './world.mjs';

describe('walks', {skip: missing() || false}, () => {
  let manager;
  let browser;
  let anna; // a page; she is an officer of the provider and administers both tenants
  let annaHerself;
  const textOf = async (policy) => (await manager.must('GET', `policies/${policy}`)).text;

  before(async () => {
    manager = await new Manager().start();
    await little(manager);
    annaHerself = await manager.person('anna', OFFICER, {app: true});
    browser = await new Browser().start(manager);
    anna = await browser.open();
    await login(anna, annaHerself);
  });
  after(async () => {
    await browser?.close();
    await manager?.close();
  });

  const walk = (name, work) => it(name, () => browser.watched(name, work)());

  let undone; // what t0/web said before the commit that nobody confirms

  walk('a mistake at its line, what would change, and a commit that wants to be confirmed', async () => {
    await anna.goto('/policies/edit?policy=t0/web');
    const editor = anna.locator('.cm-content');
    await editor.click();
    await anna.keyboard.press('Control+End');
    await anna.keyboard.type('\nnonsense: yes');
    await anna.locator('.editor-status .bad').waitFor();
    await anna.locator('.cm-lint-marker-error').waitFor();
    await write(anna, policyOf('t0', 'web', 'tcp/80'));
    await anna.getByRole('button', {name: 'What would change?'}).click();
    await anna.getByText('This change', {exact: true}).waitFor();
    const words = await anna.locator('.panel-pad').innerText();
    assert.match(words, /tcp\/443/, 'the port that closes');
    await anna.getByRole('combobox', {name: 'Confirmation'}).click({force: true});
    await anna.getByTitle('undo unless confirmed in 1 minute').click();
    undone = await textOf('t0/web');
    await anna.getByRole('button', {name: 'Commit', exact: true}).click();
    await anna.getByRole('timer').waitFor();
    assert.notEqual(await textOf('t0/web'), undone);
    noFaults(anna);
  });

  walk('a first login: a wrong password, one of her own, a second factor with its codes', async () => {
    await manager.person('carol', [{role: 'tenant-admin', at: 't1'}], {isNew: true});
    const page = await browser.open();
    await enter(page, 'carol', 'wrong wrong wrong');
    await page.getByRole('alert').waitFor();
    await enter(page, 'carol', FIRST);
    await page.locator('#old').fill(FIRST);
    await page.locator('input#password').fill(PASSWORD);
    await page.locator('#again').fill(PASSWORD);
    await page.getByRole('button', {name: 'Change the password'}).click();
    await page.getByRole('button', {name: 'Set up an app'}).click();
    const app = new App((await page.locator('.totp code').innerText()).trim());
    await page.locator('.qr').waitFor();
    await page.locator('.code-input').fill('000000');
    await page.getByRole('button', {name: 'Confirm'}).click();
    await page.locator('.ant-modal-confirm').getByRole('alert').waitFor();
    await page.locator('.ant-modal-confirm-btns button').click();
    await page.locator('.code-input').fill(await app.code());
    await page.getByRole('button', {name: 'Confirm'}).click();
    await page.locator('.recovery').waitFor();
    const recovery = (await page.locator('.recovery').innerText()).trim().split('\n');
    assert.equal(recovery.length, 10);
    await page.getByRole('button', {name: 'I have kept them'}).click();
    await page.locator('.shell').waitFor();
    noFaults(page);
    await page.context().close();

    const again = await browser.open();
    await login(again, {name: 'carol', password: PASSWORD, app});
    await again.context().close();
    const lost = await browser.open();
    await enter(lost, 'carol', PASSWORD);
    await lost.getByText('Recovery code', {exact: true}).first().click();
    await lost.locator('.code-input').fill(recovery[0]);
    await lost.locator('button[type=submit]').click();
    await lost.locator('.shell').waitFor();
    noFaults(lost);
    await lost.context().close();
  });

  walk('two people: one asks, the other one says yes', async () => {
    await manager.must('PUT', 'settings/approvals', {verbs: ['policy.commit']});
    const ben = await browser.open();
    await login(ben, await manager.person('ben', [{role: 'tenant-admin', at: 't1'}], {app: true}));
    const before = await textOf('t1/web');
    await ben.goto('/policies/edit?policy=t1/web');
    await ben.locator('.cm-content').waitFor();
    await write(ben, policyOf('t1', 'web', 'tcp/8443'));
    await ben.getByRole('button', {name: 'Commit', exact: true}).click();
    await ben.getByText('A second person has to agree').waitFor();
    assert.equal(await textOf('t1/web'), before);
    await ben.goto('/requests?new=grant&verb=policy.commit&tenant=t1');
    await ben.getByRole('dialog').getByLabel('Reason').fill('the shop moves to another port');
    await ben.getByRole('dialog').getByRole('button', {name: 'Send'}).click();
    await ben.locator('.ant-table-row', {hasText: 'waiting'}).waitFor();
    assert.equal(await ben.getByRole('button', {name: 'Approve'}).count(), 0, 'nobody decides his own');

    await anna.goto('/requests');
    await anna.getByRole('button', {name: 'Approve'}).first().click();
    await anna.getByRole('dialog').getByRole('textbox').fill('as agreed');
    await anna.getByRole('dialog').getByRole('button', {name: 'Approve'}).click();
    await anna.locator('.ant-table-row', {hasText: 'approved'}).waitFor();

    await ben.goto('/policies/edit?policy=t1/web');
    await ben.locator('.editor-status .good').waitFor(); // what he had typed is still there
    await commit(ben);
    await until('the commit', async () => (await textOf('t1/web')) !== before);
    await manager.must('PUT', 'settings/approvals', {verbs: []});
    const record = await manager.must('GET', 'audit?limit=200');
    assert.ok(JSON.stringify(record.items).includes('request/1'), 'the record names who agreed');
    noFaults(ben);
    noFaults(anna);
    await ben.context().close();
  });

  walk('a session that ends in the middle of an edit', async () => {
    await anna.goto('/policies/edit');
    const editor = anna.locator('.cm-content');
    await editor.click();
    await anna.keyboard.press('Control+End');
    await anna.keyboard.type('# do not lose me');
    await anna.locator('.editor-status .good').waitFor();
    for (const s of (await manager.must('GET', 'sessions')).items) {
      await manager.must('DELETE', `sessions/${s.id}`);
    }
    // what the page asks for by itself may have found it out before, and the dialog lies over the button
    await anna.getByRole('button', {name: 'Save draft'}).dispatchEvent('click');
    const dialog = anna.getByRole('dialog', {name: 'Your session has ended'});
    await dialog.locator('#password').fill(PASSWORD);
    await dialog.locator('button[type=submit]').click();
    await prove(dialog, annaHerself.app);
    await dialog.waitFor({state: 'detached'});
    await anna.getByText('Draft saved').waitFor();
    assert.match(await editor.innerText(), /do not lose me/);
    const drafts = (await manager.must('GET', 'drafts')).items;
    const kept = await Promise.all(drafts.map((d) => manager.must('GET', `drafts/${d.id}`)));
    assert.ok(kept.some((d) => d.documents.includes('# do not lose me')));
    noFaults(anna);
  });

  walk('what the list is narrowed to stands in the address', async () => {
    await anna.goto('/inventory');
    const vm = manager.vms[3];
    const [address] = vm.nics[0].addresses;
    await anna.getByPlaceholder('Name, address, MAC, UUID').fill(address);
    await until('the address', () => anna.url().includes(`q=${encodeURIComponent(address)}`));
    await anna.reload();
    await anna.getByRole('link', {name: vm.name, exact: true}).first().click();
    await anna.locator('.page-name', {hasText: vm.name}).waitFor();
    await anna.goBack();
    await anna.getByRole('link', {name: vm.name, exact: true}).first().waitFor();
    assert.ok(anna.url().includes('q='));
    assert.equal(await anna.getByPlaceholder('Name, address, MAC, UUID').inputValue(), address);
    noFaults(anna);
  });

  walk('another language, at once and the next time', async () => {
    await anna.goto('/alerts');
    await anna.getByRole('button', {name: 'Language'}).click();
    await anna.getByRole('menuitem', {name: '中文'}).click();
    await anna.locator('.page-name', {hasText: '告警'}).waitFor();
    assert.equal(await anna.evaluate(() => document.documentElement.lang), 'zh-CN');
    await anna.reload();
    await anna.locator('.page-name', {hasText: '告警'}).waitFor();
    await anna.getByRole('button', {name: '语言'}).click();
    await anna.getByRole('menuitem', {name: 'English'}).click();
    await anna.locator('.page-name', {hasText: 'Alerts'}).waitFor();
    noFaults(anna);
  });

  walk('the keyboard alone: log in, find a VM, look at its flows, log out', async () => {
    const person = await manager.person('dora', [{role: 'auditor', at: '*'}], {app: true});
    const page = await browser.open();
    await page.goto('/');
    await page.locator('#user').waitFor();
    const tabTo = async (what) => {
      const here = (e) => e.contains(document.activeElement);
      await what.waitFor();
      for (let i = 0; !(await what.evaluate(here)); i++) {
        assert.ok(i < 80, `Tab does not reach ${what}`);
        await page.keyboard.press('Tab');
      }
    };
    await tabTo(page.locator('#user'));
    await page.keyboard.type(person.name);
    await tabTo(page.locator('#password'));
    await page.keyboard.type(person.password);
    await page.keyboard.press('Enter');
    await page.locator('.code-input').waitFor();
    await tabTo(page.locator('.code-input'));
    await page.keyboard.type(await person.app.code());
    await page.keyboard.press('Enter');
    await page.locator('.shell').waitFor();
    await page.keyboard.press('Control+k');
    await page.getByRole('combobox').waitFor();
    await page.keyboard.type(manager.vms[5].name);
    await page.getByRole('option', {name: new RegExp(manager.vms[5].name)}).first().waitFor();
    await page.keyboard.press('Enter');
    await page.locator('.page-name', {hasText: manager.vms[5].name}).waitFor();
    await calm(page);
    await tabTo(page.getByRole('tab', {selected: true}).first());
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('Enter');
    await until('another tab', () => page.url().includes('tab='));
    await page.evaluate(() => document.activeElement?.blur()); // as after a click beside everything: from the top again
    await tabTo(page.locator('.top-person'));
    await page.keyboard.press('Enter');
    await page.getByRole('menuitem', {name: 'Log out'}).waitFor();
    await page.keyboard.press('Tab'); // into the menu
    await until('the last item', async () => {
      await page.keyboard.press('ArrowDown');
      return page.getByRole('menuitem', {name: 'Log out'}).evaluate((e) => e.contains(document.activeElement));
    });
    await page.keyboard.press('Enter');
    await page.locator('#user').waitFor();
    noFaults(page);
    await page.context().close();
  });

  walk('events as they come, and why a connection is judged so', async () => {
    await anna.goto('/events?view=flows');
    await anna.getByRole('button', {name: 'Live'}).click();
    await anna.getByRole('button', {name: 'Live, pause'}).waitFor();
    manager.flow(manager.vms[2], '203.0.113.99', 8443);
    await anna.getByText('203.0.113.99').first().waitFor();
    const [a, b] = manager.vms;
    await anna.goto(`/policies/explain?from=${a.name}&to=${b.name}&port=tcp/22`);
    await anna.locator('.explain-answer').waitFor();
    assert.match(await anna.locator('.explain-answer').innerText(), /no-ssh-from-others/);
    noFaults(anna);
  });

  walk('an alert that somebody takes', async () => {
    await anna.goto('/alerts');
    await anna.getByRole('button', {name: 'guard.spoof-ip'}).click();
    const drawer = anna.getByRole('dialog');
    await drawer.getByRole('button', {name: 'Acknowledge', exact: true}).click();
    await until('the alert', async () => (await manager.must('GET', 'alerts?state=acknowledged')).items.length === 1);
    noFaults(anna);
  });

  walk('who talks to whom, as a picture and as a table', async () => {
    await anna.goto('/map?by=vm');
    await anna.locator('[data-drawn=yes]').waitFor();
    await anna.getByText('As a table', {exact: true}).click();
    await anna.getByText('tcp/443').first().waitFor();
    noFaults(anna);
  });

  walk('the commit that nobody confirmed has rolled back by itself', async () => {
    await anna.goto('/policies/history');
    await anna.locator('.ant-table-row').first().waitFor();
    await until('the rollback', async () => (await textOf('t0/web')) === undone, 120);
    await anna.getByRole('timer').waitFor({state: 'detached'});
    await anna.reload();
    await anna.locator('.ant-table-row').first().waitFor();
    assert.equal(await anna.getByRole('timer').count(), 0);
    noFaults(anna);
  });
});

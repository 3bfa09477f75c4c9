// SPDX-License-Identifier: Apache-2.0
// Acts on VMs, snapshots, and the orders that they are. The hosts are simulated (tests/bench/simorders.h): they answer orders as hostd does, with
// no libvirt behind them; tests/e2e/test_power.py is about real ones.
import assert from 'node:assert/strict';

import {calm, login, noFaults, prove} from './browser.mjs';
import {until} from './harness.mjs';
import {dialog, more, officer, stage, stale} from './stage.mjs';
import {little} from './world.mjs';

const HOST = 0;

stage(
  'power and snapshots',
  async (here) => {
    await little(here.manager);
    Object.assign(here, await officer(here));
    [here.vm] = here.manager.vms;
  },
  (here, walk) => {
    const state = async () => (await here.manager.must('GET', `vms/${here.vm.uuid}`)).state;
    /** What orders come to from now on. */
    const behave = (orders) => here.manager.behave(HOST, orders);
    const show = async (tab = '') => {
      await behave({});
      await here.page.goto(`/vms/${here.vm.uuid}${tab}`);
      await calm(here.page);
    };

    walk('shut down with a reason, and start again', async () => {
      const {page, vm, manager} = here;
      await show();
      await more(page, 'Shut down');
      await dialog(page).getByRole('textbox').fill('the rack is cleaned');
      await dialog(page).getByRole('button', {name: 'Shut down'}).click();
      await page.locator('.page-head').getByText('off', {exact: true}).waitFor();
      assert.equal(await state(), 'shutoff');
      const [order] = (await manager.must('GET', `orders?vm=${vm.uuid}`)).items;
      assert.deepEqual([order.act, order.by, order.reason, order.state], ['shutdown', 'user:anna', 'the rack is cleaned', 'done']);
      await more(page, 'Start');
      await page.locator('.page-head').getByText('running', {exact: true}).waitFor();
      await show('?tab=history');
      await page.getByRole('row', {name: /Shut down.*the rack is cleaned/}).waitFor();
      noFaults(page);
    });

    walk('power off hard: the name is typed, and the second factor is shown again', async () => {
      const {page, vm, person, manager} = here;
      await show();
      await stale(manager, page);
      await more(page, 'Power off hard');
      const ok = dialog(page).getByRole('button', {name: 'Power off hard'});
      assert.ok(await ok.isDisabled());
      await dialog(page).getByPlaceholder(vm.name).fill('another');
      assert.ok(await ok.isDisabled());
      await dialog(page).getByPlaceholder(vm.name).fill(vm.name);
      await ok.click();
      const asked = page.getByRole('dialog', {name: 'Is it you?'});
      await asked.locator('.code-input').waitFor();
      assert.equal(await state(), 'running', 'nothing is done before');
      await prove(asked, person.app);
      await asked.waitFor({state: 'detached'});
      await page.locator('.page-head').getByText('off', {exact: true}).waitFor();
      const destroyed = (await manager.must('GET', `orders?vm=${vm.uuid}`)).items.filter((o) => o.act === 'destroy');
      assert.equal(destroyed.length, 1, 'once');
      await manager.must('PATCH', 'settings/accounts', {fresh_s: 3600});
      await more(page, 'Start');
      await page.locator('.page-head').getByText('running', {exact: true}).waitFor();
      noFaults(page);
    });

    walk('a snapshot: made, refused twice of a name, gone back to, removed', async () => {
      const {page, vm} = here;
      const make = async (name) => {
        await page.getByRole('button', {name: 'New snapshot'}).click();
        await dialog(page).getByLabel('Name').fill(name);
        await dialog(page).getByLabel('What it is for').fill('<b>before</b> the upgrade');
        await dialog(page).getByRole('button', {name: 'Make it'}).click();
      };
      await show('?tab=snapshots');
      await page.getByText('No snapshots').waitFor();
      await make('first');
      const row = page.getByRole('row', {name: /first.*current.*<b>before<\/b> the upgrade.*running/});
      await row.waitFor();
      await make('first');
      await dialog(page).getByText('there is a snapshot of that name').waitFor();
      await dialog(page).getByRole('button', {name: 'Close'}).click();
      await dialog(page).getByRole('button', {name: 'Cancel'}).click();

      await more(page, 'Pause');
      await dialog(page).getByRole('button', {name: 'Pause'}).click();
      await page.locator('.page-head').getByText('paused', {exact: true}).waitFor();
      await row.getByRole('button', {name: 'Go back to it'}).click();
      await dialog(page).getByPlaceholder(vm.name).fill(vm.name);
      await dialog(page).getByRole('button', {name: 'Go back to it'}).click();
      await page.locator('.page-head').getByText('running', {exact: true}).waitFor();
      await row.getByRole('button', {name: 'Remove'}).click();
      await dialog(page).getByRole('button', {name: 'Remove'}).click();
      await page.getByText('No snapshots').waitFor();
      noFaults(page);
    });

    walk('an order that goes on shows how far it is, and is given up', async () => {
      const {page, manager, vm} = here;
      await show('?tab=snapshots');
      await behave({state: 'running', percent: 40});
      await page.getByRole('button', {name: 'New snapshot'}).click();
      await dialog(page).getByLabel('Name').fill('slow');
      await dialog(page).getByRole('button', {name: 'Make it'}).click();
      const banner = page.getByRole('status').filter({hasText: 'Snapshot · slow'});
      await banner.getByRole('progressbar').waitFor();
      await until('how far it is', async () => (await banner.getByRole('progressbar').getAttribute('aria-valuenow')) === '40');
      await banner.getByRole('button', {name: 'Cancel'}).click();
      await page.getByRole('alert').filter({hasText: 'it was cancelled'}).waitFor();
      await banner.waitFor({state: 'detached'});
      const [order] = (await manager.must('GET', `orders?vm=${vm.uuid}`)).items;
      assert.deepEqual([order.act, order.state], ['snapshot', 'failed']);
      noFaults(page);
    });

    walk('what a host could not do is shown with what it said', async () => {
      const {page} = here;
      await show();
      await behave({state: 'failed', error: 'the guest agent is <not> there', own: true});
      await more(page, 'Reboot');
      await dialog(page).getByRole('button', {name: 'Reboot'}).click();
      await dialog(page).getByText('the guest agent is <not> there').waitFor();
      await dialog(page).getByRole('button', {name: 'Close'}).click();
      noFaults(page);
    });

    walk('a migration: where to, and why not', async () => {
      const {page, vm} = here;
      await show();
      await more(page, 'Migrate');
      await dialog(page).getByLabel('To').click({force: true});
      const list = page.locator('.ant-select-dropdown:visible');
      await list.getByTitle('sim1').click();
      assert.equal(await list.getByTitle(vm.host).count(), 0, 'it is there already');
      await dialog(page).getByRole('button', {name: 'Migrate'}).click();
      await dialog(page).getByText("a simulated host can't do that").waitFor();
      noFaults(page);
    });

    walk('in quarantine and out of it, and a start without protection', async () => {
      const {page, vm, manager} = here;
      await show();
      await more(page, 'Put in quarantine');
      await dialog(page).getByRole('textbox').fill('it scans');
      await dialog(page).getByRole('button', {name: 'Put in quarantine'}).click();
      await page.getByText('In quarantine: it scans').waitFor();
      await more(page, 'Release from quarantine');
      await dialog(page).getByRole('button', {name: 'Release from quarantine'}).click();
      await page.getByText('In quarantine: it scans').waitFor({state: 'detached'});
      await more(page, 'Let it start unprotected');
      await dialog(page).getByRole('button', {name: 'Save'}).click();
      await until('its birth', async () => (await manager.must('GET', `vms/${vm.uuid}`)).birth === 'open');
      await page.getByText('starts unprotected').waitFor();
      noFaults(page);
    });

    walk('who may only look is offered nothing', async () => {
      const {vm, manager, browser} = here;
      const page = await browser.open();
      await login(page, await manager.person('vera', [{role: 'tenant-viewer', at: 't0'}]));
      await page.goto(`/vms/${vm.uuid}`);
      await calm(page);
      assert.equal(await page.getByRole('button', {name: 'Actions', exact: true}).count(), 0);
      assert.equal(await page.getByRole('tab', {name: 'Snapshots'}).count(), 0);
      noFaults(page);
      await page.context().close();
    });

    walk('what its host has let go can be forgotten', async () => {
      const {vm, page, manager} = here;
      await show();
      await more(page, 'Shut down');
      await dialog(page).getByRole('button', {name: 'Shut down'}).click();
      await page.locator('.page-head').getByText('off', {exact: true}).waitFor();
      await more(page, 'Remove from its host');
      await dialog(page).getByPlaceholder(vm.name).fill(vm.name);
      await dialog(page).getByRole('button', {name: 'Remove from its host'}).click();
      await page.locator('.page-head').getByText('gone', {exact: true}).waitFor();
      await more(page, 'Forget');
      await dialog(page).getByRole('button', {name: 'Forget'}).click();
      await until('the end of it', async () => (await manager.api('GET', `vms/${vm.uuid}`)).status === 404);
      await until('the inventory', () => new URL(page.url()).pathname === '/inventory');
      noFaults(page);
    });
  },
);

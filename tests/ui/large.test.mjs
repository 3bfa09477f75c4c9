// SPDX-License-Identifier: Apache-2.0
// Lists of which the console shows a page and the manager does the looking: VMs, and the connections of the map.
import assert from 'node:assert/strict';

import {calm, noFaults} from './browser.mjs';
import {until} from './harness.mjs';
import {choose, officer, stage} from './stage.mjs';

const VMS = 120;

stage(
  'large lists',
  async (here) => {
    const {manager} = here;
    await manager.simulate(2, VMS / 2, 3);
    Object.assign(here, await officer(here));
  },
  (here, walk) => {
    const rows = (page) => page.locator('.ant-table-row');
    const count = (page) => page.locator('.page-count').innerText();
    const names = (page) => page.locator('.ant-table-row td:nth-child(2)').allInnerTexts();

    walk('the inventory: page by page, in another order, of one tenant, of one host', async () => {
      const {page} = here;
      await page.goto('/inventory');
      await calm(page);
      assert.deepEqual([await count(page), await rows(page).count(), (await names(page))[9]], [String(VMS), 50, 'vm9']);
      await page.getByTitle('3', {exact: true}).click();
      await until('the third page', async () => (await names(page)).at(-1) === `vm${VMS - 1}`);
      assert.equal(new URL(page.url()).searchParams.get('page'), '3');
      await page.getByRole('columnheader', {name: 'Name'}).click(); // the other way round, from the first page on
      await until('the last name first', async () => (await names(page))[0] === `vm${VMS - 1}`);
      await page.getByRole('treeitem', {name: 't1 40'}).click();
      await until('a tenant', async () => (await count(page)) === '40');
      await page.getByText('By host', {exact: true}).click();
      await page.getByRole('treeitem', {name: 'sim1 60'}).click();
      await until('a host', async () => (await count(page)) === '60');
      noFaults(page);
    });

    walk('the inventory: what is looked for, and what is not there', async () => {
      const {page, manager} = here;
      await page.goto('/inventory');
      await page.getByLabel('Name, address, MAC, UUID').fill('vm11');
      await until('what is looked for', async () => (await count(page)) === '11'); // vm11, vm110 to vm119
      await choose(page, page.getByRole('combobox').first(), 'in quarantine');
      await page.getByText('Clear the filters').or(page.locator('.nothing a')).first().waitFor();
      await manager.must('PUT', 'vms/vm111/quarantine', {on: true});
      await until('the one in quarantine', async () => (await names(page)).join() === 'vm111'); // by itself
      await page.reload();
      await calm(page);
      assert.deepEqual(await names(page), ['vm111']);
      noFaults(page);
    });

    walk('the inventory is asked for again and again, and comes once', async () => {
      const {page, manager} = here;
      const seen = [];
      page.on('response', (r) => r.url().includes('/v1/vms?') && seen.push(r.status()));
      await page.goto('/inventory');
      await until('an answer that says as before', () => seen.includes(304));
      await manager.must('PATCH', 'vms/vm0/labels', {labels: {fresh: 'yes'}});
      await page.getByRole('button', {name: 'fresh=yes'}).waitFor();
      noFaults(page);
    });

    walk('jumping to a VM by its name, its address, its MAC', async () => {
      const {page, manager} = here;
      const vm = manager.vms.find((v) => v.name === 'vm77');
      for (const words of ['vm77', vm.nics[0].addresses[0], vm.nics[0].mac]) {
        await page.goto('/');
        await calm(page);
        await page.keyboard.press('Control+k');
        await page.getByRole('combobox').fill(words);
        await page.getByRole('option', {name: /vm77/}).waitFor();
        await page.keyboard.press('Enter');
        await until(words, () => new URL(page.url()).pathname === `/vms/${vm.uuid}`);
      }
      noFaults(page);
    });

    walk('connections as a table, page by page and in another order', async () => {
      const {page, manager} = here;
      for (let n = 0; n < VMS; n++) {
        manager.flow(manager.vms[n], manager.vms[(n + 1) % VMS], 443, n < 3 ? 'deny' : 'allow', {count: n + 1});
      }
      await until('the flows', async () => (await manager.must('GET', 'map?by=vm')).edges_total === VMS);
      await page.goto('/map?by=vm&view=table');
      await calm(page);
      assert.deepEqual([await count(page), await rows(page).count()], [String(VMS), 50]);
      await rows(page).first().getByText('vm2', {exact: true}).waitFor(); // most refused first
      await page.getByRole('columnheader', {name: 'Allowed'}).click();
      await rows(page).first().getByText(`vm${VMS - 1}`, {exact: true}).waitFor();
      await page.getByTitle('3', {exact: true}).click();
      await until('the third page', async () => (await rows(page).count()) === VMS - 100);
      await page.getByText('Map', {exact: true}).last().click();
      await page.locator('[data-drawn=yes]').waitFor();
      noFaults(page);
    });
  },
);

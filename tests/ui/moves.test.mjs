// SPDX-License-Identifier: Apache-2.0
// VMs that travel between simulated hosts: one arrives, one is on its way, one is given up, one may not come.
import assert from 'node:assert/strict';

import {calm, look, noFaults} from './browser.mjs';
import {until} from './harness.mjs';
import {officer, stage} from './stage.mjs';

stage(
  'moves',
  async (here) => {
    const {manager} = here;
    await manager.simulate(3, 4, 2);
    await manager.must('PUT', 'hosts/sim2/maintenance', {on: true, reason: 'new memory'});
    const [moves, stays, breaks, refused] = manager.vms;
    manager.move(moves, 1, 'done');
    manager.move(stays, 1, 'copying');
    manager.move(breaks, 1, 'failed');
    manager.move(refused, 2, 'done');
    const states = async () => (await manager.must('GET', 'migrations')).items.map((m) => m.state).sort().join();
    await until('the four', async () => (await states()) === 'done,failed,installed,refused');
    Object.assign(here, await officer(here), {moves, stays, breaks, refused});
  },
  (here, walk) => {
    const row = (name) => here.page.locator('.ant-table-row').filter({has: here.page.getByRole('link', {name, exact: true})});

    walk('each is in the list, with why not', async () => {
      const {page, moves, stays, breaks, refused} = here;
      await page.goto('/migrations');
      await calm(page);
      await row(moves.name).getByText('done', {exact: true}).waitFor();
      await row(stays.name).getByText('installed', {exact: true}).waitFor();
      await row(breaks.name).getByText('QEMU ended: out of memory').waitFor();
      await row(refused.name).getByText('maintenance').waitFor();
      assert.match(await row(moves.name).innerText(), /sim0[^]*sim1/);
      noFaults(page);
    });

    walk('its steps', async () => {
      const {page, moves, refused} = here;
      await row(moves.name).getByRole('button', {name: 'Expand row'}).click();
      const steps = page.locator('.ant-steps-item-title');
      // what the target says last and what inventories say come in any order
      await until('the steps', async () => /^asked,counted,applied,installed,.*\bmoved\b/.test((await steps.allInnerTexts()).join()));
      await row(refused.name).getByRole('button', {name: 'Expand row'}).click();
      await page.locator('.ant-steps-item-error').getByText('refused').waitFor();
      noFaults(page);
    });

    walk('those that go on, those of one VM, and of none', async () => {
      const {page, stays, moves} = here;
      await page.getByText('Going on', {exact: true}).click();
      await until('the one that goes on', async () => (await page.locator('.page-count').innerText()) === '1');
      await row(stays.name).waitFor();
      await page.goto(`/migrations?vm=${moves.name}`);
      await row(moves.name).waitFor();
      assert.equal(await page.locator('.ant-table-row').count(), 1);
      await page.goto('/migrations?vm=nobody');
      await page.getByText('Nothing matches these filters').waitFor();
      noFaults(page);
    });

    walk('the VM says where it ran, and where it is on its way to', async () => {
      const {page, moves, stays} = here;
      await look(page, `/vms/${moves.uuid}?tab=history`, true);
      await page.getByRole('link', {name: 'sim1', exact: true}).first().waitFor();
      await look(page, `/vms/${stays.uuid}`, true);
      await page.getByText('sim1').first().waitFor();
      noFaults(page);
    });

    walk('in Chinese, in the dark, on a telephone', async () => {
      const narrow = await here.browser.open({width: 390, height: 844, dark: true, locale: 'zh-CN', like: here.page});
      await look(narrow, '/migrations', true);
      await narrow.getByText('被拒', {exact: true}).waitFor();
      noFaults(narrow);
      await narrow.context().close();
    });
  },
);

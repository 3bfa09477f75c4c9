// SPDX-License-Identifier: Apache-2.0
// Settings of accounts and alerts, tenants and what they may have, roles of one's own.
import assert from 'node:assert/strict';

import {calm, noFaults} from './browser.mjs';
import {until} from './harness.mjs';
import {choose, commit, dialog, officer, stage, write} from './stage.mjs';
import {little, policyOf} from './world.mjs';

stage(
  'settings',
  async (here) => {
    await little(here.manager);
    Object.assign(here, await officer(here));
  },
  (here, walk) => {
    const saved = () => here.page.getByText('Saved', {exact: true}).first().waitFor();
    const sure = () => here.page.getByRole('tooltip').getByRole('button', {name: 'OK'}).click();

    walk('how long sessions are good, and where the console is', async () => {
      const {page, manager} = here;
      const kept = () => manager.must('GET', 'settings/accounts');
      await page.goto('/settings?tab=accounts');
      await page.getByLabel('A session that nobody uses ends after').fill('45');
      await page.getByLabel('Security keys ask for a PIN or a finger').click();
      await page.getByLabel('Address of the console').fill('http://console.example');
      await page.getByRole('button', {name: 'Save'}).click();
      await page.getByText('https://NAME or https://NAME:PORT').waitFor();
      await page.getByLabel('Address of the console').fill('https://console.example');
      await page.getByRole('button', {name: 'Save'}).click();
      await saved();
      const now = await kept();
      assert.deepEqual([now.idle_s, now.key_verify, now.console_url], [2700, true, 'https://console.example']);
      await page.reload();
      await calm(page);
      assert.equal(await page.getByLabel('A session that nobody uses ends after').inputValue(), '45');
      noFaults(page);
    });

    walk('what the manager refuses is said, and what was typed stays', async () => {
      const {page} = here;
      await page.goto('/settings?tab=accounts');
      await page.getByLabel('Address of the console').fill('https://a:b:c');
      await page.getByRole('button', {name: 'Save'}).click();
      await dialog(page).getByRole('alert').waitFor();
      await dialog(page).getByRole('button', {name: 'Close'}).click();
      assert.equal(await page.getByLabel('Address of the console').inputValue(), 'https://a:b:c');
      noFaults(page);
    });

    walk('which events become alerts', async () => {
      const {page, manager} = here;
      await page.goto('/settings?tab=alerts');
      await page.getByRole('button', {name: 'Add a type'}).click();
      await page.getByRole('combobox', {name: 'Type', exact: true}).fill('guard.');
      await choose(page, page.getByRole('combobox', {name: 'Severity', exact: true}), 'never');
      await page.getByRole('button', {name: 'Save'}).click();
      await saved();
      assert.deepEqual((await manager.must('GET', 'settings/alerts')).rules, [{type: 'guard.', severity: 'never'}]);
      await page.reload();
      await page.getByRole('button', {name: 'Remove', exact: true}).click();
      await page.getByRole('button', {name: 'Save'}).click();
      await until('no rule', async () => !(await manager.must('GET', 'settings/alerts')).rules.length);
      noFaults(page);
    });

    walk('a tenant: made, given a quota that holds, and removed', async () => {
      const {page, manager} = here;
      const row = (name) => page.getByRole('row', {name: new RegExp(`^${name}\\b`)});
      await page.goto('/settings');
      await page.getByLabel('Tenant', {exact: true}).fill('shop');
      await page.getByRole('button', {name: 'Make a tenant'}).click();
      await row('shop').waitFor();
      await row('t1').getByRole('button', {name: 'Quota'}).click();
      await dialog(page).getByText('1 of').first().waitFor();
      await dialog(page).getByLabel('Policies').fill('1');
      await dialog(page).getByRole('button', {name: 'Save'}).click();
      await dialog(page).waitFor({state: 'detached'});
      assert.equal((await manager.must('GET', 'tenants/t1/quota')).policies.limit, 1);

      await page.goto('/policies/edit?policy=t1/web');
      await write(page, policyOf('t1', 'one-more'));
      await commit(page);
      await dialog(page).getByText("The tenant's quota is used up").waitFor();
      await dialog(page).getByRole('button', {name: 'Close'}).click();
      assert.equal((await manager.api('GET', 'policies/t1/one-more')).status, 404);

      await page.goto('/settings');
      await row('t1').getByRole('button', {name: 'Quota'}).click();
      await dialog(page).getByLabel('Policies').fill('');
      await dialog(page).getByRole('button', {name: 'Save'}).click();
      await dialog(page).waitFor({state: 'detached'});
      const quota = (await manager.must('GET', 'tenants/t1/quota')).policies;
      assert.equal(quota.limit, quota.default);
      await row('shop').getByRole('button', {name: 'Remove'}).click();
      await sure();
      await row('shop').waitFor({state: 'detached'});
      noFaults(page);
    });

    walk('a role of their own: made, given, and taken from all', async () => {
      const {page, manager} = here;
      await manager.person('ruth', [{role: 'tenant-viewer', at: 't0'}]);
      await page.goto('/users?tab=roles');
      await page.getByRole('button', {name: 'New role'}).click();
      await choose(page, dialog(page).getByRole('combobox', {name: 'Tenant', exact: true}), 't0');
      await dialog(page).getByLabel('Role', {exact: true}).fill('night-watch');
      await dialog(page).getByLabel('What it is for').fill('looks at night');
      await dialog(page).getByLabel('vm.read').click();
      await dialog(page).getByLabel('event.read').click();
      await dialog(page).getByRole('button', {name: 'Create'}).click();
      const row = page.getByRole('row', {name: /night-watch.*t0.*looks at night/});
      await row.waitFor();
      await page.goto('/users/ruth');
      await choose(page, page.getByRole('combobox').first(), 'night-watch');
      await choose(page, page.getByRole('combobox').nth(1), 't0');
      await page.getByRole('button', {name: 'Give the role'}).click();
      const roles = async () => (await manager.must('GET', 'users/ruth')).roles.map((r) => r.role);
      await until('the role', async () => (await roles()).includes('night-watch'));
      await page.goto('/users?tab=roles');
      await row.getByRole('button', {name: 'Remove'}).click();
      await sure();
      await row.waitFor({state: 'detached'});
      assert.deepEqual(await roles(), ['tenant-viewer']);
      noFaults(page);
    });
  },
);

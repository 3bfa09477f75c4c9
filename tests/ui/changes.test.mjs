// SPDX-License-Identifier: Apache-2.0
// Changes of policies that take more than one sitting: drafts that others overtake, removals, versions under watch. And events saved as a file.
import assert from 'node:assert/strict';
import {readFile} from 'node:fs/promises';

import {noFaults} from './browser.mjs';
import {until} from './harness.mjs';
import {commit, dialog, more, officer, stage, write} from './stage.mjs';
import {little, policyOf} from './world.mjs';

stage(
  'changes',
  async (here) => {
    await little(here.manager);
    Object.assign(here, await officer(here));
  },
  (here, walk) => {
    const sure = () => here.page.getByRole('tooltip').getByRole('button', {name: 'OK'}).click();
    const drafts = async () => (await here.manager.must('GET', 'drafts')).items.filter((d) => !d.committed_in);
    const textOf = async (policy) => (await here.manager.must('GET', `policies/${policy}`)).text;

    walk('a draft that somebody overtakes is rebased, then committed', async () => {
      const {page, manager} = here;
      await page.goto('/policies/edit?policy=t0/web');
      await write(page, policyOf('t0', 'web', 'tcp/8443'));
      await page.getByLabel('Title of the change').fill('web moves');
      await page.getByRole('button', {name: 'Save draft'}).click();
      await page.getByText('Draft saved').waitFor();
      const [{id}] = await drafts();
      await manager.must('POST', 'policies:apply?wait=10', policyOf('t0', 'web', 'tcp/444'));
      await page.goto('/policies');
      await page.getByRole('link', {name: 'web moves'}).click();
      const warning = page.getByRole('alert').filter({hasText: 'have been changed in force'});
      await warning.waitFor();
      await commit(page);
      await dialog(page).getByText('web was changed in revision 2').waitFor();
      await dialog(page).getByRole('button', {name: 'Close'}).click();
      assert.match(await textOf('t0/web'), /tcp\/444/);
      await warning.getByRole('button', {name: 'Rebase the draft'}).click();
      await warning.waitFor({state: 'detached'});
      await commit(page);
      await until('the commit', async () => /tcp\/8443/.test(await textOf('t0/web')));
      assert.ok((await manager.must('GET', `drafts/${id}`)).committed_in);
      noFaults(page);
    });

    walk('the title alone is worth saving; a draft is discarded', async () => {
      const {page, manager} = here;
      const {id} = await manager.must('POST', 'drafts', {tenant: 't0', title: 'old', documents: policyOf('t0', 'other')});
      await page.goto(`/policies/edit?draft=${id}`);
      await page.getByLabel('Title of the change').fill('new');
      await page.getByRole('button', {name: 'Save draft'}).click();
      await until('the title', async () => (await manager.must('GET', `drafts/${id}`)).title === 'new');
      await page.goto('/policies');
      await page.getByRole('row', {name: /^new/}).getByRole('button', {name: 'Discard'}).click();
      await sure();
      await until('no draft', async () => !(await drafts()).length);
      noFaults(page);
    });

    walk('a removal is watched, then drafted with what would change, and committed', async () => {
      const {page, manager} = here;
      await page.goto('/policies/t1/web');
      await more(page, 'Watch what would be without it');
      await page.getByRole('dialog').getByText('its removal').waitFor();
      assert.ok((await manager.must('GET', 'policies/t1/web/monitor')).removes);
      await page.getByRole('dialog').getByRole('button', {name: 'Stop watching'}).click();
      await sure();
      await page.getByText('No policy is under watch').waitFor();

      await page.goto('/policies/t1/web');
      await more(page, 'Remove in a draft');
      await page.getByRole('button', {name: 'What would change?'}).click();
      await page.getByText('This change', {exact: true}).waitFor();
      await commit(page);
      await until('the removal', async () => (await manager.api('GET', 'policies/t1/web')).status === 404);
      noFaults(page);
    });

    walk('another version is watched: it judges flows, enforces nothing, and is taken over', async () => {
      const {page, manager} = here;
      const [a, z] = [manager.vms[0], manager.vms[10]]; // of one label: both ends' policy is this one
      const before = await textOf('t0/web');
      await page.goto('/policies/edit?policy=t0/web');
      await write(page, policyOf('t0', 'web', 'tcp/80').replace('{name: out, action: allow}', '{name: out, ports: [tcp/80]}'));
      await page.getByRole('button', {name: /Watch$/}).click();
      const drawer = page.getByRole('dialog');
      await drawer.getByText('another version').waitFor();
      assert.equal(await textOf('t0/web'), before);
      const stored = (await manager.must('GET', 'status')).events.stored;
      manager.flow(a, z, 3306);
      await until('the flow', async () => (await manager.must('GET', 'status')).events.stored > stored);
      await until('its verdict', async () => {
        await page.reload();
        await drawer.getByText('What it would have done').waitFor();
        await drawer.getByText(/would be refused|would get the verdict|No flow was recorded/).first().waitFor();
        return drawer.getByText('would be refused').count();
      });
      await drawer.getByRole('button', {name: 'Edit and commit'}).click();
      await page.locator('.editor-status .good').waitFor();
      await commit(page);
      await until('the version in force', async () => /"tcp\/80"/.test(await textOf('t0/web')));
      noFaults(page);
    });

    walk('a policy is removed at once, by its name', async () => {
      const {page, manager} = here;
      await page.goto('/policies/t0/web');
      await more(page, 'Remove at once');
      const ok = dialog(page).getByRole('button', {name: 'Remove'});
      assert.ok(await ok.isDisabled());
      await dialog(page).getByPlaceholder('web').fill('web');
      await ok.click();
      await until('the removal', async () => (await manager.api('GET', 'policies/t0/web')).status === 404);
      noFaults(page);
    });

    walk('events are saved as a file, as they are filtered', async () => {
      const {page} = here;
      await page.goto('/events?type=guard.spoof-ip');
      await page.getByText('guard.spoof-ip').first().waitFor();
      const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', {name: 'Export'}).click()]);
      const lines = (await readFile(await file.path(), 'utf8')).trim().split('\n').map((l) => JSON.parse(l));
      assert.equal(file.suggestedFilename(), 'events.jsonl');
      assert.ok(lines.length >= 1 && lines.some((l) => l.type === 'guard.spoof-ip'));
      assert.ok(lines.every((l) => !l.type || l.type === 'guard.spoof-ip'));
      noFaults(page);
    });
  },
);

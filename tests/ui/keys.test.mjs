// SPDX-License-Identifier: Apache-2.0
// Security keys, with Chromium's virtual authenticator in the place of the key: added, logged in with, shown again before a dangerous act, removed.
import assert from 'node:assert/strict';

import {calm, enter, noFaults} from './browser.mjs';
import {until} from './harness.mjs';
import {dialog, OFFICER, stage, stale} from './stage.mjs';

/** A key in this page's slot. */
async function plug(page) {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('WebAuthn.enable');
  const {authenticatorId} = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: {protocol: 'ctap2', transport: 'usb', hasResidentKey: false, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true},
  });
  return {
    credentials: async () => (await cdp.send('WebAuthn.getCredentials', {authenticatorId})).credentials,
    forget: () => cdp.send('WebAuthn.clearCredentials', {authenticatorId}),
    // The counter of the key's memory, set back as that of a copy is.
    setBack: async () => {
      const [credential] = (await cdp.send('WebAuthn.getCredentials', {authenticatorId})).credentials;
      await cdp.send('WebAuthn.clearCredentials', {authenticatorId});
      await cdp.send('WebAuthn.addCredential', {authenticatorId, credential: {...credential, signCount: 0}});
    },
  };
}

async function addKey(page, name) {
  await page.getByLabel('Name of the key').fill(name);
  await page.getByRole('button', {name: 'Add a security key'}).click();
}

const touch = (place) => place.getByRole('button', {name: 'Use the security key'}).click();

stage(
  'security keys',
  async (here) => {
    // Keys are bound to a name, which an address is none of.
    here.browser.origin = `https://localhost:${here.manager.port}`;
    await here.manager.must('POST', 'tenants', {name: 't0'});
    await here.manager.must('POST', 'tenants', {name: 't1'});
    here.person = await here.manager.person('anna', OFFICER);
    here.page = await here.browser.open();
    here.key = await plug(here.page);
  },
  (here, walk) => {
    const hasFactor = async () => (await here.manager.must('GET', 'users/anna')).second_factor;

    walk('are refused with what to do about it while no name is set', async () => {
      const {page, person} = here;
      await enter(page, person.name, person.password);
      await addKey(page, 'mine');
      await dialog(page).getByText('set console_url').waitFor();
      await dialog(page).getByRole('button', {name: 'Close'}).click();
      noFaults(page);
    });

    walk('one is the first second factor: with recovery codes, and the console opens', async () => {
      const {page, key, manager} = here;
      await manager.must('PATCH', 'settings/accounts', {console_url: here.browser.origin});
      await page.reload();
      await addKey(page, 'on my ring');
      await page.locator('.recovery').waitFor();
      here.recovery = (await page.locator('.recovery').innerText()).trim().split('\n');
      assert.equal(here.recovery.length, 10);
      await page.getByRole('button', {name: 'I have kept them'}).click();
      await page.locator('.shell').waitFor();
      assert.equal((await key.credentials()).length, 1);
      assert.equal((await key.credentials())[0].rpId, 'localhost');
      assert.ok(await hasFactor());
      await page.goto('/me');
      await page.getByRole('row', {name: /on my ring/}).waitFor();
      noFaults(page);
    });

    walk('the same one is not added twice', async () => {
      const {page} = here;
      await addKey(page, 'again');
      await dialog(page).getByRole('alert').waitFor();
      await dialog(page).getByRole('button', {name: 'Close'}).click();
      assert.equal(await page.getByRole('row', {name: /again/}).count(), 0);
      noFaults(page);
    });

    walk('logging in with it', async () => {
      const {page, person} = here;
      await page.getByRole('button', {name: 'anna'}).click();
      await page.getByRole('menuitem', {name: 'Log out'}).click();
      await enter(page, person.name, person.password);
      await touch(page);
      await page.locator('.shell').waitFor();
      await page.goto('/me');
      await calm(page);
      assert.doesNotMatch(await page.getByRole('row', {name: /on my ring/}).innerText(), /–/, 'when it was used last');
      noFaults(page);
    });

    walk('it is shown again before a dangerous act, and the act goes on', async () => {
      const {page, manager} = here;
      await stale(manager, page);
      await manager.person('gone', [{role: 'tenant-viewer', at: 't0'}]);
      await page.goto('/users/gone');
      await page.getByRole('button', {name: 'Remove', exact: true}).last().waitFor();
      await page.locator('.panel', {hasText: 'tenant viewer'}).getByRole('button', {name: 'Remove'}).first().click();
      const asked = page.getByRole('dialog', {name: 'Is it you?'});
      await touch(asked);
      await asked.waitFor({state: 'detached'});
      await until('the role that is taken away', async () => !(await manager.must('GET', 'users/gone')).roles.length);
      noFaults(page);
    });

    walk('a key that is not there, or is a copy, opens nothing and says so', async () => {
      const {person, browser, manager} = here;
      const page = await browser.open();
      const empty = await plug(page);
      await enter(page, person.name, person.password);
      await touch(page);
      await page.getByRole('alert').waitFor();
      assert.equal((await empty.credentials()).length, 0);
      noFaults(page);
      await page.context().close();

      await here.key.setBack();
      await here.page.getByRole('button', {name: 'anna'}).click();
      await here.page.getByRole('menuitem', {name: 'Log out'}).click();
      await enter(here.page, person.name, person.password);
      await touch(here.page);
      await here.page.getByRole('alert').waitFor();
      assert.equal(await here.page.locator('.shell').count(), 0);
      const refused = (await manager.must('GET', 'audit?limit=50')).items.filter((e) => e.user === 'anna' && e.act?.startsWith('login') && e.result !== 'done');
      assert.ok(refused.length >= 1, 'on record');
      noFaults(here.page);
    });

    walk('a recovery code lets in without it, and it is removed', async () => {
      const {page} = here;
      await page.getByText('Recovery code', {exact: true}).first().click();
      await page.locator('.code-input').fill(here.recovery[0]);
      await page.locator('button[type=submit]').click();
      await page.locator('.shell').waitFor();
      await page.goto('/me');
      await page.getByRole('row', {name: /on my ring/}).getByRole('button', {name: 'Remove'}).click();
      await page.getByRole('tooltip').getByRole('button', {name: 'OK'}).click();
      await until('no factor', async () => !(await hasFactor()));
      await page.getByText('First a second factor').waitFor();
      noFaults(page);
    });
  },
);

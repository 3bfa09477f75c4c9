// SPDX-License-Identifier: Apache-2.0
// Single sign-on: set up, an account linked with a subject, logged in by it, with our own second factor after it, and an account that is made by a rule.
// Console and provider are of two sites, as they are elsewhere: localhost and 127.0.0.1.
import assert from 'node:assert/strict';

import {calm, noFaults, prove} from './browser.mjs';
import {until} from './harness.mjs';
import {packages, Provider} from './provider.mjs';
import {choose, dialog, officer, stage, stale} from './stage.mjs';

stage(
  'single sign-on',
  async (here) => {
    here.missing = packages() ? '' : "npm can't fetch oidc-provider";
    if (here.missing) {
      return;
    }
    const {manager, browser} = here;
    browser.origin = `https://localhost:${manager.port}`;
    here.provider = await new Provider().start(browser.origin);
    here.close = () => here.provider.close();
    browser.others = [here.provider.origin];
    for (const name of ['t0', 't1']) {
      await manager.must('POST', 'tenants', {name});
    }
    Object.assign(here, await officer(here));
    here.linda = await manager.person('linda', [{role: 'auditor', at: '*'}]);
  },
  (here, walkThere) => {
    const walk = (name, work) => walkThere(name, (t) => (here.missing ? t.skip(here.missing) : work()));
    /** From the login page over the provider and back, in a window of its own. */
    const come = async (options = {}) => {
      const page = await here.browser.open(options);
      await page.goto('/');
      await page.getByRole('link', {name: 'Log in with The House'}).click();
      return page;
    };

    walk('it is set up, and the secret is not shown again', async () => {
      const {page, provider, manager} = here;
      await manager.must('PATCH', 'settings/accounts', {console_url: here.browser.origin});
      await page.goto('/settings?tab=oidc');
      await page.getByLabel('People can log in by OpenID Connect').click();
      await page.getByLabel('Name for the login page').fill('The House');
      await page.getByLabel('Issuer').fill(provider.origin);
      await page.getByLabel('Client', {exact: true}).fill('bulkhead');
      await page.getByLabel('Secret of the client').fill('a secret of the client');
      await page.getByLabel('Certificate authority of the provider').fill(provider.ca);
      await page.getByLabel('Make an account at the first login').click();
      await page.getByLabel('Tenant of new accounts').fill('t0');
      await page.getByRole('button', {name: 'Add a rule'}).click();
      await page.getByLabel('Value of the claim').fill('ops');
      await choose(page, page.getByRole('combobox', {name: 'Role', exact: true}), 'tenant operator');
      await choose(page, page.getByRole('combobox', {name: 'At', exact: true}), 't0');
      await page.getByRole('button', {name: 'Save'}).click();
      await page.getByText('There is one; leave this empty to keep it.').waitFor();
      await page.getByText(`${here.browser.origin}/v1/login/oidc/callback`).waitFor();
      const kept = await manager.must('GET', 'settings/oidc');
      assert.deepEqual([kept.enabled, kept.issuer, kept.client_secret_set, kept.create, kept.tenant], [true, provider.origin, true, true, 't0']);
      assert.deepEqual(kept.rules.map((r) => [r.value, r.role, r.at]), [['ops', 'tenant-operator', 't0']]);
      // once more, with another name only: the secret stays
      await page.getByLabel('Methods that count as a second factor').fill('hwk');
      await page.keyboard.press('Enter');
      await page.getByRole('button', {name: 'Save'}).click();
      await until('the method', async () => (await manager.must('GET', 'settings/oidc')).amr.includes('hwk'));
      assert.ok((await manager.must('GET', 'settings/oidc')).client_secret_set);
      noFaults(page);
    });

    walk('who has no account there is told so', async () => {
      await here.provider.be('nobody-knows');
      const page = await come();
      await page.getByText('there is no account for you here').waitFor();
      await page.context().close();
    });

    walk('an account is linked, and let in', async () => {
      const {page, manager, provider} = here;
      await page.goto('/users/linda');
      await calm(page);
      const links = page.getByRole('region', {name: 'Single sign-on'});
      await links.getByText('No account of the provider is this user.').waitFor();
      await links.getByLabel('Subject at the provider').fill('sub-of-linda');
      await links.getByRole('button', {name: 'Link'}).click();
      await links.getByRole('row', {name: /sub-of-linda/}).waitFor();
      assert.deepEqual((await manager.must('GET', 'users/linda/oidc')).items, [{issuer: provider.origin, subject: 'sub-of-linda'}]);
      noFaults(page);

      await provider.be('sub-of-linda');
      const linda = await come();
      await linda.getByRole('button', {name: 'Not now'}).click(); // her roles hold what wants a second factor
      await linda.locator('.shell').waitFor();
      await linda.getByRole('button', {name: 'linda'}).waitFor();
      noFaults(linda);
      here.lindaPage = linda;
    });

    walk('her own second factor is asked for after it', async () => {
      const {manager, linda, browser} = here;
      const answer = await manager.ask('/v1/login', {method: 'POST', body: {user: 'linda', password: linda.password, bearer: true}});
      const app = await manager.enrol({Authorization: `Bearer ${answer.body.token}`});
      const page = await come();
      await page.locator('.code-input').waitFor();
      assert.equal(await page.getByRole('link', {name: 'Log in with The House'}).count(), 0);
      await prove(page, app);
      await page.locator('.shell').waitFor();
      assert.equal(new URL(page.url()).origin, browser.origin);
      noFaults(page);
      await page.context().close();
    });

    walk('a link that goes ends what she has open', async () => {
      const {page, lindaPage} = here;
      await page.goto('/users/linda');
      const links = page.getByRole('region', {name: 'Single sign-on'});
      await links.getByRole('button', {name: 'Remove the link'}).click();
      await page.getByRole('tooltip').getByRole('button', {name: 'OK'}).click();
      await links.getByText('No account of the provider is this user.').waitFor();
      await lindaPage.goto('/alerts');
      await lindaPage.locator('#user').waitFor();
      noFaults(page);
    });

    walk('an account is made by a rule', async () => {
      const {provider, manager} = here;
      await provider.be('newcomer', {groups: ['ops']});
      const page = await come();
      await page.getByText('First a second factor').or(page.locator('.shell')).first().waitFor();
      const made = await manager.must('GET', 'users/newcomer@t0');
      assert.deepEqual(made.roles.map((r) => r.role), ['tenant-operator']);
      noFaults(page);
    });

    walk('before a dangerous act she shows herself anew at the provider: self-service of a tenant is switched', async () => {
      const {manager, provider} = here;
      await manager.must('PUT', 'users/anna/oidc', {subject: 'sub-of-anna'});
      await provider.be('sub-of-anna', {amr: ['hwk']}); // counts as a second factor
      const page = await come();
      await page.locator('.shell').waitFor();
      await stale(manager, page);
      const self = page.getByRole('switch', {name: 'Self-service of t1'});
      await page.goto('/settings');
      await self.click();
      await dialog(page).getByRole('button', {name: 'Show it at the provider; come back and try again'}).click();
      // Asked in the console only: the page on the way back from the provider may load nothing.
      const age = async () => ((await page.locator('.shell').count()) ? page.evaluate(async () => (await (await fetch('/v1/session')).json()).second_factor.age_s) : Infinity);
      await until('a fresh proof', async () => (await age()) < 30);
      await manager.must('PATCH', 'settings/accounts', {fresh_s: 3600});
      await page.goto('/settings');
      await self.click();
      await until('no self-service', async () => (await manager.must('GET', 'tenants/t1')).self_service === false);
      await until('the switch to say so', async () => (await self.getAttribute('aria-checked')) === 'false');
      await self.click();
      await until('self-service', async () => (await manager.must('GET', 'tenants/t1')).self_service !== false);
      noFaults(page);
    });

    walk('who logs out is led to the provider, and comes back to the login', async () => {
      const {provider, manager, browser} = here;
      await here.page.goto('/settings?tab=oidc');
      await here.page.getByLabel('Who logs out here is led to the provider to log out there too').click();
      await here.page.getByRole('button', {name: 'Save'}).click();
      await until('the setting', async () => (await manager.must('GET', 'settings/oidc')).logout);
      const page = await come(); // of sessions from before nothing is kept that the provider would know
      await calm(page);
      await page.locator('.top-person').click();
      await page.getByRole('menuitem', {name: 'Log out'}).click();
      await page.waitForURL(`${provider.origin}/**`);
      await page.locator('button[name=logout]').click();
      await page.locator('#user').waitFor();
      assert.equal(new URL(page.url()).origin, browser.origin);
      await page.goto('/inventory');
      await page.locator('#user').waitFor(); // nobody is logged in
    });
  },
);

// SPDX-License-Identifier: Apache-2.0
// What walks stand on: a manager of their own with a browser before it, and how things of the console are taken hold of.
import {after, before, describe, it} from 'node:test';

import {Browser, login, missing} from './browser.mjs';
import {Manager, until} from './harness.mjs';

/** Every right that a person can hold, at both tenants of world.mjs. */
export const OFFICER = [
  {role: 'provider-admin', at: '*'},
  {role: 'security-officer', at: '*'},
  {role: 'auditor', at: '*'},
  {role: 'tenant-admin', at: 't0'},
  {role: 'tenant-admin', at: 't1'},
];

/** A suite. prepare fills the stage, walks(stage, walk) says what is walked; the stage has manager and browser. */
export function stage(name, prepare, walks) {
  describe(name, {skip: missing() || false}, () => {
    const here = {};
    before(async () => {
      here.manager = await new Manager().start();
      here.browser = await new Browser().start(here.manager);
      await prepare(here);
    });
    after(async () => {
      await here.close?.();
      await here.browser?.close();
      await here.manager?.close();
    });
    walks(here, (what, work) => it(what, (t) => here.browser.watched(what, work)(t)));
  });
}

/** Somebody with all rights of OFFICER and an app for codes, on the first page. */
export async function officer({manager, browser}, name = 'anna') {
  await manager.must('PATCH', 'settings/accounts', {fresh_s: 3600}); // of a slow machine, too, one proof lasts for the suite
  const person = await manager.person(name, OFFICER, {app: true});
  const page = await browser.open();
  await login(page, person);
  return {person, page};
}

/** The dialog that lies above the others. */
export const dialog = (page) => page.getByRole('dialog').last();

/** Chooses in a select of Ant Design, whose list is elsewhere in the page and holds only what is in sight of it. */
export async function choose(page, field, option) {
  await field.click({force: true});
  const list = page.locator('.ant-select-dropdown:not(.ant-select-dropdown-hidden)').last();
  const wanted = list.getByTitle(option, {exact: true});
  await until(option, async () => {
    await list.locator('.rc-virtual-list-holder').evaluate((e, far) => (e.scrollTop += far), (await wanted.count()) ? 0 : 150);
    return wanted.count();
  });
  await wanted.click();
}

/** Opens the menu of further acts and chooses one. */
export async function more(page, act) {
  await page.getByRole('button', {name: 'Actions', exact: true}).click();
  await page.getByRole('menuitem', {name: act, exact: true}).click();
}

/** Until the second factor of that page's session is older than what counts as fresh (30 s is the least): dangerous acts ask for it anew. */
export async function stale(manager, page) {
  await manager.must('PATCH', 'settings/accounts', {fresh_s: 30});
  const age = () => page.evaluate(async () => (await (await fetch('/v1/session')).json()).second_factor.age_s);
  await until('a factor that is no longer fresh', async () => (await age()) > 30, 120);
}

/** The whole text of the policy editor, anew, as somebody pastes it. */
export async function write(page, text) {
  const editor = page.locator('.cm-content');
  await editor.click();
  await page.keyboard.press('Control+a');
  await editor.evaluate((e, pasted) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData('text/plain', pasted);
    e.dispatchEvent(new ClipboardEvent('paste', {clipboardData, bubbles: true, cancelable: true}));
  }, text);
  await page.locator('.editor-status .good').waitFor();
}

/** Commits what the editor holds, at once and for good. */
export async function commit(page) {
  await choose(page, page.getByRole('combobox', {name: 'Confirmation'}), 'at once for good');
  await page.getByRole('button', {name: 'Commit', exact: true}).click();
}

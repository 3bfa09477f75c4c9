// SPDX-License-Identifier: Apache-2.0
// Pictures of every page of the console with much on it, for somebody to look at: 480 VMs of 16 tenants, thousands of flows, some moves of VMs.
// Judges nothing but what pages.test.mjs does, and says so at the end.
//
//	BULKHEAD_BUILD=build node tests/ui/pictures.mjs FOLDER [--look NAME].. [--page PART-OF-PATH] [--small]
import {mkdirSync} from 'node:fs';
import {parseArgs} from 'node:util';

import {BigWorld, SMALL} from '../bench/big.mjs';
import {Browser, calm, login, look} from './browser.mjs';
import {until} from './harness.mjs';
import {OFFICER} from './stage.mjs';
import {PAGES} from './world.mjs';

const MUCH = {hosts: 24, vms: 20, tenants: 16, policies: 96, flows: 6000, alerts: 150, users: 40, acts: 60, commits: 12, sessions: 0};
const NARROW = {width: 390, height: 844};
const LOOKS = {
  'wide-light': {},
  'wide-dark': {dark: true},
  'wide-light-zh': {locale: 'zh-CN'},
  'wide-dark-zh': {dark: true, locale: 'zh-CN'},
  'narrow-light': NARROW,
  'narrow-dark': {...NARROW, dark: true},
  'narrow-light-zh': {...NARROW, locale: 'zh-CN'},
  'narrow-dark-zh': {...NARROW, dark: true, locale: 'zh-CN'},
};

function pathsOf(world) {
  const vm = `/vms/${world.vms[0].uuid}`;
  const settings = ['accounts', 'alerts', 'oidc'].map((tab) => `/settings?tab=${tab}`);
  const policies = ['/policies/t1/p1', '/policies/edit?policy=t1/p1', '/policies/watched'];
  const more = ['/inventory?by=host', '/inventory?q=nothing-like-it', '/map?by=labels', '/map?by=vm&view=table', '/map?by=vm&tenant=t1', '/users/officer'];
  const tabs = ['', '?tab=flows', '?tab=events', '?tab=policy', '?tab=snapshots', '?tab=history'].map((tab) => vm + tab);
  const fits = (path) => !path.includes('t0/web') && !path.includes('view=tenant');
  return [...PAGES.filter(fits), ...policies, ...more, ...settings, ...tabs];
}

/** One of each way that a move of a VM can end, and one that goes on. */
async function moves(world) {
  await world.must('PUT', 'hosts/sim23/maintenance', {on: true, reason: 'new memory'});
  const on0 = world.vms.filter((vm) => vm.host === 'sim0');
  world.move(on0[1], 1, 'done');
  world.move(on0[2], 2, 'copying');
  world.move(on0[3], 1, 'failed');
  world.move(on0[4], 23, 'done');
  await until('the moves', async () => (await world.must('GET', 'migrations')).items.filter((m) => m.state !== 'asked').length >= 4);
}

const fileOf = (path) => path.replace(/0{8}-[-0-9a-f]+/, 'vm').replace(/[^A-Za-z0-9]+/g, '-').replace(/^-|-$/g, '') || 'overview';

/** What is wrong with that page, as words; its picture is there either way. */
async function take(page, path, file) {
  let wrong = '';
  await look(page, path).catch((e) => (wrong = `${path}: ${e.message.split('\n')[0]}`));
  if (path.startsWith('/map') && !path.includes('table')) {
    await page.locator('[data-drawn=yes]').waitFor().catch(() => (wrong ||= `${path}: not drawn`));
  }
  await calm(page).catch(() => {});
  await page.screenshot({path: file});
  return wrong;
}

const {values, positionals} = parseArgs({
  options: {look: {type: 'string', multiple: true}, page: {type: 'string', default: ''}, small: {type: 'boolean'}},
  allowPositionals: true,
});
const [folder] = positionals;
const looks = values.look ?? Object.keys(LOOKS);
if (!folder || !looks.every((name) => LOOKS[name])) {
  console.error(`usage: pictures.mjs FOLDER [--look NAME].. [--page PART-OF-PATH] [--small]; looks are ${Object.keys(LOOKS).join(', ')}`);
  process.exit(2);
}
mkdirSync(folder, {recursive: true});
const world = new BigWorld(values.small ? {...SMALL, tenants: 2, sessions: 0} : MUCH);
const browser = new Browser();
const wrong = [];
try {
  await world.start();
  await world.fill();
  await world.must('PATCH', 'settings/accounts', {fresh_s: 3600});
  if (!values.small) {
    await moves(world);
  }
  await browser.start(world);
  const first = await browser.open();
  await login(first, await world.person('anna', OFFICER, {app: true, display: 'Anna Officer'}));
  for (const name of looks) {
    const page = await browser.open({...LOOKS[name], like: first});
    for (const path of pathsOf(world).filter((p) => p.includes(values.page))) {
      wrong.push(await take(page, path, `${folder}/${name}-${fileOf(path)}.png`));
    }
    await page.context().close();
  }
} finally {
  await browser.browser?.close();
  await world.close();
}
console.log(['pictures are in', folder, ...wrong.filter(Boolean).map((w) => `\n  ${w}`)].join(' '));

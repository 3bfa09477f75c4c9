// SPDX-License-Identifier: Apache-2.0
// A real Chromium whose pages report everything that should not be: errors, violations of the Content-Security-Policy, foreign requests.
import assert from 'node:assert/strict';
import {existsSync} from 'node:fs';
import {createRequire} from 'node:module';

import {DIST, ROOT, until} from './harness.mjs';

const CHROMIUM = process.env.BULKHEAD_CHROMIUM ?? '/usr/bin/chromium';
const SLOW_MS = 1000 * Number(process.env.BULKHEAD_UI_PATIENCE ?? 60); // a busy machine is no failure

/** Why nothing can be looked at here; '' when it can. */
export const missing = () =>
  !existsSync(CHROMIUM)
    ? `no ${CHROMIUM}`
    : !existsSync(`${ROOT}/ui/node_modules/playwright-core`)
      ? 'no playwright-core: npm --prefix ui ci'
      : !existsSync(`${DIST}/index.html`)
        ? `no console in ${DIST}: npm --prefix ui run build`
        : '';

function watch(page, own) {
  page.faults = [];
  page.on('pageerror', (e) => page.faults.push(`error: ${e.message}`));
  page.on('dialog', (d) => {
    page.faults.push(`a dialog of the browser: ${d.message()}`);
    void d.dismiss();
  });
  page.on('console', (m) => {
    // refusals that the page shows; the browser writes each to its console by itself
    if (m.type() === 'error' && !/the server responded with a status of (4|5)\d\d/.test(m.text())) {
      page.faults.push(`console: ${m.text()}`);
    }
  });
  page.on('request', (r) => {
    if (!own.some((origin) => r.url().startsWith(`${origin}/`)) && !/^(data|blob):/.test(r.url())) {
      page.faults.push(`a request to ${r.url()}`);
    }
  });
}

/** The name of a picture's file. */
const fileOf = (name) => name.replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-|-$/g, '').slice(0, 80) || 'first';

export class Browser {
  others = []; // origins beside the manager's that a page may go to

  async start(manager) {
    const {chromium} = createRequire(`${ROOT}/ui/package.json`)('playwright-core');
    this.origin = `https://127.0.0.1:${manager.port}`;
    this.browser = await chromium.launch({
      executablePath: CHROMIUM,
      timeout: SLOW_MS,
      args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
    });
    return this;
  }

  /** A window of its own, with nobody logged in; like: another page, whose session it takes over. */
  async open({width = 1440, height = 900, dark = false, locale = 'en-GB', like = null} = {}) {
    const context = await this.browser.newContext({
      baseURL: this.origin,
      ignoreHTTPSErrors: true,
      viewport: {width, height},
      colorScheme: dark ? 'dark' : 'light',
      locale,
      reducedMotion: 'reduce',
    });
    context.setDefaultTimeout(SLOW_MS);
    if (like) {
      await context.addCookies(await like.context().cookies());
    }
    await context.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (e) =>
        console.error(`CSP: ${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber} ${e.sample}`),
      );
    });
    const page = await context.newPage();
    watch(page, [this.origin, ...this.others]);
    return page;
  }

  /** A walk; when it fails and BULKHEAD_UI_PICTURES names a folder, what every window showed is there. */
  watched(name, work) {
    return async (t) => {
      try {
        await work(t);
      } catch (e) {
        const folder = process.env.BULKHEAD_UI_PICTURES;
        const pages = folder ? this.browser.contexts().flatMap((c) => c.pages()) : [];
        await Promise.all(pages.map((p, i) => p.screenshot({path: `${folder}/failed-${fileOf(name)}-${i}.png`})));
        throw e;
      }
    };
  }

  async close() {
    await this.browser.close();
  }
}

/** Fills in the form of the login. */
export async function enter(page, name, password) {
  await page.goto('/');
  await page.locator('#user').fill(name);
  await page.locator('#password').fill(password);
  await page.locator('button[type=submit]').click();
}

/** A code of the app into the form that asks for it. */
export async function prove(place, app) {
  await place.locator('.code-input').fill(await app.code());
  await place.locator('button[type=submit]').click();
}

/** Somebody who has been here before, to the first page. */
export async function login(page, person) {
  await enter(page, person.name, person.password);
  if (person.app) {
    await prove(page, person.app);
  }
  await page.locator('.shell').waitFor();
}

/** A page that is there and waits for nothing any more. */
export async function calm(page) {
  await page.locator('.page-name').waitFor();
  await until('the end of waiting', () => page.evaluate(() => !document.querySelector('.waiting, .ant-spin-spinning, .ant-skeleton')));
}

export const noFaults = (page, where = '') => assert.deepEqual(page.faults, [], where);

/** Nothing is in the way of looking at that page. fresh: it is loaded from nothing, else gone to as a link does. */
export async function look(page, path, fresh = false) {
  page.faults.length = 0;
  if (fresh || !page.url().startsWith('https:')) {
    await page.goto(path);
  } else {
    await page.evaluate((to) => {
      history.pushState(null, '', to);
      dispatchEvent(new PopStateEvent('popstate', {state: null}));
    }, path);
  }
  await calm(page);
  noFaults(page, path);
  assert.deepEqual(await page.locator('.failure').allInnerTexts(), [], path);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 1, `${path} is ${wide} px wider than the window`);
}

// SPDX-License-Identifier: Apache-2.0
// The console in Chromium: first paint with nothing in the cache, and each big page until it shows what it is about.
import {Browser, calm, login, missing} from '../ui/browser.mjs';
import {ascending, percentile} from './big.mjs';

const s = (ms) => `${(ms / 1000).toFixed(2)} s`;

function print(what, times, aim) {
  const sorted = ascending(times);
  console.log(`${what.padEnd(40)} least ${s(sorted[0])}, median ${s(percentile(sorted, 0.5))}, most ${s(sorted.at(-1))} of ${times.length}${aim ? ` (aim ${s(aim)})` : ''}`);
}

/** First contentful paint, by the browser's own clock. */
const firstPaint = (page) =>
  page.evaluate(
    () =>
      new Promise((resolve) => {
        new PerformanceObserver((list, observer) => {
          const paint = list.getEntriesByName('first-contentful-paint')[0];
          if (paint) {
            observer.disconnect();
            resolve(paint.startTime);
          }
        }).observe({type: 'paint', buffered: true});
      }),
  );

/** A window of its own has a cache of its own, which is empty. The first paint, and when there is something to do. */
async function paint(browser, shown, like) {
  const page = await browser.open({like});
  await page.goto('/');
  await page.locator(shown).waitFor();
  const there = await page.evaluate(() => performance.now());
  const first = await firstPaint(page);
  await page.context().close();
  return {first, there};
}

async function paints(browser, rounds, who, shown, like) {
  const times = await repeat(rounds, () => paint(browser, shown, like));
  print(`console: first paint, ${who}`, times.map((t) => t.first), 1500);
  print(`console: ${shown} there, ${who}`, times.map((t) => t.there));
}

/** From the address bar of somebody who has been here before: the console's files are in the cache, nothing else is. */
async function opened(page, path, shown) {
  await page.goto('/me');
  await calm(page);
  const begun = performance.now();
  await page.goto(path);
  await page.locator(shown).first().waitFor();
  return performance.now() - begun;
}

async function repeat(rounds, work) {
  const times = [];
  for (let i = 0; i < rounds; i++) {
    times.push(await work());
  }
  return times;
}

export async function console_(world, rounds) {
  const why = missing();
  if (why) {
    console.log(`console: not measured: ${why}`);
    return;
  }
  const browser = await new Browser().start(world);
  try {
    const page = await browser.open();
    await login(page, world.viewer);
    await paints(browser, rounds, 'nobody logged in', '#user');
    await paints(browser, rounds, 'logged in', '.shell', page);
    for (const by of ['', '?by=labels', '?by=vm', '?by=vm&tenant=t1']) {
      print(`console: /map${by} drawn`, await repeat(rounds, () => opened(page, `/map${by}`, '[data-drawn=yes]')), 2000);
    }
    for (const path of ['/inventory', '/hosts', '/policies', '/policies/rules', '/events', '/alerts', '/audit', '/users']) {
      print(`console: ${path} with rows`, await repeat(rounds, () => opened(page, path, '.ant-table-row, .tree-row, [role=treeitem]')));
    }
  } finally {
    await browser.close();
  }
}

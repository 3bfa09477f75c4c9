// SPDX-License-Identifier: Apache-2.0
// Live consoles: event streams over HTTPS, each with a session of its own. What they cost in memory, and an event that all of them read
// in CPU of the manager.
import {request} from 'node:https';

import {until} from '../ui/harness.mjs';
import {ascending, each, percentile} from './big.mjs';

const PER_USER = 25; // sessions; MANAGER_SESSIONS_MAX is 32. From an address of his own: the manager has a limit for each
const EVENTS = 50;
const TYPE = 'bench.tick';

class Console {
  constructor(world, headers, localAddress) {
    this.seen = 0;
    this.open = new Promise((resolve, reject) => {
      const options = {localAddress, host: '127.0.0.1', port: world.port, path: `/v1/events?type=${TYPE}`, headers: {...headers, Accept: 'text/event-stream'}};
      this.req = request({...options, rejectUnauthorized: false, agent: false}, (res) => {
        res.setEncoding('utf8');
        res.on('data', (d) => {
          this.seen += d.split(`event: ${TYPE}`).length - 1;
          this.at = performance.now();
        });
        res.on('error', () => {}); // we end it
        res.statusCode === 200 ? resolve() : reject(new Error(`a stream: ${res.statusCode}`));
      });
      this.req.on('error', reject);
      this.req.end();
    });
  }
}

async function people(world, count) {
  const list = [];
  await each(count, async (n) => {
    list[n] = await world.person(`live${n}`, [{role: 'auditor', at: '*'}]);
  });
  return list;
}

export async function sessions(world) {
  const count = world.size.sessions;
  const watchers = await people(world, Math.ceil(count / PER_USER));
  const headers = [];
  await each(count, async (n) => {
    headers[n] = await world.bearer(watchers[n % watchers.length]);
  });
  const before = world.memory();
  const consoles = headers.map((h, n) => new Console(world, h, `127.0.1.${1 + (n % watchers.length)}`));
  await Promise.all(consoles.map((c) => c.open));
  /** Milliseconds until the last has it. */
  const tick = async (seen) => {
    const begun = performance.now();
    world.event(0, {type: TYPE, severity: 'info'});
    await until('all consoles', () => consoles.every((c) => c.seen >= seen));
    return Math.max(...consoles.map((c) => c.at)) - begun;
  };
  await tick(1);
  const memory = (world.memory() - before) / count;
  const idle = await idleCpu(world, 2000);
  const cpu = world.cpu();
  const begun = performance.now();
  const delays = [];
  for (let n = 0; n < EVENTS; n++) {
    delays.push(await tick(2 + n));
  }
  const spent = world.cpu() - cpu - (idle * (performance.now() - begun)) / 1000;
  const sorted = ascending(delays);
  const costs = `${(memory / 1024).toFixed(0)} KiB of the manager each, ${(spent / EVENTS).toFixed(2)} ms of its CPU for an event that all read`;
  const late = `the last has it after ${percentile(sorted, 0.5).toFixed(0)} ms (p50), ${percentile(sorted, 0.99).toFixed(0)} ms (p99)`;
  console.log(`sessions: ${count} live streams over TLS: ${costs}; ${late}; idle ${(idle / 10).toFixed(2)} % of a core`);
  for (const c of consoles) {
    c.req.destroy();
  }
}

/** CPU of the manager in ms for each second in which nothing is done. */
async function idleCpu(world, ms) {
  const cpu = world.cpu();
  const begun = performance.now();
  await new Promise((resolve) => setTimeout(resolve, ms));
  return ((world.cpu() - cpu) / (performance.now() - begun)) * 1000;
}

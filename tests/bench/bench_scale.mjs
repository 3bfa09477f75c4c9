// SPDX-License-Identifier: Apache-2.0
// A real manager with 10,000 VMs on 200 simulated hosts and 1,000 policies: lists of its API, its console in Chromium, live sessions.
// Prints both sides of each aim; judges nothing.
//
//	BULKHEAD_BUILD=build node tests/bench/bench_scale.mjs [--small] [--set NAME=NUMBER].. [--rounds N] [lists] [console] [sessions]
import {parseArgs} from 'node:util';

import {BigWorld, LARGE, SMALL} from './big.mjs';
import {console_} from './scale_console.mjs';
import {lists} from './scale_lists.mjs';
import {sessions} from './scale_sessions.mjs';

const PARTS = {
  lists: (world, rounds) => lists(world, rounds ?? 100),
  console: (world, rounds) => console_(world, rounds ?? 7),
  sessions,
};

const {values, positionals} = parseArgs({options: {small: {type: 'boolean'}, rounds: {type: 'string'}, set: {type: 'string', multiple: true, default: []}}, allowPositionals: true});
const parts = positionals.length ? positionals : Object.keys(PARTS);
for (const part of parts) {
  if (!PARTS[part]) {
    console.error(`bench_scale: there is no part '${part}': ${Object.keys(PARTS).join(', ')}`);
    process.exit(2);
  }
}
const size = {...(values.small ? SMALL : LARGE)};
for (const [name, number] of values.set.map((s) => s.split('='))) {
  if (!(name in size) || !(Number(number) >= 0)) {
    console.error(`bench_scale: --set takes NAME=NUMBER: ${Object.keys(size).join(', ')}`);
    process.exit(2);
  }
  size[name] = Number(number);
}
const world = new BigWorld(size);
try {
  const begun = performance.now();
  await world.start();
  await world.fill();
  const {hosts, vms, policies, flows} = world.size;
  console.log(`${hosts * vms} VMs on ${hosts} hosts, ${policies} policies, ${flows} flows made in ${((performance.now() - begun) / 1000).toFixed(0)} s; manager ${(world.memory() / 1e6).toFixed(0)} MB`);
  for (const part of parts) {
    await PARTS[part](world, values.rounds && Number(values.rounds));
  }
} finally {
  await world.close();
}

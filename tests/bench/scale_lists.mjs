// SPDX-License-Identifier: Apache-2.0
// Every list of the API, its first page: whole, as the console asks for it, and with each filter; as an officer of the provider and as
// the administrator of a tenant.
import {readFileSync} from 'node:fs';

import {ROOT} from '../ui/harness.mjs';
import {Client, ascending, percentile} from './big.mjs';

const AIM_MS = 150;
/** What is so slow is seen in fewer rounds. */
const PATIENCE_MS = 3000;

/** As the console asks for a page of VMs, by tenant, by host, and looking for something. */
const PAGE = ['groups=tenant&limit=50', 'groups=host&sort=host&limit=50', 'groups=tenant&limit=50&q=10.3.'];

/** Redirects, downloads without an end, and what has aims and benches of its own. */
const NO_LISTS = ['/login', '/login/oidc', '/login/oidc/callback', '/events:export', '/audit:export', '/map', '/policies:suggest', '/policies:explain'];

/** Every path of the description that is read without naming one thing. */
function paths() {
  const text = readFileSync(`${ROOT}/docs/api.yaml`, 'utf8');
  return [...text.matchAll(/^ {2}(\/[^{}\s]+):\n(?:(?! {2}\/).*\n)*? {4}get:/gm)].map((m) => m[1]).filter((p) => !NO_LISTS.includes(p));
}

function filtered(world) {
  const vm = world.vms[world.vms.length >> 1];
  const some = {
    hosts: ['limit=10000'],
    'enroll-tokens': ['limit=10000'],
    users: ['limit=10000', 'tenant=t1'],
    vms: ['limit=100', 'limit=10000', 'tenant=t1', `host=${vm.host}`, 'label=app%3Da1', 'label=app%3Da1,role%3Dweb', 'limit=100&offset=9000', ...PAGE],
    orders: [`vm=${vm.uuid}`, 'state=failed'],
    tenants: ['limit=10000'],
    networks: ['limit=10000'],
    identities: ['limit=10000'],
    policies: ['limit=10000', 'tenant=t1'],
    rules: ['limit=10000', 'tenant=t1', 'policy=p1', 'never=true', 'idle=1h'],
    drafts: ['limit=10000', 'tenant=t1'],
    commits: ['state=waiting', 'limit=500'],
    revisions: ['limit=500'],
    migrations: [`vm=${vm.uuid}`, 'open=true'],
    events: ['order=newest&limit=100', 'order=newest&severity=warning', `order=newest&vm=${vm.uuid}`, `order=newest&host=${vm.host}`, 'order=newest&q=spoof'],
    flows: ['order=newest&limit=100', 'order=newest&verdict=deny', 'order=newest&tenant=t1', `order=newest&q=${vm.nics[0].addresses[0]}`],
    alerts: ['limit=1', 'limit=500', 'state=open', 'severity=warning', 'tenant=t1', 'type=guard.spoof-ip', `vm=${vm.uuid}`, 'q=spoof', 'assignee=officer'],
    audit: ['limit=100', 'user=root', 'act=vm.labels', 'result=refused', 'q=nothing-like-it', 'since=1h', 'tenant=t1', `object=vm/${vm.uuid}`],
    requests: ['state=waiting'],
    sessions: ['limit=1000'],
  };
  return Object.entries(some).flatMap(([path, queries]) => queries.map((q) => `${path}?${q}`));
}

/** again: as somebody asks who has the answer (304). */
async function measure(world, client, path, rounds, again = false) {
  const got = await client.get(path);
  if (got.status !== 200) {
    return {path, status: got.status};
  }
  const headers = again ? {'If-None-Match': got.headers.etag} : {};
  const first = again ? await client.get(path, headers) : got;
  if (again && first.status !== 304) {
    throw new Error(`${path}: ${first.status} for an answer that is as before`);
  }
  const times = [];
  const begun = world.cpu();
  const end = performance.now() + PATIENCE_MS;
  while (times.length < rounds && performance.now() < end) {
    times.push((await client.get(path, headers)).ms);
  }
  const sorted = ascending(times);
  return {path: again ? `${path} as before` : path, status: 200, bytes: first.bytes, count: times.length, cpu: (world.cpu() - begun) / times.length, p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99)};
}

function print(who, r) {
  const label = `${who} ${r.path}`.padEnd(62);
  if (r.status !== 200) {
    console.log(`${label} ${r.status}`);
    return;
  }
  const ms = (n) => n.toFixed(1).padStart(7);
  console.log(`${label} p50 ${ms(r.p50)} ms, p99 ${ms(r.p99)} ms, CPU ${ms(r.cpu)} ms, ${r.bytes} bytes, ${r.count} times${r.p99 > AIM_MS ? '  MISSES' : ''}`);
}

export async function lists(world, rounds) {
  const asked = [...paths().map((p) => p.slice(1)), ...filtered(world)].sort();
  const missed = [];
  console.log(`lists: time and CPU of the manager for each answer, at most ${rounds} rounds or ${PATIENCE_MS / 1000} s each, aim p99 ${AIM_MS} ms`);
  for (const who of ['officer', 'tenant']) {
    const client = new Client(world, await world.bearer(world[who]));
    for (const path of asked) {
      const r = await measure(world, client, path, rounds);
      print(who, r);
      if (r.p99 > AIM_MS) {
        missed.push(`${who} ${path}`);
      }
    }
    for (const query of [...PAGE, 'limit=10000']) {
      print(who, await measure(world, client, `vms?${query}`, rounds, true));
    }
    client.close();
  }
  console.log(`lists: ${missed.length ? `above the aim: ${missed.join('; ')}` : 'all within the aim'}`);
}

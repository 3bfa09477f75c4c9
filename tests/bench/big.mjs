// SPDX-License-Identifier: Apache-2.0
// A big world for benches: the manager of tests/ui with simulated hosts, and of everything that it lists as much as a large place has.
import {readdirSync, readFileSync} from 'node:fs';
import {Agent, request} from 'node:https';

import {Manager, PASSWORD, must, until} from '../ui/harness.mjs';
import {ALL_ROLES} from '../ui/world.mjs';

export const LARGE = {hosts: 200, vms: 50, tenants: 50, policies: 1000, flows: 200000, alerts: 3000, users: 200, acts: 1000, commits: 50, sessions: 500};
export const SMALL = {hosts: 4, vms: 25, tenants: 5, policies: 20, flows: 500, alerts: 20, users: 4, acts: 10, commits: 3, sessions: 20};

const ROLES = ['web', 'app', 'db', 'cache'];

/** As tests/bench/simworld.c. */
function policy(n, tenants, port) {
  const slot = Math.floor(n / tenants);
  const role = Math.floor(slot / 5) % 4;
  return `kind: Policy
metadata: {name: p${n}, tenant: t${n % tenants}}
spec:
  selector: {matchLabels: {app: a${slot % 5}, role: ${ROLES[role]}}}
  ingress:
    - from: [{selector: {matchLabels: {app: a${slot % 5}, role: ${ROLES[(role + 1) % 4]}}}}]
      ports: [tcp/${port}, tcp/443]
    - {from: [{cidr: 192.0.2.0/24}], ports: [tcp/22]}
`;
}

/** The same numbers in each run. */
function* drawn(seed = 1) {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}

/** work(0) to work(count - 1), a few at a time, as several people would. */
export async function each(count, work) {
  let next = 0;
  const one = async () => {
    while (next < count) {
      await work(next++);
    }
  };
  await Promise.all(Array.from({length: 8}, one));
}

export class BigWorld extends Manager {
  constructor(size) {
    super();
    this.size = size;
  }

  async fill() {
    const {hosts, vms, tenants, policies, commits, users} = this.size;
    await this.simulate(hosts, vms, tenants);
    const documents = Array.from({length: policies}, (_, n) => policy(n, tenants, 1000));
    await this.must('POST', 'policies:apply?wait=60', documents.join('---\n'));
    for (let n = 0; n < commits; n++) {
      await this.must('POST', 'policies:apply', policy(n % policies, tenants, 2000 + n));
    }
    await each(users, (n) => this.must('POST', 'users', {name: `u${n}`, password: PASSWORD, role: 'tenant-viewer', at: `t${n % tenants}`}));
    this.officer = await this.person('officer', ALL_ROLES);
    this.viewer = await this.person('viewer', ALL_ROLES, {app: true}); // in a browser, which asks providers for a second factor
    this.tenant = await this.person('tenant', [{role: 'tenant-admin', at: 't1'}]);
    await this.acts();
    await this.happenings();
  }

  /** What people left behind. */
  async acts() {
    const {acts, tenants} = this.size;
    const mine = await this.bearer(this.tenant);
    const theirs = this.vms.filter((vm) => vm.tenant === 't1');
    await each(acts, async (n) => {
      await this.must('PATCH', `vms/${this.vms[n % this.vms.length].uuid}/labels`, {labels: {note: `n${n % 10}`}});
      await this.must('POST', 'enroll-tokens', {});
      if (n < 100 * tenants) {
        await this.must('POST', 'drafts', {tenant: `t${n % tenants}`, title: `draft ${n}`, documents: policy(n, tenants, 3000)});
      }
      if (n < 20) {
        await this.must('POST', 'requests', {kind: 'grant', verb: 'vm.labels', reason: `request ${n}`, hours: 1});
        await this.post('requests', mine, {kind: 'vm', tenant: 't1', reason: `request ${n}`, vm: {name: `new${n}`, cpus: 2}});
        await this.post('me/tokens', mine, {name: `token ${n}`, verbs: ['vm.read']});
        await this.must('POST', `vms/${theirs[n % theirs.length].uuid}:reboot?wait=0`);
      }
    });
  }

  /** Flows between any two, and alerts. */
  async happenings() {
    const {flows, alerts} = this.size;
    const draw = drawn();
    const any = (list) => list[Math.floor(draw.next().value * list.length)];
    const room = () => this.sim.stdin.writableLength < 1 << 20;
    for (let n = 0; n < flows; n++) {
      this.flow(any(this.vms), n % 4 ? any(this.vms) : `192.0.2.${n % 250}`, 22 + 37 * (n % 40), n % 4 === 1 ? 'deny' : 'allow');
      if (!room()) {
        await new Promise((resolve) => this.sim.stdin.once('drain', resolve));
      }
    }
    for (let n = 0; n < alerts; n++) {
      const vm = this.vms[n % this.vms.length];
      this.event(this.hostOf(vm), {type: 'guard.spoof-ip', severity: 'warning', vm: vm.uuid, vm_name: vm.name, nic: vm.nics[0].mac, src: '10.9.9.9', count: 3});
    }
    await until('the events', async () => (await this.must('GET', 'status')).events.stored >= flows + alerts, 300);
    await until('the alerts', async () => (await this.must('GET', 'alerts?limit=1')).total >= alerts);
  }

  async post(path, headers, body) {
    return must(await this.ask(`/v1/${path}`, {method: 'POST', headers, body}), path);
  }

  hostOf(vm) {
    return Number(vm.host.replace('sim', ''));
  }

  /** The headers of a session. */
  async bearer({name, password}) {
    return {Authorization: `Bearer ${(await this.post('login', {}, {user: name, password, bearer: true})).token}`};
  }

  /** CPU time of all of the manager's threads so far, in ms. */
  cpu() {
    const tasks = `/proc/${this.process.pid}/task`;
    return readdirSync(tasks).reduce((sum, task) => sum + Number(readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ')[0]) / 1e6, 0);
  }

  /** Resident memory of the manager, in bytes. */
  memory() {
    return 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${this.process.pid}/status`, 'utf8'))[1]);
  }
}

/** Somebody who asks again and again over one connection. */
export class Client {
  constructor(manager, headers) {
    this.options = {host: '127.0.0.1', port: manager.port, headers: {...headers, 'Accept-Encoding': 'gzip'}, rejectUnauthorized: false};
    this.agent = new Agent({keepAlive: true, maxSockets: 1});
  }

  /** Milliseconds until the whole answer is there. */
  get(path, headers = {}) {
    const begun = performance.now();
    return new Promise((resolve, reject) => {
      const req = request({...this.options, headers: {...this.options.headers, ...headers}, agent: this.agent, path: `/v1/${path}`}, (res) => {
        let bytes = 0;
        res.on('data', (d) => (bytes += d.length));
        res.on('end', () => resolve({status: res.statusCode, headers: res.headers, ms: performance.now() - begun, bytes}));
      });
      req.on('error', reject);
      req.end();
    });
  }

  close() {
    this.agent.destroy();
  }
}

/** The number below which so much of the sorted ones is. */
export const percentile = (sorted, p) => sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * p) - 1)];
export const ascending = (numbers) => [...numbers].sort((a, b) => a - b);

// SPDX-License-Identifier: Apache-2.0
// A real bulkheadd with its private bus and simulated hosts, in a folder of its own and on loopback; people who have an account there.
import {spawn} from 'node:child_process';
import {createHmac} from 'node:crypto';
import {mkdirSync, mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {request} from 'node:http';
import https from 'node:https';
import {createServer} from 'node:net';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const BUILD = process.env.BULKHEAD_BUILD ?? `${ROOT}/build`;
export const DIST = process.env.BULKHEAD_CONSOLE ?? `${ROOT}/ui/dist`;
export const PASSWORD = 'a long enough pass phrase';
export const FIRST = 'what somebody else chose'; // good for the first login only

const PATIENCE = Number(process.env.BULKHEAD_UI_PATIENCE ?? 60);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A busy machine is no failure: what is waited for comes, or something is broken. */
export async function until(what, wanted, seconds = PATIENCE) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    let problem;
    try {
      const got = await wanted();
      if (got) {
        return got;
      }
    } catch (e) {
      problem = e;
    }
    if (Date.now() > end) {
      throw problem ?? new Error(`waited ${seconds} s for ${what}`);
    }
    await sleep(50);
  }
}

export const freePort = () =>
  new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const {port} = server.address();
      server.close(() => resolve(port));
    });
  });

/** RFC 6238 with what authenticator apps use: SHA-1, 6 digits, 30 seconds. */
export function totp(secret, step) {
  const bits = [...secret.replace(/=+$/, '')].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('');
  const key = Buffer.from(bits.match(/.{8}/g).map((b) => parseInt(b, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac('sha1', key).update(counter).digest();
  const place = mac[19] & 15;
  return String((mac.readUInt32BE(place) & 0x7fffffff) % 1e6).padStart(6, '0');
}

/** An authenticator app. A code is good once, and the manager takes those of the step before and after this one. */
export class App {
  constructor(secret) {
    this.secret = secret;
    this.used = 0;
  }

  async code() {
    const now = () => Math.floor(Date.now() / 30000);
    await until('the next code', () => now() + 1 > this.used, 70);
    this.used = Math.max(this.used + 1, now());
    return totp(this.secret, this.used);
  }
}

const answerOf = (res, resolve) => {
  const chunks = [];
  res.on('data', (c) => chunks.push(c));
  res.on('end', () => {
    const data = Buffer.concat(chunks);
    const json = res.headers['content-type']?.startsWith('application/json') && data.length;
    resolve({status: res.statusCode, headers: res.headers, data, body: json ? JSON.parse(data.toString()) : data.toString()});
  });
};

const bodyOf = (body) => {
  const data = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
  const type = typeof body === 'string' ? 'text/yaml' : 'application/json';
  return {data, headers: data === undefined ? {} : {'Content-Type': type, 'Content-Length': Buffer.byteLength(data)}};
};

export function must({status, body}, what) {
  if (status >= 300) {
    throw new Error(`${what}: ${status} ${JSON.stringify(body)}`);
  }
  return body;
}

export class Manager {
  async start() {
    this.dir = mkdtempSync(join(tmpdir(), 'bh-ui-'));
    this.port = await freePort();
    this.vms = [];
    writeFileSync(
      `${this.dir}/manager.yaml`,
      `state_dir: ${this.dir}/state\nrun_dir: ${this.dir}/run\nlisten: 127.0.0.1:${this.port}\nconsole_dir: ${DIST}\nbus: {listen: "127.0.0.1:${await freePort()}"}\n`,
    );
    this.process = spawn(`${BUILD}/src/manager/bulkheadd`, ['-c', `${this.dir}/manager.yaml`], {stdio: ['ignore', 'pipe', 'pipe']});
    this.log = '';
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.on('data', (d) => (this.log = (this.log + d).slice(-20000)));
    }
    this.ended = new Promise((resolve) => this.process.on('exit', resolve));
    this.process.on('exit', (code, signal) => {
      if (!this.closing) {
        console.error(`bulkheadd has ended: ${code ?? signal}\n${this.log}`);
      }
    });
    await until('the manager', async () => (await this.api('GET', 'status')).body.bus.connected).catch((e) => {
      throw new Error(`${e.message}\n${this.log}`);
    });
    return this;
  }

  /** Over the unix socket, as root. */
  api(method, path, body) {
    const {data, headers} = bodyOf(body);
    return new Promise((resolve, reject) => {
      const req = request({socketPath: `${this.dir}/run/api.sock`, method, path: `/v1/${path}`, headers}, (res) => answerOf(res, resolve));
      req.on('error', reject);
      req.end(data);
    });
  }

  async must(method, path, body) {
    return must(await this.api(method, path, body), `${method} ${path}`);
  }

  /** Over HTTPS, as anybody. */
  ask(path, {method = 'GET', headers = {}, body} = {}) {
    const sent = bodyOf(body);
    return new Promise((resolve, reject) => {
      const options = {host: '127.0.0.1', port: this.port, path, method, headers: {...sent.headers, ...headers}, rejectUnauthorized: false, agent: false};
      const req = https.request(options, (res) => answerOf(res, resolve));
      req.on('error', reject);
      req.end(sent.data);
    });
  }

  /** Somebody with an account. new: has not chosen a password yet; app: has an authenticator. */
  async person(name, roles, {isNew = false, app = false, display = ''} = {}) {
    const [first, ...more] = roles;
    await this.must('POST', 'users', {name, password: FIRST, ...first, ...(display ? {display} : {})});
    for (const role of more) {
      await this.must('POST', `users/${name}/roles`, role);
    }
    if (isNew) {
      return {name, password: FIRST};
    }
    const bearer = async (password) => {
      const answer = await this.ask('/v1/login', {method: 'POST', body: {user: name, password, bearer: true}});
      return {Authorization: `Bearer ${must(answer, 'login').token}`};
    };
    const chosen = await this.ask('/v1/me/password', {method: 'POST', headers: await bearer(FIRST), body: {old: FIRST, new: PASSWORD}});
    must(chosen, 'a password of his own');
    return {name, password: PASSWORD, app: app ? await this.enrol(await bearer(PASSWORD)) : null};
  }

  async enrol(headers) {
    const {secret} = must(await this.ask('/v1/me/totp', {method: 'POST', headers, body: {}}), 'an authenticator');
    const app = new App(secret);
    must(await this.ask('/v1/me/totp:confirm', {method: 'POST', headers, body: {code: await app.code()}}), 'its code');
    return app;
  }

  // ---- simulated hosts

  async simulate(hosts, vms, tenants) {
    mkdirSync(`${this.dir}/sim`, {recursive: true});
    this.perHost = vms;
    const argv = [`${this.dir}/run/api.sock`, `${this.dir}/sim`, 0, hosts, vms, tenants].map(String);
    this.sim = spawn(`${BUILD}/tests/bench/simhosts`, argv, {stdio: ['pipe', 'pipe', 'inherit']});
    this.simEnded = new Promise((resolve) => this.sim.on('exit', resolve));
    await until('hosts in step', async () => {
      const {body} = await this.api('GET', 'status');
      return body.hosts.in_sync === hosts && body.counts.vms === hosts * vms;
    }, 300);
    this.vms = (await this.must('GET', 'vms?limit=10000')).items.sort((a, b) => a.uuid.localeCompare(b.uuid));
  }

  /** A line to the simulated hosts (tests/bench/simhosts_main.c). */
  tell(line) {
    this.sim.stdin.write(`${JSON.stringify(line)}\n`);
  }

  /** Until they have read what they were told: a line that is no order is answered. */
  heard() {
    return new Promise((resolve) => {
      this.sim.stdout.once('data', resolve);
      this.sim.stdin.write('?\n');
    });
  }

  /** What orders of the manager come to on that host (tests/bench/simorders.h). */
  async behave(host, orders) {
    this.tell({host, orders});
    await this.heard();
  }

  /** A VM travels to that host: done, copying (without an end) or failed (tests/bench/simhost.h). */
  move(vm, host, how) {
    const from = Number(vm.host.replace('sim', ''));
    this.tell({host, from, vm: parseInt(vm.uuid.slice(-12), 16) - from * this.perHost, moves: how});
  }

  event(host, event) {
    this.tell({host, event});
  }

  /** A flow from one VM to another or to an address outside, as the sender's host tells it. */
  flow(from, to, port, action = 'allow', more = {}) {
    const outside = typeof to === 'string';
    this.event(Number(from.host.replace('sim', '')), {
      type: action === 'allow' ? 'flow.new' : 'flow.refused',
      severity: action === 'allow' ? 'info' : 'notice',
      vm: from.uuid,
      vm_name: from.name,
      nic: from.nics[0].mac,
      net: from.nics[0].net,
      vlan: 0,
      dir: 'egress',
      action,
      reason: 'policy',
      proto: 'tcp',
      src: from.nics[0].addresses[0],
      sport: 40000,
      dst: outside ? to : to.nics[0].addresses[0],
      dport: port,
      src_identity: from.identity,
      dst_identity: outside ? 2 : to.identity,
      rule: 1,
      packets: [3, 2],
      bytes: [300, 200],
      count: 1,
      ...more,
    });
  }

  async close() {
    if (this.sim) {
      this.sim.stdin.end();
      await this.simEnded;
    }
    this.closing = true;
    this.process.kill('SIGTERM');
    await this.ended;
    rmSync(this.dir, {recursive: true, force: true});
  }
}

// SPDX-License-Identifier: Apache-2.0
// The provider of single sign-on of tests/e2e/oidc (npm's oidc-provider), for the console's login. Its packages are fetched once for each lock file, to
// where tests/e2e/test_oidc.py keeps them.
import {execFileSync, spawn} from 'node:child_process';
import {createHash} from 'node:crypto';
import {copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {createInterface} from 'node:readline';

import {freePort, ROOT} from './harness.mjs';

const HERE = `${ROOT}/tests/e2e/oidc`;
const FETCH_MS = 300_000;

/** The folder with the packages; '' when they can't be fetched. */
export function packages() {
  const lock = readFileSync(`${HERE}/package-lock.json`);
  const folder = join(tmpdir(), `bulkhead-oidc-${process.getuid()}-${createHash('sha256').update(lock).digest('hex').slice(0, 12)}`);
  if (!existsSync(`${folder}/done`)) {
    mkdirSync(folder, {recursive: true, mode: 0o700});
    for (const name of ['package.json', 'package-lock.json']) {
      copyFileSync(`${HERE}/${name}`, `${folder}/${name}`);
    }
    try {
      execFileSync('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'], {cwd: folder, stdio: 'ignore', timeout: FETCH_MS});
    } catch {
      return '';
    }
    writeFileSync(`${folder}/done`, '');
  }
  return folder;
}

export class Provider {
  /** console: the origin that people are sent back to. */
  async start(console) {
    const from = packages();
    this.dir = mkdtempSync(join(tmpdir(), 'bh-ui-oidc-'));
    this.port = await freePort();
    this.origin = `https://127.0.0.1:${this.port}`;
    copyFileSync(`${from}/package.json`, `${this.dir}/package.json`);
    symlinkSync(`${from}/node_modules`, `${this.dir}/node_modules`);
    const certificate = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=provider'];
    const files = ['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', `${this.dir}/key.pem`, '-out', `${this.dir}/cert.pem`];
    execFileSync('openssl', [...certificate, ...files], {stdio: 'ignore'});
    this.ca = readFileSync(`${this.dir}/cert.pem`, 'utf8');
    const argv = [`${HERE}/provider.mjs`, this.dir, String(this.port), `${console}/v1/login/oidc/callback`];
    this.process = spawn('node', argv, {stdio: ['pipe', 'pipe', 'ignore']});
    this.ended = new Promise((resolve) => this.process.on('exit', resolve));
    this.lines = createInterface({input: this.process.stdout});
    await this.said();
    return this;
  }

  said() {
    return new Promise((resolve, reject) => {
      this.lines.once('line', resolve);
      void this.ended.then(() => reject(new Error('the provider has ended')));
    });
  }

  /** Who sits before the provider from now on. */
  async be(login, more = {}) {
    const said = this.said();
    this.process.stdin.write(`${JSON.stringify({lie: '', amr: [], groups: [], login, ...more})}\n`);
    await said;
  }

  async close() {
    this.process.stdin.end();
    await this.ended;
    rmSync(this.dir, {recursive: true, force: true});
  }
}

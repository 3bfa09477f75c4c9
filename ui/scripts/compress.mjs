// SPDX-License-Identifier: Apache-2.0
// Puts .br and .gz twins beside what a browser loads, and holds the whole and what the first page loads to their limits, as they travel.
import {readFileSync, readdirSync, statSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {brotliCompressSync, constants, gzipSync} from 'node:zlib';

const LIMIT = 1_500_000;
const FIRST_LIMIT = 350_000;
const SMALL = 512; // smaller files gain nothing

function* files(dir) {
  for (const name of readdirSync(dir)) {
    const path = join(dir, name);
    if (statSync(path).isDirectory()) {
      yield* files(path);
    } else if (/\.(js|css|svg|json)$/.test(name)) {
      yield path;
    }
  }
}

const dist = process.argv[2];
const first = new Set([...readFileSync(join(dist, 'index.html'), 'utf8').matchAll(/(?:src|href)="\/([^"]+)"/g)].map((m) => join(dist, m[1])));
let total = 0;
let firstTotal = 0;
const count = (path, bytes) => {
  total += bytes;
  firstTotal += first.has(path) ? bytes : 0;
};
for (const path of files(dist)) {
  const data = readFileSync(path);
  if (data.length < SMALL) {
    count(path, data.length);
    continue;
  }
  const br = brotliCompressSync(data, {params: {[constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: data.length}});
  writeFileSync(`${path}.br`, br);
  writeFileSync(`${path}.gz`, gzipSync(data, {level: 9}));
  count(path, br.length);
}
console.log(`console: ${total} bytes compressed, ${LIMIT} at most; the first page ${firstTotal}, ${FIRST_LIMIT} at most`);
if (total > LIMIT || firstTotal > FIRST_LIMIT) {
  process.exit(1);
}

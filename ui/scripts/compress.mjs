// SPDX-License-Identifier: Apache-2.0
// Puts .br and .gz twins beside what a browser loads, and holds the whole to its limit: 1.5 MB as it travels.
import {readFileSync, readdirSync, statSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {brotliCompressSync, constants, gzipSync} from 'node:zlib';

const LIMIT = 1_500_000;
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

let total = 0;
for (const path of files(process.argv[2])) {
  const data = readFileSync(path);
  if (data.length < SMALL) {
    total += data.length;
    continue;
  }
  const br = brotliCompressSync(data, {params: {[constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: data.length}});
  writeFileSync(`${path}.br`, br);
  writeFileSync(`${path}.gz`, gzipSync(data, {level: 9}));
  total += br.length;
}
console.log(`console: ${total} bytes compressed, ${LIMIT} at most`);
if (total > LIMIT) {
  process.exit(1);
}

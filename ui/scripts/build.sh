#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# build.sh SOURCE OUTPUT: the console as files for bulkheadd, for meson.
set -eu
cd "$1"
out=$(realpath -m "${OLDPWD:-.}/$2")
if [ -z "$(find node_modules/.package-lock.json -newer package-lock.json 2> /dev/null)" ]; then
	npm ci --no-fund --no-audit --loglevel error
fi
npx tsc --noEmit
npx vite build --logLevel warn --emptyOutDir --outDir "$out"
node scripts/compress.mjs "$out"

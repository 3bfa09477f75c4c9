#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Packets per second: bare bridge, nftables, br_netfilter, Bulkhead. Prints both sides of each ratio.
# usage: bench_dataplane.sh BUILD_DIR [ROUNDS [MILLISECONDS [VARIANT]]]
set -eu
build=${1:?usage: bench_dataplane.sh BUILD_DIR [ROUNDS [MILLISECONDS [VARIANT]]]}
shift
if [ "$(id -u)" != 0 ]; then
	echo "skipped: network namespaces and BPF need root"
	exit 77
fi
echo "kernel $(uname -r), $(nproc) CPUs, load $(cut -d' ' -f1 /proc/loadavg)"
exec "$build/tests/bench/bench_dataplane" "$@"

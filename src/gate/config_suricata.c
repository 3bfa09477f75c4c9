/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings of Suricata that this program does not have, and is as they ask for: who comes from
 * there keeps a command line with `--set`. Those of how work is dealt and memory is laid out are
 * taken with any value; the others with the values that say what is done here, and passed over with
 * a warning otherwise. A `*` stands for one part of the key; behind the last dot for all that
 * follows. The first line that fits counts.
 */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "gate/config.h"

#define YES	"yes|true|on|1|auto|enabled"
#define NO	"no|false|off|0|auto|disabled"
#define ANY	NULL
#define NOTHING ""

static const struct {
	const char *key;
	/* that say what is done; ANY: it says nothing of what is found; NOTHING: none does */
	const char *values;
} taken[] = {
	{"mpm-algo", ANY},
	{"spm-algo", ANY},
	{"runmode", ANY},
	{"autofp-scheduler", ANY},
	{"max-pending-packets", ANY},
	{"default-packet-size", ANY},
	{"threading.*", ANY},
	{"detect.profile", ANY},
	{"detect.custom-values.*", ANY},
	{"detect.grouping.*", ANY},
	{"detect.profiling.*", ANY},
	{"detect.prefilter.default", ANY},
	{"detect.sgh-mpm-context", ANY},
	{"detect.sgh-mpm-caching", ANY},
	{"stream.memcap", ANY},
	{"stream.prealloc-sessions", ANY},
	{"stream.reassembly.segment-prealloc", ANY},
	{"flow.memcap", ANY},
	{"flow.prealloc", ANY},
	{"flow.emergency-recovery", ANY},
	{"flow.managers", ANY},
	{"flow.recyclers", ANY},
	{"defrag.prealloc", ANY},
	{"defrag.trackers", ANY},
	{"defrag.hash-size", ANY},
	{"host.*", ANY},
	{"ippair.*", ANY},
	{"datasets.defaults.hashsize", ANY},
	{"datasets.limits.*", ANY},
	{"ftp-hash.*", ANY},
	{"app-layer.protocols.*.memcap", ANY},
	{"logging.*", ANY},
	{"outputs.*", ANY},
	{"stats.enabled", ANY},
	{"profiling.*", ANY},
	{"security.*", ANY},
	{"engine-analysis.*", ANY},
	{"unix-command.enabled", ANY},
	{"sensor-name", ANY},
	{"pid-file", ANY},
	{"coredump.*", ANY},
	{"magic-file", ANY},
	{"af-packet.*", ANY},
	{"af-xdp.*", ANY},
	{"asn1-max-frames", ANY},
	{"daemon-directory", ANY},
	{"detect-engine.*", ANY},
	{"detect.guess-applayer-tx", ANY},
	{"detect.sgh-mpm-caching-path", ANY},
	{"detect.stream-tx-log-limit", ANY},
	{"detect.thresholds.hash-size", ANY},
	{"dpdk.*", ANY},
	{"flow.end-flow-timeout", ANY},
	{"flow.rate-tracking.*", ANY},
	{"heartbeat.*", ANY},
	{"ipfw.*", ANY},
	{"napatech.*", ANY},
	{"netmap.*", ANY},
	{"nflog.*", ANY},
	{"nfq.*", ANY},
	{"pcap-file.checksum-checks", YES},
	{"pcap-file.*", ANY},
	{"pcap.*", ANY},
	{"pfring.*", ANY},
	{"rule-reload", ANY},
	{"stats.*", ANY},
	{"stream.max-syn-queued", ANY},
	{"stream.max-synack-queued", ANY},
	{"stream.reassembly.max-regions", ANY},
	{"stream.reassembly.randomize-chunk-range", ANY},
	{"stream.reassembly.zero-copy-size", ANY},
	{"umask", ANY},

	{"stream.reassembly.raw", YES},
	{"stream.reassembly.check-overlap-different-data", YES},
	{"stream.reassembly.randomize-chunk-size", NO},
	{"bypass", NO},
	{"stream.bypass", NO},
	{"stream.memcap-policy", "ignore|auto"},
	{"stream.reassembly.memcap-policy", "ignore|auto"},
	{"flow.memcap-policy", "ignore|auto"},
	{"defrag.memcap-policy", "ignore|auto"},
	{"livedev.use-for-tracking", YES},
	{"decoder.recursion-level.use-for-tracking", YES},
	{"decoder.max-layers", "16"},
	{"multi-detect.enabled", NO},
	{"app-layer.protocols.tls.ja3-fingerprints", YES},
	{"app-layer.protocols.tls.ja4-fingerprints", YES},
	{"app-layer.protocols.quic.ja3-fingerprints", YES},
	{"app-layer.protocols.quic.ja4-fingerprints", YES},
	{"app-layer.protocols.ssh.hassh", YES},
	{"app-layer.protocols.dns.tcp.enabled", YES},
	{"app-layer.protocols.dns.udp.enabled", YES},
	{"app-layer.protocols.smtp.raw-extraction", NO},
	{"app-layer.protocols.smtp.mime.decode-base64", YES},
	{"app-layer.protocols.smtp.mime.decode-quoted-printable", YES},
	{"app-layer.protocols.smtp.mime.extract-urls", YES},
	{"app-layer.protocols.http.libhtp.default-config.personality", "IDS"},
	{"app-layer.protocols.http.libhtp.default-config.randomize-inspection-sizes", NO},

	{"app-layer.protocols.*", NOTHING},
	{"capture.checksum-validation", NOTHING},
	{"datasets.rules.*", NOTHING},
	{"decoder.*", NOTHING},
	{"defrag.host-config.*", NOTHING},
	{"detect.inspection-recursion-limit", NOTHING},
	{"detect.prefilter.*", NOTHING},
	{"firewall.*", NOTHING},
	{"geoip-database", NOTHING},
	{"host-mode", NOTHING},
	{"ips.*", NOTHING},
	{"landlock.*", NOTHING},
	{"legacy.*", NOTHING},
	{"livedev.*", NOTHING},
	{"lua.*", NOTHING},
	{"luajit.*", NOTHING},
	{"plugins", NOTHING},
	{"run-as.group", NOTHING},
	{"stream.liberal-timestamps", NOTHING},
	{"stream.reassembly.urgent.oob-limit-policy", NOTHING},
};

static bool key_fits(const char *pattern, const char *key)
{
	for (; *pattern && *pattern != '*'; pattern++, key++) {
		if (*pattern != *key) {
			return false;
		}
	}
	if (!*pattern) {
		return !*key;
	}
	if (!pattern[1]) {
		return *key;
	}
	return key_fits(pattern + 1, key + strcspn(key, "."));
}

static bool value_fits(const char *values, const char *value)
{
	size_t size = strlen(value);

	for (const char *v = values; v; v = strchr(v, '|') ? strchr(v, '|') + 1 : NULL) {
		if (strcspn(v, "|") == size && !strncmp(v, value, size)) {
			return true;
		}
	}
	return false;
}

int gate_config_of_suricata(const char *key, const char *value, bool *ret_known,
			    struct bh_diag *diag)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(taken); i++) {
		const char *values = taken[i].values;

		if (!key_fits(taken[i].key, key)) {
			continue;
		}
		*ret_known = true;
		if (!values || value_fits(values, value)) {
			return 0;
		}
		(void)(*values ? bh_diag_set(diag, -EINVAL,
					     "%s: '%.80s' can't be had; what is done here is %s",
					     key, value, values)
			       : bh_diag_set(diag, -EINVAL, "%s: means nothing here", key));
		return 1;
	}
	*ret_known = false;
	return 0;
}

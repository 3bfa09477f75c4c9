/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostd.yaml as a struct; docs/man/bulkhead-hostd.8 documents each key. Also host.json, which
 * enrolment writes: `{"name": "...", "bus": "tls://..."}`. Read once at start; strings are owned by
 * the struct.
 */
#ifndef BH_HOST_CONFIG_H
#define BH_HOST_CONFIG_H

#include "base/diag.h"
#include "base/util.h"
#include "host/dataplane/dataplane.h"

#include <stdbool.h>
#include <stdint.h>

#define HOSTD_CONFIG_PATH   "/etc/bulkhead/hostd.yaml"
#define HOSTD_URIS_MAX	    4
#define HOSTD_NAME_SIZE_MAX 100 /* of a renamed network */

struct hostd_net_name {
	char *bridge;
	char *name;
};

struct hostd_config {
	char *name; /* NULL: of host.json, else the machine's host name */
	char *state_dir;
	char *run_dir;
	char *pin_dir;	/* NULL: /sys/fs/bpf/bulkhead/v<ABI> */
	char *attach;	/* "auto", "tcx", "clsact" */
	char *fastpath; /* "auto", "off" */
	BH_VEC(char *) libvirt_uris;
	BH_VEC(char *) uplinks; /* shell patterns of device names */
	BH_VEC(struct hostd_net_name) networks;
	BH_VEC(char *) event_users; /* who may hand in events, besides root */
	uint64_t birth_timeout_s;
	uint64_t migrate_timeout_s;
	char *migrate_uri; /* of another host's libvirt, "%h" stands for its name */
	bool migrate_tls;
	bool refuse_unprotected;
	uint64_t spool_max_bytes;
	uint64_t ct_per_nic, reject_pps, event_pps;
	uint64_t size[HOSTD_DP_TABLE_COUNT];
	uint64_t timeout_s[BH_TIMEOUT_COUNT];
	char *dummy_dir; /* set by --dummy-platform, not by the file */
};

/* Free with hostd_config_done(), also after an error. */
[[nodiscard]] int hostd_config_load(const char *path, bool must_exist,
				    struct hostd_config *ret_config, struct bh_diag *diag);
void hostd_config_done(struct hostd_config *config);
/* The name that the network of a bridge has here: that of `networks`, else the bridge's own. */
const char *hostd_config_net_name(const struct hostd_config *config, const char *bridge);
bool hostd_config_is_uplink(const struct hostd_config *config, const char *dev);

#endif

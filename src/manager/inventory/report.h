/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a host says about one VM (docs/architecture.md, `inventory` and `birth`), read as foreign
 * data: every member checked and bounded, unknown members ignored. Pure. A report owns its memory.
 */
#ifndef BH_MANAGER_INVENTORY_REPORT_H
#define BH_MANAGER_INVENTORY_REPORT_H

#include "base/diag.h"
#include "base/util.h"
#include "model/id.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define MANAGER_VMS_PER_HOST	4096
#define MANAGER_NICS_PER_VM	32
#define MANAGER_ADDRS_PER_NIC	64
#define MANAGER_VLANS_PER_NIC	64
#define MANAGER_NETWORK_KEY_MAX 200

/* The flags of a NIC that a report may hold: BH_NIC_* of bpf/abi.h with the same numbers. */
#define MANAGER_NIC_DHCP_SERVER 0x01u
#define MANAGER_NIC_ROUTER	0x02u
#define MANAGER_NIC_ANY_SOURCE	0x04u
#define MANAGER_NIC_LEARN_DHCP	0x08u
#define MANAGER_NIC_ANY_VLAN	0x80u

struct manager_addr {
	uint8_t bytes[16];
};
struct manager_addrs {
	struct manager_addr *items;
	size_t count;
	size_t capacity;
};

struct manager_report_nic {
	uint8_t mac[6];
	char *net; /* key, "" when it can't be protected */
	bool managed;
	char *kind, *source, *dev, *reason;
	struct manager_addrs addresses;
	uint32_t flags;
	uint32_t vlans[MANAGER_VLANS_PER_NIC]; /* outer << 16 | inner */
	size_t vlan_count;
	bool is_protected;
};

struct manager_report {
	uint8_t id[16];
	char uuid[BH_UUID_TEXT_SIZE];
	char *name, *type, *state;
	char *tenant;	/* "" when metadata says none */
	char *birth;	/* "open", "closed" or "" */
	json_t *labels; /* object of strings */
	struct manager_report_nic *nics;
	size_t nic_count;
};

/* host: the name of who says it; it may only speak of its own `host/<name>/...` networks.
 * NULL: our own store says it, which was checked before. */
[[nodiscard]] int manager_report_parse(const json_t *vm, const char *host,
				       struct manager_report *ret, struct bh_diag *diag);
void manager_report_done(struct manager_report *report);
/* Not shut off: its addresses are in use. */
bool manager_report_running(const struct manager_report *report);
/* The report as the store keeps it; owned. */
json_t *manager_report_dump(const struct manager_report *report);
/* Names of its flags, and its VLANs as outer << 16 | inner; owned. */
json_t *manager_report_flags_dump(const struct manager_report_nic *nic);
json_t *manager_report_vlans_dump(const struct manager_report_nic *nic);

/* {"key": "value"} with valid keys and values, at most BH_LABELS_MAX; with_null: null is a value
 * too. */
[[nodiscard]] int manager_labels_check(const json_t *labels, bool with_null, struct bh_diag *diag);
/* old (may be NULL) with what change says: null takes a label away. Owned. */
json_t *manager_labels_changed(const json_t *old, const json_t *change);
/* A list of addresses in text form into ret (cleared first); multicast and unspecified are refused.
 */
[[nodiscard]] int manager_addrs_parse(const json_t *list, struct manager_addrs *ret,
				      struct bh_diag *diag);
bool manager_addrs_has(const struct manager_addrs *list, const uint8_t addr[16]);
json_t *manager_addrs_dump(const struct manager_addrs *list); /* owned */

#endif

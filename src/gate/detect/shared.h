/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rules share across flows and workers, and what outlives rule sets: xbits and hostbits,
 * thresholds, tags of hosts (one bounded table with a lock per shard), datasets, reputation, and
 * the registries of databases and regular expressions. Every function here may be called from any
 * thread.
 */
#ifndef BH_GATE_DETECT_SHARED_H
#define BH_GATE_DETECT_SHARED_H

#include "gate/detect/dataset.h"
#include "gate/detect/mpm.h"
#include "gate/detect/regexes.h"

struct gate_hs_registry *gate_shared_registry(struct gate_shared *shared);
struct gate_regexes *gate_shared_regexes(struct gate_shared *shared);
struct gate_datasets *gate_shared_datasets(struct gate_shared *shared);
uint32_t gate_shared_set_id(struct gate_shared *shared);
void gate_shared_build_begin(struct gate_shared *shared);
void gate_shared_build_end(struct gate_shared *shared);

/* Who or what a value is kept for. */
enum gate_key_kind { GATE_KEY_XBIT = 1, GATE_KEY_THRESHOLD, GATE_KEY_TAG };
struct gate_key {
	uint8_t kind;  /* enum gate_key_kind */
	uint8_t sub;   /* its own: index of the threshold, kind of track */
	uint16_t set;  /* slot: those of different rule sets are apart */
	uint32_t a, b; /* name, sid and the like */
	struct gate_addr addrs[2];
};

/* xbits and hostbits; expire_s 0: for ever. */
void gate_xbit_set(struct gate_shared *shared, const struct gate_key *key, uint64_t now_us,
		   uint32_t expire_s);
void gate_xbit_unset(struct gate_shared *shared, const struct gate_key *key);
bool gate_xbit_isset(struct gate_shared *shared, const struct gate_key *key, uint64_t now_us);

/* Counts a match. What becomes of the alert: */
enum gate_threshold_result {
	GATE_TH_ALERT,
	GATE_TH_QUIET,	    /* the action holds, no alert */
	GATE_TH_NOT,	    /* it is as if the rule had not matched */
	GATE_TH_NEW_ACTION, /* rate_filter: alert, with threshold.new_action */
};
enum gate_threshold_result gate_threshold_count(struct gate_shared *shared,
						const struct gate_key *key,
						const struct gate_threshold *th, uint16_t unique,
						uint64_t now_us);

/* Host tags (GATE_M_TAG): for so many packets or bytes, or until a time. */
void gate_tag_host(struct gate_shared *shared, const struct gate_key *key, uint64_t now_us,
		   const struct gate_match *tag);
bool gate_tag_hosts(const struct gate_shared *shared); /* there have been any */
/* A packet of so many bytes is of a host that is tagged: it is counted. */
bool gate_tag_host_packet(struct gate_shared *shared, const struct gate_key *key, uint64_t now_us,
			  uint32_t size);

/* iprep: -1 unknown. */
int gate_reputation(const struct gate_shared *shared, const struct gate_addr *addr,
		    uint8_t category);

#endif

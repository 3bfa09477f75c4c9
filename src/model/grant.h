/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A grant: what one host may do while the manager is away, as the manager wrote it down and signed
 * (docs/migration.md, "Without the manager"). It says which of the host's VMs may migrate, where
 * to, what their policy is compiled to, and for which state of the host all of this was meant: when
 * the host holds another state the grant is not current, and worth nothing.
 *
 * Canonical JSON:
 *   {"v": 1, "host", "revision", "hash", "issued", "until",
 *    "sources": [hosts that have VMs which may migrate without the manager],
 *    "groups": [[hosts], ..],
 *    "vms": {uuid: {"group": index of the hosts that may take it, "segments": [names]}},
 *    "segments": {name: SHA-256 of bh_segment_digest()}}
 * The hash of an image is enough for two honest sides but can be forged by who chooses records
 * freely; so segments are named here by a digest of their bytes.
 *
 * The reader takes its input as hostile, though its signature was checked. Pure; immutable.
 */
#ifndef BH_MODEL_GRANT_H
#define BH_MODEL_GRANT_H

#include "base/diag.h"
#include "model/image.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BH_GRANT_VERSION      1
#define BH_GRANT_SIZE_MAX     (512u * 1024)
#define BH_GRANT_SKEW_S	      600 /* clocks of hosts differ */
#define BH_GRANT_DIGEST_SIZE  32
#define BH_GRANT_SEGMENTS_MAX 256 /* of one VM */

struct bh_grant;

/* -EBADMSG with words. */
[[nodiscard]] int bh_grant_read(const char *text, size_t size, struct bh_grant **ret,
				struct bh_diag *diag);
void bh_grant_free(struct bh_grant *grant); /* NULL is fine */

const char *bh_grant_host(const struct bh_grant *grant);
uint64_t bh_grant_revision(const struct bh_grant *grant);
const struct bh_hash *bh_grant_hash(const struct bh_grant *grant);
int64_t bh_grant_issued_s(const struct bh_grant *grant);
int64_t bh_grant_until_s(const struct bh_grant *grant);
/* The i-th, NULL behind the last. */
const char *bh_grant_source(const struct bh_grant *grant, size_t i);
/* May this VM (UUID as text) migrate at all, and to this host? */
bool bh_grant_has_vm(const struct bh_grant *grant, const char *vm);
bool bh_grant_allows(const struct bh_grant *grant, const char *vm, const char *target);
/* Name of the VM's i-th segment, with its digest; NULL behind the last. */
const char *bh_grant_segment(const struct bh_grant *grant, const char *vm, size_t i,
			     uint8_t ret_digest[BH_GRANT_DIGEST_SIZE]);

/* Is it host's, does it hold now, and is `hash` the state that it was meant for? 0, or -EPERM with
 * a sentence that begins with the host's name. */
[[nodiscard]] int bh_grant_check(const struct bh_grant *grant, const char *host, int64_t now_s,
				 const struct bh_hash *hash, struct bh_diag *diag);

/* SHA-256 over the name and each record's wire form. */
void bh_segment_digest(const struct bh_segment *segment, uint8_t ret[BH_GRANT_DIGEST_SIZE]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "model/grant.h"

#include "base/json.h"
#include "base/util.h"
#include "model/id.h"

#include <errno.h>
#include <openssl/evp.h>

#define HOSTS_MAX  65536
#define GROUPS_MAX 4096
#define TIME_MAX   (INT64_C(1) << 40)

struct bh_grant {
	json_t *json; /* checked */
	struct bh_hash hash;
};

/* ---- reading ---- */
static int bad(struct bh_diag *diag, const char *what)
{
	return bh_diag_set(diag, -EBADMSG, "not a grant: %s", what);
}

static bool names_good(const json_t *list, size_t max)
{
	size_t i;
	json_t *name;

	if (!json_is_array(list) || json_array_size(list) > max) {
		return false;
	}
	json_array_foreach (list, i, name) {
		if (!json_is_string(name) || !bh_name_valid(json_string_value(name)) ||
		    json_string_length(name) != strlen(json_string_value(name))) {
			return false;
		}
	}
	return true;
}

static bool segments_good(const json_t *segments)
{
	uint8_t digest[BH_GRANT_DIGEST_SIZE];
	const char *name;
	json_t *hex;

	if (!json_is_object(segments)) {
		return false;
	}
	json_object_foreach ((json_t *)segments, name, hex) {
		if (!*name || strlen(name) >= BH_SEGMENT_NAME_MAX || !json_is_string(hex) ||
		    bh_hex_parse(json_string_value(hex), digest, sizeof(digest)) < 0) {
			return false;
		}
	}
	return true;
}

static bool vm_good(const char *uuid, const json_t *vm, const json_t *grant)
{
	const json_t *segments = json_object_get(grant, "segments");
	const json_t *list = json_object_get(vm, "segments");
	uint64_t group = bh_json_u64_or(vm, "group", UINT64_MAX);
	uint8_t id[16];
	size_t i;
	json_t *name;

	if (bh_uuid_parse(uuid, id) < 0 || !json_is_array(list) ||
	    json_array_size(list) > BH_GRANT_SEGMENTS_MAX ||
	    group >= json_array_size(json_object_get(grant, "groups"))) {
		return false;
	}
	json_array_foreach (list, i, name) {
		if (!json_is_string(name) || !json_object_get(segments, json_string_value(name))) {
			return false;
		}
	}
	return true;
}

static int check_members(const json_t *json, struct bh_hash *ret_hash, struct bh_diag *diag)
{
	static const char *const keys[] = {"v",	     "host",	 "revision", "hash",
					   "issued", "until",	 "sources",  "groups",
					   "vms",    "segments", NULL};
	const json_t *groups = json_object_get(json, "groups");
	const json_t *vms = json_object_get(json, "vms");
	const char *uuid;
	json_t *item;
	size_t i;

	if (!json_is_object(json) || bh_json_known(json, keys, NULL) < 0 ||
	    bh_json_u64_or(json, "v", 0) != BH_GRANT_VERSION) {
		return bad(diag, "another form");
	}
	if (!bh_name_valid(bh_json_str_or(json, "host", "")) ||
	    bh_json_u64_or(json, "revision", UINT64_MAX) > UINT32_MAX ||
	    bh_json_u64_or(json, "issued", UINT64_MAX) > TIME_MAX ||
	    bh_json_u64_or(json, "until", UINT64_MAX) > TIME_MAX ||
	    bh_hash_parse(bh_json_str_or(json, "hash", ""), ret_hash) < 0) {
		return bad(diag, "host, revision, hash or time");
	}
	if (!names_good(json_object_get(json, "sources"), HOSTS_MAX) || !json_is_array(groups) ||
	    json_array_size(groups) > GROUPS_MAX) {
		return bad(diag, "names of hosts");
	}
	json_array_foreach (groups, i, item) {
		if (!names_good(item, HOSTS_MAX)) {
			return bad(diag, "names of hosts");
		}
	}
	if (!segments_good(json_object_get(json, "segments")) || !json_is_object(vms)) {
		return bad(diag, "segments");
	}
	json_object_foreach ((json_t *)vms, uuid, item) {
		if (!vm_good(uuid, item, json)) {
			return bad(diag, "a VM");
		}
	}
	return 0;
}

int bh_grant_read(const char *text, size_t size, struct bh_grant **ret, struct bh_diag *diag)
{
	BH_JSON json_t *json = NULL;
	struct bh_hash hash;
	int r = bh_json_load(text, size, BH_GRANT_SIZE_MAX, &json, diag);

	if (r < 0) {
		return bad(diag, "no JSON");
	}
	r = check_members(json, &hash, diag);
	if (r < 0) {
		return r;
	}
	*ret = bh_alloc(sizeof(**ret));
	(*ret)->json = bh_steal(&json);
	(*ret)->hash = hash;
	return 0;
}

void bh_grant_free(struct bh_grant *grant)
{
	if (grant) {
		json_decref(grant->json);
		free(grant);
	}
}

/* ---- looking ---- */
const char *bh_grant_host(const struct bh_grant *grant)
{
	return bh_json_str_or(grant->json, "host", "");
}

uint64_t bh_grant_revision(const struct bh_grant *grant)
{
	return bh_json_u64_or(grant->json, "revision", 0);
}

const struct bh_hash *bh_grant_hash(const struct bh_grant *grant)
{
	return &grant->hash;
}

int64_t bh_grant_issued_s(const struct bh_grant *grant)
{
	return (int64_t)bh_json_u64_or(grant->json, "issued", 0);
}

int64_t bh_grant_until_s(const struct bh_grant *grant)
{
	return (int64_t)bh_json_u64_or(grant->json, "until", 0);
}

const char *bh_grant_source(const struct bh_grant *grant, size_t i)
{
	return json_string_value(json_array_get(json_object_get(grant->json, "sources"), i));
}

static const json_t *vm_of(const struct bh_grant *grant, const char *vm)
{
	return json_object_get(json_object_get(grant->json, "vms"), vm);
}

bool bh_grant_has_vm(const struct bh_grant *grant, const char *vm)
{
	return vm_of(grant, vm) != NULL;
}

bool bh_grant_allows(const struct bh_grant *grant, const char *vm, const char *target)
{
	const json_t *it = vm_of(grant, vm);
	const json_t *group = json_array_get(json_object_get(grant->json, "groups"),
					     bh_json_u64_or(it, "group", SIZE_MAX));
	size_t i;
	json_t *name;

	json_array_foreach (group, i, name) {
		if (!strcmp(json_string_value(name), target)) {
			return it != NULL;
		}
	}
	return false;
}

const char *bh_grant_segment(const struct bh_grant *grant, const char *vm, size_t i,
			     uint8_t ret_digest[BH_GRANT_DIGEST_SIZE])
{
	const json_t *list = json_object_get(vm_of(grant, vm), "segments");
	const char *name = json_string_value(json_array_get(list, i));
	const char *hex =
		bh_json_str_or(json_object_get(grant->json, "segments"), name ? name : "", "");

	return name && !bh_hex_parse(hex, ret_digest, BH_GRANT_DIGEST_SIZE) ? name : NULL;
}

int bh_grant_check(const struct bh_grant *grant, const char *host, int64_t now_s,
		   const struct bh_hash *hash, struct bh_diag *diag)
{
	if (strcmp(bh_grant_host(grant), host) != 0) {
		return bh_diag_set(diag, -EPERM, "%s shows what the manager signed for host %s",
				   host, bh_grant_host(grant));
	}
	if (now_s > bh_grant_until_s(grant)) {
		return bh_diag_set(diag, -EPERM,
				   "%s holds only what the manager signed too long ago; it has "
				   "run out",
				   host);
	}
	if (now_s + BH_GRANT_SKEW_S < bh_grant_issued_s(grant)) {
		return bh_diag_set(diag, -EPERM,
				   "%s holds what the manager signed for a later time; look at "
				   "the clocks",
				   host);
	}
	if (!bh_hash_equal(hash, &grant->hash)) {
		return bh_diag_set(diag, -EPERM,
				   "%s holds another state than the one that the manager signed",
				   host);
	}
	return 0;
}

/* ---- digests ---- */
void bh_segment_digest(const struct bh_segment *segment, uint8_t ret[BH_GRANT_DIGEST_SIZE])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	bh_wbuf_u8(&w, (uint8_t)strlen(bh_segment_name(segment)));
	bh_wbuf_str(&w, bh_segment_name(segment));
	if (!ctx || !EVP_DigestInit_ex(ctx, EVP_sha256(), NULL)) {
		abort();
	}
	for (size_t i = 0; i < bh_segment_count(segment); i++) {
		bh_rec_write(&w, bh_segment_at(segment, i));
		if (w.size > 65536) {
			EVP_DigestUpdate(ctx, w.data, w.size);
			w.size = 0;
		}
	}
	EVP_DigestUpdate(ctx, w.data, w.size);
	if (!EVP_DigestFinal_ex(ctx, ret, NULL)) {
		abort();
	}
	EVP_MD_CTX_free(ctx);
	bh_wbuf_done(&w);
}

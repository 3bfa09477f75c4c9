/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/migrate/grant.h"

#include "base/counter.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "bus/pki.h"
#include "bus/pki_sign.h"
#include "manager/migrate/placement.h"
#include "model/grant.h"

#include <errno.h>
#include <openssl/evp.h>

#define SLICE_NS    (2 * BH_NS_PER_MS)
#define RETRY_NS    (10 * BH_NS_PER_S)
#define COMMAND_MS  5000
#define SOURCES_MAX 1024
#define TEXT_MAX    (BH_GRANT_SIZE_MAX - 4096)
#define HEX_SIZE    (2 * BH_GRANT_DIGEST_SIZE + 1)

BH_COUNTER(grants_sent, "grants for the time without the manager that hosts took");
BH_COUNTER(grants_failed, "grants that a host did not take");
BH_COUNTER(grants_left_out, "VMs left out of a grant because it was full");

/* What a host holds. Hosts may be removed: by name. */
struct held {
	char host[BH_NAME_MAX + 1];
	char body[HEX_SIZE]; /* digest of it without times; "": unknown or none */
	char text[HEX_SIZE]; /* of the whole */
	bool has;	     /* it holds one, whichever */
	bool out;	     /* a command is on its way */
	uint64_t renew_s, retry_ns;
	UT_hash_handle hh;
};

/* Digest of a segment, which is what a pass costs. */
struct digest {
	struct {
		char name[BH_SEGMENT_NAME_MAX];
		struct bh_hash hash;
	} key;
	char hex[HEX_SIZE];
	uint64_t pass;
	UT_hash_handle hh;
};

/* Which hosts may take the VMs of an identity; NULL hosts: they don't move without the manager. */
struct where {
	uint32_t identity;
	json_t *hosts; /* owned; equal lists are one */
	UT_hash_handle hh;
};

struct manager_grants {
	struct manager_grants_options o;
	char *cert_file, *key_file;
	struct held *held;
	struct digest *digests;
	/* of the pass */
	uint64_t pass;
	bool passing;
	char next[BH_NAME_MAX + 1];
	struct where *where;
	json_t *sources;
};

static void hex_of(const void *data, size_t size, char ret[HEX_SIZE])
{
	unsigned char md[EVP_MAX_MD_SIZE];

	if (!EVP_Digest(data, size, md, NULL, EVP_sha256(), NULL)) {
		abort();
	}
	bh_hex_format(md, BH_GRANT_DIGEST_SIZE, ret);
}

static struct held *held_of(struct manager_grants *grants, const char *host)
{
	struct held *h;

	HASH_FIND_STR(grants->held, host, h);
	if (!h) {
		h = bh_alloc(sizeof(*h));
		snprintf(h->host, sizeof(h->host), "%s", host);
		HASH_ADD_STR(grants->held, host, h);
	}
	return h;
}

/* ---- what is in it ---- */

static const char *digest_of(struct manager_grants *grants, const struct bh_segment *segment)
{
	uint8_t bytes[BH_GRANT_DIGEST_SIZE];
	struct digest look = {};
	struct digest *d;

	snprintf(look.key.name, sizeof(look.key.name), "%s", bh_segment_name(segment));
	look.key.hash = *bh_segment_hash(segment);
	HASH_FIND(hh, grants->digests, &look.key, sizeof(look.key), d);
	if (!d) {
		d = bh_memdup(&look, sizeof(look));
		bh_segment_digest(segment, bytes);
		bh_hex_format(bytes, sizeof(bytes), d->hex);
		HASH_ADD(hh, grants->digests, key, sizeof(d->key), d);
	}
	d->pass = grants->pass;
	return d->hex;
}

static json_t *hosts_for(const struct manager_inventory *inv, const struct bh_policy_subject *vm)
{
	json_t *list = json_array();

	for (const struct manager_host *h = inv->hosts; h; h = h->hh.next) {
		if (!h->maintenance.on && manager_placement_takes(inv, vm, h)) {
			json_array_append_new(list, json_string(h->name));
		}
	}
	return list;
}

/* Borrowed; NULL: the VMs of this identity stay while the manager is away. */
static json_t *where_to(struct manager_grants *grants, const struct manager_identity *identity)
{
	const struct manager_inventory *inv = grants->o.inv;
	BH_FREE struct bh_policy_label *labels = NULL;
	struct bh_policy_subject vm = {.tenant = identity->tenant->name};
	const struct bh_policy *policy;
	struct where *w;
	struct where *same;

	HASH_FIND(hh, grants->where, &identity->number, sizeof(identity->number), w);
	if (w) {
		return w->hosts;
	}
	w = bh_alloc(sizeof(*w));
	w->identity = identity->number;
	vm.label_count = manager_identity_labels(identity, &labels);
	vm.labels = labels;
	if (inv->policies && bh_policy_without_manager(inv->policies, &vm, &policy)) {
		w->hosts = hosts_for(inv, &vm);
	}
	for (same = grants->where; same && w->hosts; same = same->hh.next) {
		if (same->hosts && json_equal(same->hosts, w->hosts)) {
			json_decref(w->hosts);
			w->hosts = json_incref(same->hosts);
			break;
		}
	}
	HASH_ADD(hh, grants->where, identity, sizeof(w->identity), w);
	return w->hosts;
}

static json_t *moves_to(struct manager_grants *grants, const struct manager_vm *vm)
{
	if (!vm->identity || !vm->tenant || !manager_report_running(&vm->report)) {
		return NULL;
	}
	return where_to(grants, vm->identity);
}

static size_t group_index(json_t *groups, json_t *hosts)
{
	for (size_t i = 0; i < json_array_size(groups); i++) {
		if (json_array_get(groups, i) == hosts) {
			return i;
		}
	}
	json_array_append(groups, hosts);
	return json_array_size(groups) - 1;
}

/* Notes a segment of the VM; false when the host does not hold it. */
static bool add_segment(struct manager_grants *grants, const struct bh_image *image,
			const char *name, json_t *names, json_t *all)
{
	const struct bh_segment *segment = bh_image_get(image, name);

	if (!segment) {
		return false;
	}
	if (!json_object_get(all, name)) {
		json_object_set_new(all, name, json_string(digest_of(grants, segment)));
	}
	json_array_append_new(names, json_string(name));
	return true;
}

/* The names of what the VM needs, as build.c gives them; owned, NULL when something is missing. */
static json_t *segments_of(struct manager_grants *grants, const struct manager_vm *vm,
			   const struct bh_image *image, json_t *all)
{
	BH_JSON json_t *names = json_array();
	bool ok =
		vm->segment && add_segment(grants, image, bh_segment_name(vm->segment), names, all);

	for (int dir = 0; dir < 2 && ok; dir++) {
		ok = vm->identity->sets[dir] &&
		     add_segment(grants, image, bh_segment_name(vm->identity->sets[dir]), names,
				 all);
	}
	for (size_t i = 0; i < vm->report.nic_count && ok; i++) {
		const struct manager_network *net = vm->nics[i].net;
		bool known = false;

		for (size_t k = 0; k < i && net; k++) {
			known = known || vm->nics[k].net == net;
		}
		if (net && !known) {
			ok = net->segment &&
			     add_segment(grants, image, bh_segment_name(net->segment), names, all);
		}
	}
	return ok && json_array_size(names) <= BH_GRANT_SEGMENTS_MAX ? bh_steal(&names) : NULL;
}

static json_t *vms_of(struct manager_grants *grants, const struct manager_host *host,
		      json_t *groups, json_t *segments)
{
	const struct bh_image *image = host->sync->installed->image;
	json_t *vms = json_object();
	size_t size = 0;

	for (const struct manager_vm *vm = host->vms; vm; vm = vm->next) {
		json_t *hosts = moves_to(grants, vm);
		json_t *names;

		if (!hosts || vm->incoming) {
			continue;
		}
		size += 700; /* of its own: names and digests */
		if (size > TEXT_MAX / 2) {
			bh_counter_add(&grants_left_out, 1);
			continue;
		}
		names = segments_of(grants, vm, image, segments);
		if (names) {
			json_object_set_new(vms, vm->uuid,
					    json_pack("{s:I, s:o}", "group",
						      (json_int_t)group_index(groups, hosts),
						      "segments", names));
		}
	}
	return vms;
}

json_t *manager_grants_of(struct manager_grants *grants, struct manager_host *host)
{
	char hash[2 * BH_HASH_SIZE + 1];
	json_t *groups = json_array();
	json_t *segments = json_object();
	json_t *vms = vms_of(grants, host, groups, segments);

	bh_hash_format(bh_image_hash(host->sync->installed->image), hash);
	return json_pack("{s:i, s:s, s:s, s:I, s:O, s:o, s:o, s:o}", "v", BH_GRANT_VERSION, "host",
			 host->name, "hash", hash, "revision",
			 (json_int_t)manager_rulebook_revision(grants->o.book), "sources",
			 grants->sources, "groups", groups, "segments", segments, "vms", vms);
}

/* ---- sending ---- */

struct shipment {
	struct manager_grants *grants;
	char host[BH_NAME_MAX + 1];
	char body[HEX_SIZE], text[HEX_SIZE];
	uint64_t renew_s;
};

static void on_taken(int err, const struct bh_bus_msg *reply, void *arg)
{
	BH_FREE struct shipment *s = arg;
	struct held *h;

	if (err == -ECANCELED) {
		return;
	}
	h = held_of(s->grants, s->host);
	h->out = false;
	if (err) {
		bh_counter_add(&grants_failed, 1);
		bh_log_limited(BH_LOG_WARN, "migrate", 3, "host %s does not take its grant: %s",
			       s->host, bh_bus_reply_text(err, reply));
		h->retry_ns = bh_time_mono_ns() + RETRY_NS;
		return;
	}
	bh_counter_add(&grants_sent, 1);
	memcpy(h->body, s->body, sizeof(h->body));
	memcpy(h->text, s->text, sizeof(h->text));
	h->has = *s->text != '\0';
	h->renew_s = s->renew_s;
}

static void ship(struct manager_grants *grants, struct held *h, json_t *command,
		 const struct shipment *what)
{
	struct shipment *s = bh_memdup(what, sizeof(*what));

	s->grants = grants;
	memcpy(s->host, h->host, sizeof(s->host));
	h->out = true;
	grants->o.command(h->host, command, COMMAND_MS, on_taken, s, grants->o.command_arg);
}

/* Text, signature and certificate; NULL with diag. Owned. */
static json_t *sign(const struct manager_grants *grants, const char *text, struct bh_diag *diag)
{
	BH_FREE char *cert = NULL;
	struct bh_pki_signer *signer = NULL;
	uint8_t sig[BH_PKI_SIG_MAX];
	char hex[2 * BH_PKI_SIG_MAX + 1];
	size_t size;
	int r = bh_file_read(grants->cert_file, BH_PKI_PEM_MAX, &cert, &size, diag);

	if (r == 0) {
		r = bh_pki_signer_open(grants->key_file, &signer, diag);
	}
	if (r == 0) {
		r = bh_pki_sign(text, strlen(text), sig, &size, signer, diag);
	}
	bh_pki_signer_free(signer);
	if (r < 0) {
		return NULL;
	}
	bh_hex_format(sig, size, hex);
	return json_pack("{s:s, s:s, s:s, s:s}", "type", "grant", "text", text, "sig", hex, "cert",
			 cert);
}

static void grant(struct manager_grants *grants, struct manager_host *host, struct held *h,
		  uint64_t now_s)
{
	BH_JSON json_t *body = manager_grants_of(grants, host);
	BH_FREE char *timeless = bh_json_dump(body);
	BH_FREE char *text = NULL;
	struct shipment s = {.renew_s = now_s + grants->o.valid_s / 2};
	struct bh_diag diag = {};
	json_t *command;

	hex_of(timeless, strlen(timeless), s.body);
	if (strcmp(s.body, h->body) == 0 && now_s < h->renew_s) {
		return;
	}
	json_object_set_new(body, "issued", json_integer((json_int_t)now_s));
	json_object_set_new(body, "until", json_integer((json_int_t)(now_s + grants->o.valid_s)));
	text = bh_json_dump(body);
	hex_of(text, strlen(text), s.text);
	command =
		strlen(text) > BH_GRANT_SIZE_MAX
			? (bh_diag_put(&diag, NULL, 0, 0, "it would have %zu bytes", strlen(text)),
			   NULL)
			: sign(grants, text, &diag);
	if (!command) {
		bh_log_limited(BH_LOG_ERROR, "migrate", 3, "no grant for host %s: %s", host->name,
			       diag.text);
		h->retry_ns = bh_time_mono_ns() + RETRY_NS;
		return;
	}
	ship(grants, h, command, &s);
}

/* ---- passes ---- */

static void pass_end(struct manager_grants *grants)
{
	struct where *w, *wtmp;
	struct digest *d, *dtmp;

	HASH_ITER (hh, grants->where, w, wtmp) {
		HASH_DEL(grants->where, w);
		json_decref(w->hosts);
		free(w);
	}
	HASH_ITER (hh, grants->digests, d, dtmp) {
		if (d->pass != grants->pass) {
			HASH_DEL(grants->digests, d);
			free(d);
		}
	}
	json_decref(grants->sources);
	grants->sources = NULL;
	grants->passing = false;
}

static bool has_source(struct manager_grants *grants, const struct manager_host *host)
{
	for (const struct manager_vm *vm = host->vms; vm; vm = vm->next) {
		if (moves_to(grants, vm)) {
			return true;
		}
	}
	return false;
}

/* Of hosts that are not any more. */
static void drop_held(struct manager_grants *grants)
{
	struct held *h, *tmp;

	HASH_ITER (hh, grants->held, h, tmp) {
		if (!h->out && !manager_host_find(grants->o.inv, h->host)) {
			HASH_DEL(grants->held, h);
			free(h);
		}
	}
}

static void pass_begin(struct manager_grants *grants)
{
	struct manager_host *h, *tmp;

	drop_held(grants);
	grants->pass++;
	grants->passing = true;
	grants->next[0] = '\0';
	grants->sources = json_array();
	HASH_ITER (hh, grants->o.inv->hosts, h, tmp) { /* by name, so equal lists are equal texts */
		if (json_array_size(grants->sources) < SOURCES_MAX && has_source(grants, h)) {
			json_array_append_new(grants->sources, json_string(h->name));
		}
	}
}

static void look(struct manager_grants *grants, struct manager_host *host, uint64_t now_s,
		 uint64_t mono_ns)
{
	struct held *h;

	if (!host->sync || !host->online || !host->sync->installed ||
	    !manager_sync_in_sync(host->sync)) {
		return;
	}
	h = held_of(grants, host->name);
	if (h->out || h->retry_ns > mono_ns) {
		return;
	}
	if (json_array_size(grants->sources)) {
		grant(grants, host, h, now_s);
	} else if (h->has) {
		ship(grants, h, json_pack("{s:s}", "type", "grant"), &(struct shipment){});
	}
}

void manager_grants_tick(struct manager_grants *grants, uint64_t now_s, uint64_t mono_ns)
{
	uint64_t end = bh_time_mono_ns() + SLICE_NS;
	struct manager_host *h;

	if (!grants->passing) {
		pass_begin(grants);
	}
	h = *grants->next ? manager_host_find(grants->o.inv, grants->next) : grants->o.inv->hosts;
	for (; h && bh_time_mono_ns() < end; h = h->hh.next) {
		look(grants, h, now_s, mono_ns);
	}
	if (h) {
		snprintf(grants->next, sizeof(grants->next), "%s", h->name);
	} else {
		pass_end(grants);
	}
}

void manager_grants_hello(struct manager_grants *grants, const struct manager_host *host,
			  const char *digest)
{
	struct held *h = held_of(grants, host->name);

	h->has = *digest != '\0';
	h->retry_ns = 0;
	if (strcmp(digest, h->text) != 0) {
		h->body[0] = h->text[0] = '\0';
	}
}

struct manager_grants *manager_grants_new(const struct manager_grants_options *options)
{
	struct manager_grants *grants = bh_alloc(sizeof(*grants));

	grants->o = *options;
	grants->o.pki_dir = NULL;
	grants->cert_file = bh_asprintf("%s/manager.crt", options->pki_dir);
	grants->key_file = bh_asprintf("%s/manager.key", options->pki_dir);
	return grants;
}

void manager_grants_free(struct manager_grants *grants)
{
	struct held *h, *tmp;

	if (!grants) {
		return;
	}
	pass_end(grants);
	grants->pass++;
	pass_end(grants); /* no digest is of this pass */
	HASH_ITER (hh, grants->held, h, tmp) {
		HASH_DEL(grants->held, h);
		free(h);
	}
	free(grants->cert_file);
	free(grants->key_file);
	free(grants);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The target's questions when the manager is away; theory of operation in alone.h. */
#include "host/capsule/alone.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "bus/subject.h"
#include "host/capsule/internal.h"

#include <errno.h>

#define WHO_MS	  2000
#define SOURCES	  1024
#define STATE_MAX (32u << 20)
#define PIECE_MIN (256u * 1024) /* on the average, but for two; they have twice that */

BH_COUNTER(alone_asked, "VMs that came while the manager is away");
BH_COUNTER(alone_allowed, "VMs that were let in while the manager is away");

struct ask {
	struct hostd_agent *agent;
	hostd_alone_fn *fn;
	void *arg;
	json_t *vm;
	char uuid[BH_UUID_TEXT_SIZE];
	char id[MOVE_ID_SIZE];
	char source[BH_NAME_MAX + 1]; /* "": not found yet */
	unsigned int out;	      /* requests on their way */
	bool over;
	struct bh_grant *theirs;
	struct bh_wbuf state;
	uint64_t size;
	unsigned int pieces;
};

/* A request to one host. */
struct question {
	struct ask *ask;
	char host[BH_NAME_MAX + 1];
};

static void unref(struct ask *a)
{
	if (a->out || !a->over) {
		return;
	}
	json_decref(a->vm);
	bh_grant_free(a->theirs);
	bh_wbuf_done(&a->state);
	free(a);
}

static void end(struct ask *a, const char *refused)
{
	struct hostd_alone_answer answer = {.refused = refused, .id = a->id, .source = a->source};

	a->over = true;
	a->fn(&answer, a->arg);
}

static void on_told(int err, const struct bh_bus_msg *reply, void *arg)
{
}

/* Whether it hears us or not: the manager will ask it. */
static void tell_end(const struct hostd_agent *agent, const char *peer, const char *id)
{
	struct bh_bus *bus = move_bus(agent);
	char subject[BH_SUBJECT_SIZE];
	struct bh_bus_msg msg = {};

	if (bus) {
		msg.json = json_pack("{s:s, s:s}", "type", "alone-end", "migration", id);
		bh_bus_request(bus, bh_subject_peer(peer, agent->name, subject), &msg, MOVE_PEER_MS,
			       on_told, NULL);
		json_decref(msg.json);
	}
}

static void refuse(struct ask *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void refuse(struct ask *a, const char *fmt, ...)
{
	struct bh_diag text = {};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text.text, sizeof(text.text), fmt, ap);
	va_end(ap);
	if (*a->source) {
		tell_end(a->agent, a->source, a->id);
	}
	end(a, text.text);
}

static void ask_host(struct ask *a, const char *host, json_t *body, uint64_t timeout_ms,
		     bh_bus_reply_fn *fn)
{
	struct bh_bus *bus = move_bus(a->agent);
	struct question *q = bh_alloc(sizeof(*q));
	char subject[BH_SUBJECT_SIZE];
	BH_JSON json_t *owned = body;
	struct bh_bus_msg msg = {.json = owned};

	q->ask = a;
	snprintf(q->host, sizeof(q->host), "%s", host);
	a->out++;
	bh_bus_request(bus, bh_subject_peer(host, a->agent->name, subject), &msg, timeout_ms, fn,
		       q);
}

/* The ask that an answer belongs to; NULL when it is over. */
static struct ask *answered(void *arg, char host[BH_NAME_MAX + 1], int err)
{
	BH_FREE struct question *q = arg;
	struct ask *a = q->ask;

	memcpy(host, q->host, sizeof(q->host));
	a->out--;
	if (err == -ECANCELED && !a->over) {
		end(a, "hostd is stopping");
	}
	if (a->over) {
		unref(a);
		return NULL;
	}
	return a;
}

/* ---- is it the same VM? ---- */

static bool holds_all(const json_t *list, const json_t *of)
{
	size_t i, k;
	json_t *x, *y;

	json_array_foreach (of, i, x) {
		bool found = false;

		json_array_foreach (list, k, y) {
			found = found || json_equal(x, y);
		}
		if (!found) {
			return false;
		}
	}
	return true;
}

static bool same_set(const json_t *a, const json_t *b, const char *key)
{
	const json_t *x = json_object_get(a, key), *y = json_object_get(b, key);

	return holds_all(x, y) && holds_all(y, x);
}

static const json_t *nic_of(const json_t *vm, const char *mac)
{
	size_t i;
	json_t *nic;

	json_array_foreach (json_object_get(vm, "nics"), i, nic) {
		if (!strcmp(bh_json_str_or(nic, "mac", ""), mac)) {
			return nic;
		}
	}
	return NULL;
}

/* What the XML says against what runs at the source: the rules that come are for that one. */
static int compare(const struct ask *a, const json_t *there, struct bh_diag *diag)
{
	const json_t *nics = json_object_get(a->vm, "nics");
	size_t i;
	json_t *nic;

	if (!json_equal(json_object_get(a->vm, "tenant"), json_object_get(there, "tenant")) ||
	    !json_equal(json_object_get(a->vm, "labels"), json_object_get(there, "labels")) ||
	    json_array_size(nics) != json_array_size(json_object_get(there, "nics"))) {
		return bh_diag_set(diag, -EPERM,
				   "the XML that arrived gives the VM another tenant, other labels "
				   "or NICs than it has on host %s",
				   a->source);
	}
	json_array_foreach (nics, i, nic) {
		const char *mac = bh_json_str_or(nic, "mac", "");
		const json_t *old = nic_of(there, mac);

		if (!old ||
		    strcmp(bh_json_str_or(nic, "net", ""), bh_json_str_or(old, "net", "")) ||
		    !same_set(nic, old, "flags") || !same_set(nic, old, "vlans") ||
		    !same_set(nic, old, "addresses")) {
			return bh_diag_set(diag, -EPERM,
					   "NIC %s has another network, address or right in the "
					   "XML that arrived than on host %s",
					   mac, a->source);
		}
	}
	return 0;
}

/* ---- what its policy is compiled to ---- */

struct count {
	size_t n;
};

static void count_one(struct bh_segment *segment, void *arg)
{
	struct count *c = arg;

	c->n++;
}

/* Exactly what the manager named, byte by byte, and nothing that differs from what is here. */
static int check_state(const struct ask *a, const struct bh_image *state, struct bh_diag *diag)
{
	const struct bh_image *mine = hostd_state_image(a->agent);
	uint8_t want[BH_GRANT_DIGEST_SIZE], has[BH_GRANT_DIGEST_SIZE];
	struct count c = {};
	const char *name;
	size_t i;

	for (i = 0; (name = bh_grant_segment(a->theirs, a->uuid, i, want)); i++) {
		const struct bh_segment *segment = bh_image_get(state, name);
		const struct bh_segment *here = bh_image_get(mine, name);

		if (!segment) {
			return bh_diag_set(diag, -EPERM, "host %s did not send %s", a->source,
					   name);
		}
		bh_segment_digest(segment, has);
		if (memcmp(want, has, sizeof(want)) != 0) {
			return bh_diag_set(diag, -EPERM,
					   "what host %s sent as %s is not what the manager signed",
					   a->source, name);
		}
		if (here && !bh_hash_equal(bh_segment_hash(here), bh_segment_hash(segment))) {
			return bh_diag_set(diag, -EPERM,
					   "host %s and host %s hold different states of %s",
					   a->source, a->agent->name, name);
		}
	}
	bh_image_each(state, count_one, &c);
	return c.n == i ? 0
			: bh_diag_set(diag, -EPERM, "host %s sent more than the manager signed",
				      a->source);
}

static int install(struct ask *a, struct bh_diag *diag)
{
	struct bh_image *none = bh_image_new();
	struct bh_image *state = NULL;
	struct bh_delta *delta = NULL;
	int err = bh_delta_decode(a->state.data, a->state.size, &delta, diag);

	if (!err && bh_delta_apply(delta, none, &state, diag) != 0) {
		err = bh_diag_set(diag, -EBADMSG, "what host %s sent is no state", a->source);
	}
	if (!err) {
		err = check_state(a, state, diag);
	}
	if (!err) {
		err = alone_install(a->agent, state, diag);
	}
	bh_image_free(state);
	bh_image_free(none);
	bh_delta_free(delta);
	return err;
}

static void ask_state(struct ask *a);

static void on_state(int err, const struct bh_bus_msg *reply, void *arg)
{
	char host[BH_NAME_MAX + 1];
	struct ask *a = answered(arg, host, err);
	struct bh_diag diag = {};

	if (!a) {
		return;
	}
	if (err || !reply->size || reply->size > a->size - a->state.size) {
		refuse(a, "host %s did not send the VM's policy: %s", a->source,
		       err ? bh_bus_reply_text(err, reply) : "not as many bytes as it said");
	} else if (++a->pieces > 2 + a->size / PIECE_MIN) {
		refuse(a, "host %s sends the VM's policy in too many pieces", a->source);
	} else {
		bh_wbuf_put(&a->state, reply->bytes, reply->size);
		if (a->state.size < a->size) {
			ask_state(a);
			return;
		}
		if (alone_room(a->agent, &diag) < 0 || install(a, &diag) < 0) {
			refuse(a, "%s", diag.text);
		} else {
			bh_counter_add(&alone_allowed, 1);
			hostd_known_acked_vm(a->agent, a->vm);
			alone_note(a->agent, a->id, a->uuid, "target", a->source);
			end(a, NULL);
		}
	}
	unref(a);
}

static void ask_state(struct ask *a)
{
	if (!move_bus(a->agent)) {
		refuse(a, "the bus is down");
		unref(a);
		return;
	}
	ask_host(a, a->source,
		 json_pack("{s:s, s:s, s:I}", "type", "alone-state", "migration", a->id, "at",
			   (json_int_t)a->state.size),
		 MOVE_PEER_MS, on_state);
}

/* ---- the source's word ---- */

/* The other host shows what the manager signed for it: is it, now, of the same time as ours, and
 * does it let this VM come here? */
static int check_theirs(struct ask *a, const json_t *reply, struct bh_diag *diag)
{
	const struct bh_grant *mine = NULL;
	int err = alone_check_own(a->agent, &mine, diag);

	if (!err) {
		err = alone_read_grant(a->agent, json_object_get(reply, "grant"), &a->theirs, diag);
	}
	if (!err) {
		err = bh_grant_check(a->theirs, a->source,
				     (int64_t)(bh_time_wall_ns() / BH_NS_PER_S),
				     bh_grant_hash(a->theirs), diag);
	}
	if (err) {
		return err;
	}
	if (bh_grant_revision(mine) != bh_grant_revision(a->theirs)) {
		return bh_diag_set(diag, -EPERM,
				   "the manager signed revision %llu for this host and %llu for "
				   "host %s",
				   (unsigned long long)bh_grant_revision(mine),
				   (unsigned long long)bh_grant_revision(a->theirs), a->source);
	}
	if (!bh_grant_allows(a->theirs, a->uuid, a->agent->name)) {
		return bh_diag_set(diag, -EPERM, "the manager did not allow host %s for this VM",
				   a->agent->name);
	}
	return compare(a, json_object_get(reply, "vm"), diag);
}

static void on_source(int err, const struct bh_bus_msg *reply, void *arg)
{
	char host[BH_NAME_MAX + 1];
	struct ask *a = answered(arg, host, err);
	struct bh_diag diag = {};

	if (!a) {
		return;
	}
	if (err) {
		refuse(a, "host %s does not let it go: %s", a->source,
		       bh_bus_reply_text(err, reply));
	} else if (check_theirs(a, reply->json, &diag) < 0) {
		refuse(a, "%s", diag.text);
	} else {
		a->size = bh_json_u64_or(reply->json, "size", 0);
		if (a->size && a->size <= STATE_MAX) {
			ask_state(a);
			return;
		}
		refuse(a, "host %s would send %llu bytes of policy", a->source,
		       (unsigned long long)a->size);
	}
	unref(a);
}

/* ---- who runs it? ---- */

static void on_who(int err, const struct bh_bus_msg *reply, void *arg)
{
	char host[BH_NAME_MAX + 1];
	struct ask *a = answered(arg, host, err);
	uint8_t id[16];

	if (!a || *a->source) {
		return;
	}
	if (!err && move_bus(a->agent)) {
		memcpy(a->source, host, sizeof(a->source));
		bh_uuid_random(id);
		bh_hex_format(id, sizeof(id), a->id);
		ask_host(a, host,
			 json_pack("{s:s, s:s, s:s}", "type", "alone", "migration", a->id, "vm",
				   a->uuid),
			 MOVE_PEER_MS, on_source);
	} else if (!a->out) {
		refuse(a, "no host that the manager named for the time when it is away runs it");
		unref(a);
	}
}

void hostd_alone_ask(struct hostd_agent *agent, const json_t *vm, hostd_alone_fn *fn, void *arg)
{
	struct ask *a = bh_alloc(sizeof(*a));
	const struct bh_grant *mine = NULL;
	struct bh_diag diag = {};
	const char *name;

	bh_counter_add(&alone_asked, 1);
	a->agent = agent;
	a->fn = fn;
	a->arg = arg;
	a->vm = json_deep_copy(vm);
	snprintf(a->uuid, sizeof(a->uuid), "%s", bh_json_str_or(vm, "uuid", ""));
	bh_wbuf_init(&a->state, STATE_MAX);
	if (alone_check_own(agent, &mine, &diag) < 0 || alone_room(agent, &diag) < 0) {
		refuse(a, "%s", diag.text);
	} else if (!move_bus(agent)) {
		refuse(a, "the bus is down");
	}
	for (size_t i = 0; !a->over && i < SOURCES && (name = bh_grant_source(mine, i)); i++) {
		if (strcmp(name, agent->name) != 0) {
			ask_host(a, name, json_pack("{s:s, s:s}", "type", "who-has", "vm", a->uuid),
				 WHO_MS, on_who);
		}
	}
	if (!a->over && !a->out) {
		refuse(a, "no policy lets any VM migrate without the manager");
	}
	unref(a);
}

void hostd_alone_failed(struct hostd_agent *agent, const char *id)
{
	char peer[BH_NAME_MAX + 1];

	if (alone_peer(agent, id, peer)) {
		tell_end(agent, peer, id);
		hostd_alone_over(agent, id);
	}
}

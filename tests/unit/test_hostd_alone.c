/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM that comes while the manager is away: h1 is the real engine, the test plays the source h2,
 * which may lie, and the manager, which goes and comes back.
 */
#include "base/file.h"
#include "base/json.h"
#include "base/time.h"
#include "base/util.h"
#include "bus/pki_sign.h"
#include "bus/subject.h"
#include "host/capsule/alone.h"
#include "host/platform/domxml.h"
#include "hostd_world.h"
#include "image_put.h"
#include "model/capsule.h"

#define VALID_S 3600

/* What h2 says. */
static struct {
	struct bh_bus *bus;
	struct bh_pki_signer *signer;
	char *cert;
	size_t cert_size;
	struct bh_image *image; /* of the VM */
	struct bh_wbuf state;
	json_t *vm, *grant;
	bool gone;    /* does not run the VM */
	size_t slice; /* bytes of it that it hands over at once; 0: half of it */
	unsigned int asked, ended, starts;
	char id[33];
	bool part_answered;
	char code[32];
} h2;
static json_t *adopted; /* what the manager lists after a hello; NULL: nothing */
static json_t *hello;

/* ---- what the manager signs ---- */

static void add_segment(struct bh_segment *segment, void *arg)
{
	json_t *segments = arg;
	uint8_t digest[BH_GRANT_DIGEST_SIZE];
	char hex[2 * BH_GRANT_DIGEST_SIZE + 1];

	bh_segment_digest(segment, digest);
	bh_hex_format(digest, sizeof(digest), hex);
	json_object_set_new(segments, bh_segment_name(segment), json_string(hex));
}

static int64_t now_s(void)
{
	return (int64_t)(bh_time_wall_ns() / BH_NS_PER_S);
}

/* The text for a host that holds this hash. */
static json_t *grant_text(const char *host, const struct bh_hash *hash, bool with_vm)
{
	char hex[2 * BH_HASH_SIZE + 1];
	json_t *segments = json_object();
	json_t *names = json_array();
	json_t *grant;
	const char *name;
	json_t *value;

	bh_image_each(h2.image, add_segment, segments);
	json_object_foreach (segments, name, value) {
		json_array_append_new(names, json_string(name));
	}
	bh_hash_format(hash, hex);
	grant = json_pack("{s:i, s:s, s:s, s:i, s:I, s:I, s:[s], s:[[s]], s:o, s:{s:{s:i, s:o}}}",
			  "v", 1, "host", host, "hash", hex, "revision", 5, "issued",
			  (json_int_t)now_s(), "until", (json_int_t)(now_s() + VALID_S), "sources",
			  "h2", "groups", "h1", "segments", segments, "vms", WORLD_VM, "group", 0,
			  "segments", names);
	if (!with_vm) {
		json_object_clear(json_object_get(grant, "vms"));
	}
	return grant;
}

/* Signed with DIR/pki/<who>; takes text. Owned. */
static json_t *sign(json_t *text, const char *who)
{
	BH_FREE char *key = bh_asprintf("%s/pki/%s.key", w.dir, who);
	BH_FREE char *cert_file = bh_asprintf("%s/pki/%s.crt", w.dir, who);
	BH_FREE char *dump = bh_json_dump(text);
	BH_FREE char *cert = NULL;
	struct bh_pki_signer *signer = NULL;
	uint8_t sig[BH_PKI_SIG_MAX];
	char hex[2 * BH_PKI_SIG_MAX + 1];
	size_t size;

	json_decref(text);
	assert_int_equal(bh_file_read(cert_file, 65536, &cert, &size, NULL), 0);
	assert_int_equal(bh_pki_signer_open(key, &signer, NULL), 0);
	assert_int_equal(bh_pki_sign(dump, strlen(dump), sig, &size, signer, NULL), 0);
	bh_pki_signer_free(signer);
	bh_hex_format(sig, size, hex);
	return json_pack("{s:s, s:s, s:s}", "text", dump, "sig", hex, "cert", cert);
}

static void on_answer(int err, const struct bh_bus_msg *reply, void *arg)
{
	snprintf(h2.code, sizeof(h2.code), "%s", bh_bus_reply_code(err, reply));
	h2.part_answered = true;
}

static bool answered(void)
{
	return h2.part_answered;
}

/* The manager's command; the code of the answer. */
static const char *give(json_t *grant)
{
	char subject[BH_SUBJECT_SIZE];
	struct bh_bus_msg msg = {.json = grant};

	json_object_set_new(grant, "type", json_string("grant"));
	h2.part_answered = false;
	bh_bus_request(w.bus, bh_subject_cmd("h1", subject), &msg, 5000, on_answer, NULL);
	json_decref(grant);
	world_wait(answered, "an answer to a grant");
	return h2.code;
}

/* ---- the source ---- */

static void on_peer(struct bh_bus_request *req, const struct bh_bus_msg *msg, void *arg)
{
	const char *type = bh_json_str_or(msg->json, "type", "");
	uint64_t at = bh_json_u64_or(msg->json, "at", 0);

	assert_string_equal(bh_bus_request_host(req), "h1");
	if (!strcmp(type, "who-has") && h2.gone) {
		bh_bus_reply_error(req, "gone", "not here");
	} else if (!strcmp(type, "alone")) {
		h2.asked++;
		snprintf(h2.id, sizeof(h2.id), "%s", bh_json_str_or(msg->json, "migration", ""));
		bh_bus_reply(req, json_pack("{s:O, s:O, s:I, s:i}", "grant", h2.grant, "vm", h2.vm,
					    "size", (json_int_t)h2.state.size, "connections", 0));
	} else if (!strcmp(type, "alone-state")) {
		assert_in_range(at, 0, h2.state.size - 1);
		/* in two */
		bh_bus_reply_bytes(req, NULL, h2.state.data + at,
				   h2.slice ? h2.slice
				   : at	    ? h2.state.size - at
					    : h2.state.size / 2);
	} else {
		h2.ended += !strcmp(type, "alone-end");
		h2.starts += !strcmp(type, "start");
		bh_bus_reply(req, NULL);
	}
}

static void set_state(const struct bh_image *image)
{
	struct bh_image *none = bh_image_new();
	struct bh_delta *delta = bh_delta_between(none, image);

	bh_wbuf_done(&h2.state);
	bh_wbuf_init(&h2.state, 0);
	bh_delta_encode(delta, &h2.state);
	bh_delta_free(delta);
	bh_image_free(none);
}

static void good_source(void)
{
	static const struct bh_hash any = {.bytes = {1}};
	BH_FREE char *xml = world_domain("closed");
	struct hostd_vm vm = {};

	assert_int_equal(hostd_domxml_parse(xml, strlen(xml), &vm, NULL), 0);
	json_decref(h2.vm);
	h2.vm = hostd_report_vm(w.agent, &vm);
	hostd_vm_done(&vm);
	json_decref(h2.grant);
	h2.grant = sign(grant_text("h2", &any, true), "manager");
	set_state(h2.image);
	h2.gone = false;
	h2.asked = h2.ended = h2.starts = 0;
}

static void grant_of_source(const char *key, json_t *value)
{
	static const struct bh_hash any = {.bytes = {1}};
	json_t *text = grant_text("h2", &any, true);

	json_object_set_new(text, key, value);
	json_decref(h2.grant);
	h2.grant = sign(text, "manager");
}

/* ---- the walk ---- */

/* What h1 holds of the manager's before: a set of somebody else's. */
static struct bh_image *other_image(void)
{
	struct bh_image *image = bh_image_new();
	struct bh_segment *set = bh_segment_new("set:other");
	struct bh_rec rec = {
		.type = BH_REC_SET,
		.set = {.set = 800, .default_rule = 2, .default_action = BH_ACTION_ALLOW}};

	bh_segment_add(set, &rec);
	image_put(image, set);
	return image;
}

/* What h2 holds of the VM, but one set says something else. */
static struct bh_image *tampered_image(void)
{
	struct bh_image *image = world_image(300, true);
	struct bh_segment *set = bh_segment_new("set:300.0");
	struct bh_rec rec = {
		.type = BH_REC_SET,
		.set = {.set = 600, .default_rule = 3, .default_action = BH_ACTION_ALLOW}};

	bh_segment_add(set, &rec);
	image_put(image, set);
	return image;
}

static void begin(void)
{
	BH_FREE char *xml = world_domain("closed");

	world_call_begin(json_pack("{s:s, s:s, s:s, s:[]}", "op", "migrate", "xml", xml, "why",
				   "live", "by"));
}

static void refused(const char *words)
{
	const char *error;

	begin();
	error = bh_json_str_or(world_call_end(), "error", "(it was let in)");
	if (!strstr(error, words) || !strstr(error, "the manager is away")) {
		fail_msg("\"%s\" does not say \"%s\"", error, words);
	}
	assert_false(hostd_alone_untold(w.agent));
}

static bool ended(void)
{
	return h2.ended > 0;
}

/* ... and the source, which was asked, hears of it. */
static void refused_and_told(const char *words)
{
	refused(words);
	world_wait(ended, "the source to hear of it");
	assert_int_equal(h2.asked, 1);
	assert_int_equal(h2.starts, 0);
}

/* In this order; the manager is there until test_nothing_signed(). */
static void test_grants(void **state)
{
	struct bh_image *image = other_image();
	json_t *spoiled;
	char *text;

	h2.image = world_image(300, true);
	world_start();
	world_wait(world_session_up, "the hello");
	world_peer_open(on_peer, &h2.bus, &h2.signer, &h2.cert, &h2.cert_size);
	good_source();
	world_apply(NULL, image);
	/* not the manager's, another host's, changed */
	assert_string_equal(give(sign(grant_text("h1", bh_image_hash(image), false), "h2")),
			    "failed");
	assert_string_equal(give(sign(grant_text("h2", bh_image_hash(image), false), "manager")),
			    "failed");
	spoiled = sign(grant_text("h1", bh_image_hash(image), false), "manager");
	text = bh_strdup(bh_json_str_or(spoiled, "text", ""));
	*strchr(text, '5') = '6';
	json_object_set_new(spoiled, "text", json_string(text));
	free(text);
	assert_string_equal(give(spoiled), "failed");
	assert_string_equal(give(json_pack("{s:s}", "text", "{}")), "failed");
}

static void test_nothing_signed(void **state)
{
	world_manager_close();
	refused("h1 holds nothing that the manager signed");
	world_manager_open();
	world_wait(world_session_up, "the hello");
	assert_string_equal(give(sign(grant_text("h1", bh_image_hash(w.image), false), "manager")),
			    "");
	world_manager_close();
}

static void test_bad_sources(void **state)
{
	BH_JSON json_t *other = NULL;
	struct bh_image *image = tampered_image();

	h2.gone = true;
	refused("no host that the manager named");
	good_source();
	grant_of_source("host", json_string("h3"));
	refused_and_told("signed for host h3");
	good_source();
	grant_of_source("until", json_integer(now_s() - 1));
	refused_and_told("has run out");
	good_source();
	grant_of_source("revision", json_integer(4));
	refused_and_told("the manager signed revision 5 for this host and 4 for host h2");
	good_source();
	grant_of_source("groups", json_pack("[[s]]", "h3"));
	refused_and_told("did not allow host h1");
	good_source();
	grant_of_source("vms", json_object());
	refused_and_told("did not allow host h1");
	good_source(); /* its own word */
	other = h2.grant;
	h2.grant = sign(json_loads(bh_json_str_or(other, "text", ""), 0, NULL), "h2");
	refused_and_told("the certificate is not for \"manager\"");
	good_source(); /* other rules than the signed ones */
	set_state(image);
	refused_and_told("is not what the manager signed");
	bh_image_drop(image, "set:300.0");
	set_state(image);
	h2.asked = h2.ended = 0;
	refused_and_told("did not send set:300.0");
	bh_image_free(image);
	good_source(); /* another VM than the one of the XML */
	json_object_set_new(h2.vm, "tenant", json_string("rival"));
	refused_and_told("another tenant");
	good_source();
	json_object_set_new(json_array_get(json_object_get(h2.vm, "nics"), 0), "net",
			    json_string("bridge/br9"));
	refused_and_told("has another network");
}

/* As many moves as are kept, of which the manager does not know. */
static void fill(bool full)
{
	for (unsigned int i = 0; i < 64; i++) {
		char id[33];

		snprintf(id, sizeof(id), "%032x", i + 1);
		if (full) {
			alone_note(w.agent, id, id, "source", "h3");
		} else {
			hostd_alone_over(w.agent, id);
		}
	}
}

static void test_no_room(void **state)
{
	good_source();
	fill(true);
	begin();
	assert_non_null(strstr(bh_json_str_or(world_call_end(), "error", ""),
			       "of which the manager does not know yet"));
	assert_int_equal(h2.asked, 0);
	fill(false);
}

/* A source that hands over a few bytes at a time is not waited for. */
static void test_drops(void **state)
{
	good_source();
	h2.slice = 1;
	refused_and_told("in too many pieces");
	h2.slice = 0;
}

static bool started(void)
{
	return h2.starts > 0;
}

/* A capsule without connections. */
static void send_part(uint32_t seq, uint8_t phase)
{
	struct bh_capsule_head head = {.seq = seq, .source = "h2", .target = "h1"};
	struct bh_capsule_nic nic = {.net = 1, .identity = 300, .tenant = 2};
	struct bh_capsule_mark mark = {.phase = phase};
	struct bh_capsule_writer *writer;
	struct bh_bus_msg msg = {};
	char subject[BH_SUBJECT_SIZE];

	assert_int_equal(bh_mac_parse(WORLD_MAC, nic.mac), 0);
	assert_int_equal(bh_hex_parse(h2.id, head.migration, 16), 0);
	assert_int_equal(bh_uuid_parse(WORLD_VM, head.vm), 0);
	head.cert = h2.cert;
	head.cert_size = h2.cert_size;
	writer = bh_capsule_writer_new(&head);
	assert_true(seq || bh_capsule_put_nic(writer, &nic));
	assert_true(bh_capsule_put_mark(writer, &mark));
	assert_int_equal(
		bh_capsule_finish(writer, bh_pki_sign, h2.signer, &msg.bytes, &msg.size, NULL), 0);
	msg.json = json_pack("{s:s, s:s, s:I}", "type", "part", "migration", h2.id, "seq",
			     (json_int_t)seq);
	h2.part_answered = false;
	bh_bus_request(h2.bus, bh_subject_peer("h1", "h2", subject), &msg, 5000, on_answer, NULL);
	json_decref(msg.json);
	bh_capsule_writer_free(writer);
	world_wait(answered, "an answer to a part");
	assert_string_equal(h2.code, "");
}

static void test_comes(void **state)
{
	BH_FREE char *file = bh_asprintf("%s/platform/domains/web.xml", w.dir);
	BH_FREE char *xml = world_domain("closed");
	const json_t *reply;

	good_source();
	begin();
	world_wait(started, "the source to be asked");
	send_part(0, BH_CAPSULE_WHOLE);
	reply = world_call_end();
	if (!json_is_true(json_object_get(reply, "ok"))) {
		fail_msg("%s", bh_json_str_or(reply, "error", ""));
	}
	send_part(1, BH_CAPSULE_FINAL);
	/* its rules are here, in memory and in the kernel, beside those that were */
	assert_non_null(bh_image_get(hostd_state_image(w.agent), "vm:" WORLD_VM));
	assert_non_null(bh_image_get(hostd_state_image(w.agent), "set:other"));
	assert_true(bh_hash_equal(bh_image_hash(hostd_state_image(w.agent)),
				  hostd_dp_hash(w.agent->dp)));
	assert_true(hostd_alone_untold(w.agent));
	/* libvirt starts it: what is here does */
	world_sh("ip tuntap add tap0 mode tap && ip link set tap0 master br0 up");
	reply = world_birth("closed");
	if (!json_is_true(json_object_get(reply, "ok"))) {
		fail_msg("%s", bh_json_str_or(reply, "error", ""));
	}
	/* a second attempt takes nothing away from the one that libvirt is at */
	begin();
	assert_non_null(
		strstr(bh_json_str_or(world_call_end(), "error", ""), "it is here already"));
	world_write(file, xml);
	hostd_platform_refresh(w.agent->sources[0].platform);
	assert_true(world_nic_fed());
}

/* All of it is on disk. */
static void test_restart(void **state)
{
	world_stop();
	world_start();
	world_wait(world_nic_fed, "the NIC to be fed from what is on disk");
	assert_non_null(bh_image_get(hostd_state_image(w.agent), "vm:" WORLD_VM));
	assert_true(hostd_alone_untold(w.agent));
	assert_true(bh_hash_equal(bh_image_hash(hostd_state_image(w.agent)),
				  hostd_dp_hash(w.agent->dp)));
}

static bool manager(struct bh_bus_request *req, const struct bh_bus_msg *msg)
{
	if (strcmp(bh_json_str_or(msg->json, "type", ""), "hello") != 0) {
		return false;
	}
	json_decref(hello);
	hello = json_deep_copy(msg->json);
	w.hellos++;
	bh_bus_reply(req, json_pack("{s:o}", "migrations",
				    adopted ? json_incref(adopted) : json_array()));
	return true;
}

static bool bus_up(void)
{
	return bh_bus_up(hostd_session_bus(w.agent));
}

static bool told(void)
{
	return hello && world_session_up();
}

/* It says so with its hello, and takes nothing else before. */
static void test_manager_is_back(void **state)
{
	struct bh_image *image = other_image();
	struct bh_image *whole = world_image(300, true);
	const json_t *move;

	w.manager_mute = true;
	world_manager_open();
	world_wait(bus_up, "the bus");
	world_apply(NULL, image); /* knows nothing of the VM */
	assert_string_equal(w.code, "stale");
	assert_non_null(bh_image_get(hostd_state_image(w.agent), "vm:" WORLD_VM));
	w.manager_mute = false;
	w.manager = manager;
	adopted = json_pack("[{s:s, s:s, s:s, s:s, s:s}]", "migration", h2.id, "vm", WORLD_VM,
			    "role", "target", "peer", "h2", "phase", "final");
	world_wait(told, "another hello");
	move = json_array_get(json_object_get(hello, "alone"), 0);
	assert_string_equal(bh_json_str_or(move, "migration", ""), h2.id);
	assert_string_equal(bh_json_str_or(move, "vm", ""), WORLD_VM);
	assert_string_equal(bh_json_str_or(move, "role", ""), "target");
	assert_string_equal(bh_json_str_or(move, "peer", ""), "h2");
	assert_true(json_is_true(json_object_get(move, "final")));
	assert_int_equal(strlen(bh_json_str_or(hello, "grant", "")), 64);
	assert_false(hostd_alone_untold(w.agent));
	world_apply(NULL, whole);
	assert_string_equal(w.code, "");
	world_wait(world_nic_fed, "the NIC to be fed");
}

/* ---- as source ---- */

static struct {
	bool done;
	char code[32], text[300];
	json_t *json;
	struct bh_wbuf bytes;
} said;

static void on_said(int err, const struct bh_bus_msg *reply, void *arg)
{
	snprintf(said.code, sizeof(said.code), "%s", bh_bus_reply_code(err, reply));
	snprintf(said.text, sizeof(said.text), "%s", bh_bus_reply_text(err, reply));
	json_decref(said.json);
	said.json = reply ? json_deep_copy(reply->json) : NULL;
	if (reply && reply->size) {
		bh_wbuf_put(&said.bytes, reply->bytes, reply->size);
	}
	said.done = true;
}

static bool done(void)
{
	return said.done;
}

/* h2 asks h1; the code of the answer. */
static const char *ask(const char *type, const char *id, size_t at)
{
	char subject[BH_SUBJECT_SIZE];
	struct bh_bus_msg msg = {.json = json_pack("{s:s, s:s, s:s, s:I}", "type", type,
						   "migration", id, "vm", WORLD_VM, "at",
						   (json_int_t)at)};

	said.done = false;
	bh_bus_request(h2.bus, bh_subject_peer("h1", "h2", subject), &msg, 5000, on_said, NULL);
	json_decref(msg.json);
	world_wait(done, "an answer");
	return said.code;
}

static void source_refuses(const char *words)
{
	assert_string_equal(ask("alone", "00112233445566778899aabbccddeeff", 0), "refused");
	if (!strstr(said.text, words)) {
		fail_msg("\"%s\" does not say \"%s\"", said.text, words);
	}
}

static json_t *grant_for(const char *target, const struct bh_hash *hash)
{
	json_t *text = grant_text("h1", hash, true);

	json_object_set_new(text, "groups", json_pack("[[s]]", target));
	return sign(text, "manager");
}

/* Only what the manager signed for what this host holds now, and only to whom it names. */
static void test_source_refuses(void **state)
{
	static const struct bh_hash other = {.bytes = {9}};

	assert_string_equal(ask("who-has", "", 0), "");
	source_refuses("holds another state"); /* what it signed was before the VM came */
	assert_string_equal(give(sign(grant_text("h1", bh_image_hash(w.image), false), "manager")),
			    "");
	source_refuses("no policy lets this VM migrate without the manager");
	assert_string_equal(give(grant_for("h3", bh_image_hash(w.image))), "");
	source_refuses("did not allow host h2");
	assert_string_equal(give(grant_for("h2", &other)), "");
	source_refuses("holds another state");
	assert_string_equal(give(grant_for("h2", bh_image_hash(w.image))), "");
	assert_string_equal(ask("alone", "../..", 0), "refused");
	assert_string_equal(ask("alone-state", "00112233445566778899aabbccddeeff", 0), "unknown");
}

static void test_source_hands_over(void **state)
{
	static const char id[] = "00112233445566778899aabbccddeeff";
	struct bh_image *none = bh_image_new();
	struct bh_image *state_of = NULL;
	struct bh_delta *delta = NULL;
	struct bh_grant *grant = NULL;
	struct bh_diag diag = {};
	uint64_t size;

	assert_string_equal(ask("alone", id, 0), "");
	size = bh_json_u64_or(said.json, "size", 0);
	assert_int_equal(
		alone_read_grant(w.agent, json_object_get(said.json, "grant"), &grant, &diag), 0);
	assert_string_equal(bh_grant_host(grant), "h1");
	bh_grant_free(grant);
	assert_string_equal(bh_json_str_or(json_object_get(said.json, "vm"), "tenant", ""), "shop");
	bh_wbuf_done(&said.bytes);
	assert_string_equal(ask("alone-state", id, 0), "");
	assert_int_equal(said.bytes.size, size);
	assert_int_equal(bh_delta_decode(said.bytes.data, said.bytes.size, &delta, &diag), 0);
	assert_int_equal(bh_delta_apply(delta, none, &state_of, &diag), 0);
	assert_true(bh_hash_equal(bh_image_hash(state_of), bh_image_hash(h2.image)));
	assert_string_equal(ask("alone-state", id, size), "failed"); /* behind its end */
	assert_string_equal(ask("start", id, 0), "");
	/* given up: nothing of it is left, and the manager hears nothing */
	assert_string_equal(ask("alone-end", id, 0), "");
	assert_string_equal(ask("start", id, 0), "unknown");
	assert_string_equal(ask("alone-state", id, 0), "unknown");
	bh_delta_free(delta);
	bh_image_free(state_of);
	bh_image_free(none);
	bh_wbuf_done(&said.bytes);
	json_decref(said.json);
	said.json = NULL;
	world_wait(world_session_up, "another hello");
}

static struct bh_bus_request *held;

static bool late_manager(struct bh_bus_request *req, const struct bh_bus_msg *msg)
{
	if (strcmp(bh_json_str_or(msg->json, "type", ""), "hello") != 0) {
		return manager(req, msg);
	}
	json_decref(hello);
	hello = json_deep_copy(msg->json);
	held = req;
	return true;
}

static bool is_held(void)
{
	return held;
}

static void answer_hello(void)
{
	bh_bus_reply(bh_steal(&held), json_pack("{s:o}", "migrations", json_incref(adopted)));
}

static uint64_t moves(void)
{
	BH_JSON json_t *status = hostd_alone_json(w.agent);

	return bh_json_u64_or(status, "moves", 99);
}

/* What began after the manager was told which moves there are is not over by its answer. */
static void test_source_while_a_hello_is_answered(void **state)
{
	static const char first[] = "00112233445566778899aabbccddee01";
	static const char second[] = "00112233445566778899aabbccddee02";
	uint64_t before = moves();

	w.manager = late_manager;
	hostd_session_anew(w.agent);
	world_wait(is_held, "a hello");
	assert_string_equal(ask("alone", first, 0), "");
	/* the target asks anew: the first attempt is forgotten */
	assert_string_equal(ask("alone", second, 0), "");
	assert_int_equal(moves(), before + 1);
	assert_string_equal(ask("start", first, 0), "unknown");
	answer_hello();
	world_wait(is_held, "the next hello, with the move");
	assert_string_equal(ask("start", second, 0), "");
	assert_int_equal(json_array_size(json_object_get(hello, "alone")), before + 1);
	answer_hello(); /* which says that it is over */
	w.manager = manager;
	world_wait(world_session_up, "its answer");
	assert_string_equal(ask("start", second, 0), "unknown");
	assert_int_equal(moves(), before);
}

static void test_source_has_no_room(void **state)
{
	static const char id[] = "00112233445566778899aabbccddee03";

	w.manager = late_manager; /* nothing is heard of it, so nothing is over */
	fill(true);
	assert_string_equal(ask("alone", id, 0), "refused");
	assert_non_null(strstr(said.text, "of which the manager does not know yet"));
	assert_string_equal(ask("start", id, 0), "unknown");
	fill(false);
	world_wait(is_held, "a hello");
	answer_hello();
	w.manager = manager;
	world_wait(world_session_up, "its answer");
}

/* Over is over; and what the manager takes back is worth nothing. */
static void test_end(void **state)
{
	BH_JSON json_t *status = NULL;
	char subject[BH_SUBJECT_SIZE];
	struct bh_bus_msg msg = {};

	msg.json = json_pack("{s:s, s:s, s:s}", "type", "arrive-end", "migration", h2.id, "result",
			     "done");
	h2.part_answered = false;
	bh_bus_request(w.bus, bh_subject_cmd("h1", subject), &msg, 5000, on_answer, NULL);
	json_decref(msg.json);
	world_wait(answered, "an answer");
	status = hostd_alone_json(w.agent);
	assert_int_equal(bh_json_u64_or(status, "moves", 9), 0);
	assert_int_equal(bh_json_u64_or(status, "revision", 0), 5);
	assert_string_equal(give(json_object()), "");
	json_decref(status);
	status = hostd_alone_json(w.agent);
	assert_int_equal(bh_json_u64_or(status, "revision", 9), 0);
	world_stop();
	bh_bus_free(h2.bus);
	bh_pki_signer_free(h2.signer);
	free(h2.cert);
	bh_image_free(h2.image);
	bh_wbuf_done(&h2.state);
	json_decref(h2.vm);
	json_decref(h2.grant);
	json_decref(hello);
	json_decref(adopted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grants),
		cmocka_unit_test(test_nothing_signed),
		cmocka_unit_test(test_bad_sources),
		cmocka_unit_test(test_drops),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_comes),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_manager_is_back),
		cmocka_unit_test(test_source_refuses),
		cmocka_unit_test(test_source_hands_over),
		cmocka_unit_test(test_source_while_a_hello_is_answered),
		cmocka_unit_test(test_source_has_no_room),
		cmocka_unit_test(test_end),
	};

	return world_run("hostd_alone", tests, BH_ARRAY_SIZE(tests));
}

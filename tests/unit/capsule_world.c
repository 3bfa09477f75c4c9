/* SPDX-License-Identifier: Apache-2.0 */
#include "capsule_world.h"

#include "base/file.h"
#include "base/json.h"
#include "bus/subject.h"

#define ANSWER_MS 5000
#define TYPES_MAX 64

struct capsule_peer h2;
struct capsule_manager boss;
uint8_t capsule_vm[16];

/* ---- events ---- */

static char types[TYPES_MAX][32];
static unsigned int type_count;

void __real_hostd_agent_event(struct hostd_agent *agent, json_t *event);
void __wrap_hostd_agent_event(struct hostd_agent *agent, json_t *event);
void __wrap_hostd_agent_event(struct hostd_agent *agent, json_t *event)
{
	snprintf(types[type_count++ % TYPES_MAX], sizeof(types[0]), "%s",
		 bh_json_str_or(event, "type", ""));
	__real_hostd_agent_event(agent, event);
}

unsigned int capsule_events(const char *type)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < type_count && i < TYPES_MAX; i++) {
		count += !strcmp(types[i], type);
	}
	return count;
}

/* ---- the other host ---- */

static int check(const struct bh_capsule_head *head, const struct bh_capsule_signed *what,
		 void *arg, struct bh_diag *diag)
{
	static struct bh_pki_verifier *verifier;
	BH_FREE char *ca = bh_asprintf("%s/pki/ca.crt", w.dir);

	if (!head->seq) {
		bh_pki_verifier_free(verifier);
		verifier = NULL;
		assert_int_equal(bh_pki_verifier_open(ca, head->cert, head->cert_size, "host.h1",
						      &verifier, diag),
				 0);
		memset(&h2.sum, 0, sizeof(h2.sum));
		h2.next = h2.conns = h2.gones = h2.nics = h2.segments = 0;
	}
	h2.out_of_order |= head->seq != h2.next;
	h2.next = head->seq + 1;
	return bh_pki_verify(verifier, what->data, what->size, what->sig, what->sig_size, diag);
}

static void on_nic(const struct bh_capsule_nic *nic, void *arg)
{
	h2.nics++;
}
static void on_segment(const struct bh_capsule_segment *segment, void *arg)
{
	const struct bh_segment *mine = bh_image_get(w.image, segment->name);

	assert_non_null(mine);
	assert_true(bh_hash_equal(bh_segment_hash(mine), &segment->hash));
	h2.segments++;
}
static void on_conn(const struct bh_capsule_conn *conn, void *arg)
{
	struct bh_hash hash;

	bh_capsule_conn_hash(h2.hasher, conn, &hash);
	bh_hash_add(&h2.sum, &hash);
	h2.conns++;
}
static void on_gone(const struct bh_capsule_tuple *tuple, void *arg)
{
	h2.gones++;
}
static void on_mark(const struct bh_capsule_mark *mark, void *arg)
{
	h2.wholes += mark->phase == BH_CAPSULE_WHOLE;
	h2.finals += mark->phase == BH_CAPSULE_FINAL;
	h2.mark = *mark;
}

static void on_peer(struct bh_bus_request *req, const struct bh_bus_msg *msg, void *arg)
{
	const struct bh_capsule_handlers handlers = {.verify = check,
						     .nic = on_nic,
						     .segment = on_segment,
						     .conn = on_conn,
						     .gone = on_gone,
						     .mark = on_mark};
	struct bh_diag diag = {};

	if (!strcmp(bh_json_str_or(msg->json, "type", ""), "start")) {
		h2.starts++;
		if (h2.gone) {
			bh_bus_reply_error(req, "gone", "the test says so");
		} else {
			bh_bus_reply(req, NULL);
		}
		return;
	}
	h2.parts++;
	if (h2.refuse) {
		h2.refuse--;
		bh_bus_reply_error(req, "bad", "the test says so");
		return;
	}
	if (bh_capsule_read(msg->bytes, msg->size, &handlers, NULL, &diag) != 0) {
		h2.forged = true;
	}
	bh_bus_reply(req, NULL);
}

void capsule_peer_open(void)
{
	h2.hasher = bh_hasher_new();
	world_peer_open(on_peer, &h2.bus, &h2.signer, &h2.cert, &h2.cert_size);
}

void capsule_peer_close(void)
{
	bh_bus_free(h2.bus);
	bh_pki_signer_free(h2.signer);
	bh_hasher_free(h2.hasher);
	free(h2.cert);
	json_decref(boss.receipt);
	json_decref(boss.list);
}

/* ---- the manager ---- */

bool capsule_manager(struct bh_bus_request *req, const struct bh_bus_msg *msg)
{
	const char *type = bh_json_str_or(msg->json, "type", "");
	const char *phase = bh_json_str_or(msg->json, "phase", "");
	char hash[2 * BH_HASH_SIZE + 1] = "";

	if (!strcmp(type, "hello") && boss.list) {
		w.hellos++;
		bh_bus_reply(req, json_pack("{s:O}", "migrations", boss.list));
	} else if (!strcmp(type, "migrate")) {
		boss.asked++;
		if (boss.refuses) {
			bh_bus_reply_error(req, "refused", "%s", boss.refuses);
			return true;
		}
		if (w.image) {
			bh_hash_format(bh_image_hash(w.image), hash);
		}
		bh_bus_reply(req, json_pack("{s:s, s:s, s:s}", "migration", MOVE, "source",
					    boss.alone ? "" : "h2", "hash", hash));
	} else if (!strcmp(type, "migrated")) {
		assert_string_equal(bh_json_str_or(msg->json, "migration", ""), MOVE);
		boss.finals += !strcmp(phase, "final");
		boss.cuts += !strcmp(phase, "cut");
		boss.faileds += !strcmp(phase, "failed");
		snprintf(boss.why, sizeof(boss.why), "%s", bh_json_str_or(msg->json, "why", ""));
		if (!strcmp(phase, "installed")) {
			boss.installed++;
			json_decref(boss.receipt);
			boss.receipt = json_deep_copy(json_object_get(msg->json, "receipt"));
			if (boss.refuses_receipt) {
				bh_bus_reply_error(req, "refused", "the test says no");
				return true;
			}
		}
		bh_bus_reply(req, NULL);
	} else {
		return false;
	}
	return true;
}

static void on_commanded(int err, const struct bh_bus_msg *reply, void *arg)
{
	snprintf(w.code, sizeof(w.code), "%s", err ? bh_bus_reply_code(err, reply) : "");
	w.answered = true;
}

static bool answered(void)
{
	return w.answered;
}

/* Asks h1; by: the manager or the other host. */
void capsule_ask(struct bh_bus *by, const char *subject, json_t *body)
{
	struct bh_bus_msg msg = {.json = body};

	w.answered = false;
	bh_bus_request(by, subject, &msg, ANSWER_MS, on_commanded, NULL);
	json_decref(body);
	world_wait(answered, "an answer of h1");
}

void capsule_command(json_t *body)
{
	char subject[BH_SUBJECT_SIZE];

	capsule_ask(w.bus, bh_subject_cmd("h1", subject), body);
}

void capsule_end(const char *role, const char *result)
{
	capsule_command(json_pack("{s:s, s:s, s:s, s:s}", "type", role, "migration", MOVE, "result",
				  result, "why", "the test says so"));
}

/* ---- what goes from h2 to h1 ---- */

struct bh_capsule_conn capsule_conn_at(unsigned int i)
{
	struct bh_capsule_conn c = {
		.tuple = {.net = 1, .lo_port = 3306, .hi_port = (uint16_t)(i + 1000), .proto = 6},
		.state = BH_CT_ESTABLISHED,
		.flags = BH_CT_ORIG_HI | BH_CT_EGRESS_OK | BH_CT_INGRESS_OK | BH_CT_SEEN_REPLY,
		.nic = {1, 0},
		.policy_port = 3306,
		.timeout_s = 600,
		.identity = {300, 301},
		.rule = {2, 2},
		.packets = {5, 6},
		.bytes = {500, 600}};

	assert_int_equal(bh_addr_parse("10.78.0.11", c.tuple.lo), 0);
	assert_int_equal(bh_addr_parse("10.78.0.12", c.tuple.hi), 0);
	return c;
}

static void on_part_answer(int err, const struct bh_bus_msg *reply, void *arg)
{
	h2.unanswered--;
	if (err) {
		snprintf(h2.code, sizeof(h2.code), "%s", bh_bus_reply_code(err, reply));
		snprintf(h2.error, sizeof(h2.error), "%s", bh_bus_reply_text(err, reply));
	}
}

static bool part_answered(void)
{
	return !h2.unanswered;
}

struct capsule_part capsule_part_new(uint32_t seq)
{
	struct capsule_part part = {.head = {.seq = seq, .source = "h2", .target = "h1"}};

	assert_int_equal(bh_hex_parse(MOVE, part.head.migration, 16), 0);
	assert_int_equal(bh_uuid_parse(WORLD_VM, part.head.vm), 0);
	part.head.cert = h2.cert;
	part.head.cert_size = h2.cert_size;
	part.writer = bh_capsule_writer_new(&part.head);
	return part;
}

/* Sends it and waits for the answer. `spoil` changes this byte of the capsule_end, 0 none. */
void capsule_part_send(struct capsule_part *part, size_t spoil)
{
	char subject[BH_SUBJECT_SIZE];
	const void *data = NULL;
	size_t size = 0;
	BH_FREE uint8_t *copy = NULL;
	struct bh_bus_msg msg = {};

	assert_int_equal(
		bh_capsule_finish(part->writer, bh_pki_sign, h2.signer, &data, &size, NULL), 0);
	copy = bh_memdup(data, size);
	if (spoil) {
		copy[size - spoil] ^= 1;
	}
	msg.json = json_pack("{s:s, s:s, s:I}", "type", "part", "migration", MOVE, "seq",
			     (json_int_t)part->head.seq);
	msg.bytes = copy;
	msg.size = size;
	*h2.code = '\0';
	h2.unanswered++;
	bh_bus_request(h2.bus, bh_subject_peer("h1", "h2", subject), &msg, ANSWER_MS,
		       on_part_answer, NULL);
	json_decref(msg.json);
	bh_capsule_writer_free(part->writer);
	world_wait(part_answered, "an answer to a part");
}

struct bh_capsule_nic capsule_nic_record(void)
{
	struct bh_capsule_nic nic = {.net = 1, .identity = 300, .tenant = 2};

	assert_int_equal(bh_mac_parse(WORLD_MAC, nic.mac), 0);
	return nic;
}

static void put_conn(struct capsule_part *part, const struct bh_capsule_conn *c,
		     struct bh_capsule_mark *mark)
{
	struct bh_hash hash;

	bh_capsule_conn_hash(h2.hasher, c, &hash);
	bh_hash_add(&mark->hash, &hash);
	mark->connections++;
	assert_true(bh_capsule_put_conn(part->writer, c));
}

/* Part 0: the NIC and half of the capsule_connections; part 1: the rest and the mark. */
void capsule_send_whole(unsigned int wrong_by)
{
	struct bh_capsule_nic nic = capsule_nic_record();
	struct capsule_part part = capsule_part_new(0);
	struct bh_capsule_mark mark = {.phase = BH_CAPSULE_WHOLE};

	assert_true(bh_capsule_put_nic(part.writer, &nic));
	for (unsigned int i = 0; i < CONNS; i++) {
		struct bh_capsule_conn c = capsule_conn_at(i);

		put_conn(&part, &c, &mark);
		if (i == CONNS / 2) {
			capsule_part_send(&part, 0);
			assert_string_equal(h2.code, "");
			part = capsule_part_new(1);
		}
	}
	if (h2.ripe) {
		struct bh_capsule_conn c = capsule_conn_at(CONNS + 100);

		c.idle_ms = c.timeout_s * 1000;
		put_conn(&part, &c, &mark);
	}
	mark.connections += wrong_by;
	assert_true(bh_capsule_put_mark(part.writer, &mark));
	capsule_part_send(&part, 0);
	h2.seq = 2;
}

void capsule_send_final(void)
{
	struct capsule_part part = capsule_part_new(h2.seq++);
	struct bh_capsule_mark mark = {.phase = BH_CAPSULE_FINAL};

	assert_true(bh_capsule_put_mark(part.writer, &mark));
	capsule_part_send(&part, 0);
}

/* ---- what h1 holds ---- */

static void count_conn(const struct hostd_dp_connection *c, void *arg)
{
	++*(unsigned int *)arg;
}

unsigned int capsule_connections(void)
{
	struct hostd_dp_connection_filter filter = {};
	unsigned int count = 0;

	assert_true(hostd_dp_connections(w.agent->dp, &filter, count_conn, &count, NULL) >= 0);
	return count;
}

void capsule_migrate_begin(const char *why)
{
	BH_FREE char *xml = world_domain("closed");

	world_call_begin(json_pack("{s:s, s:s, s:s, s:[{s:s}]}", "op", "migrate", "xml", xml, "why",
				   why, "by", "user", "root"));
}

const char *capsule_migrate_error(void)
{
	return bh_json_str_or(world_call_end(), "error", "");
}

void capsule_migrate_allowed(void)
{
	const json_t *reply = world_call_end();

	if (!json_is_true(json_object_get(reply, "ok"))) {
		fail_msg("%s", bh_json_str_or(reply, "error", ""));
	}
}

void capsule_hook_ended(void)
{
	world_call(json_pack("{s:s, s:s, s:s}", "op", "hook", "uuid", WORLD_VM, "event", "ended"));
}

void capsule_vm_is_here(bool here)
{
	BH_FREE char *file = bh_asprintf("%s/platform/domains/web.xml", w.dir);
	BH_FREE char *xml = world_domain("closed");

	if (here) {
		world_write(file, xml);
	} else {
		unlink(file);
	}
	hostd_platform_refresh(w.agent->sources[0].platform);
}

bool capsule_vm_known(void)
{
	const struct hostd_vm *vm = hostd_inventory_find(w.agent->inv, capsule_vm);

	return vm && vm->running;
}
bool capsule_vm_unknown(void)
{
	return !capsule_vm_known();
}

void capsule_dummy_event(enum hostd_vm_event event, enum hostd_vm_detail detail)
{
	hostd_dummy_event(w.agent->sources[0].platform, capsule_vm, event, detail);
}

void capsule_forget(void)
{
	type_count = 0;
	h2.starts = 0;
	boss.installed = boss.finals = boss.cuts = boss.faileds = 0;
}

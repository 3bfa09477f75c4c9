/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both sides of a move in one host: h1 is the real engine on the real kernel dataplane, this file
 * plays the manager and the other host, h2.
 */
#include "base/file.h"
#include "base/json.h"
#include "base/time.h"
#include "bus/pki_sign.h"
#include "bus/subject.h"
#include "host/capsule/capsule.h"
#include "hostd_world.h"
#include "model/capsule.h"

#define MOVE	  "00112233445566778899aabbccddeeff"
#define CONNS	  300
#define ANSWER_MS 5000

/* ---- the other host ---- */

static struct peer {
	struct bh_bus *bus;
	struct bh_pki_signer *signer;
	char *cert;
	size_t cert_size;
	unsigned int starts;

	/* as source: what the target answered */
	uint32_t seq;
	unsigned int unanswered;
	char code[32], error[300];

	/* as target */
	unsigned int parts, refuse, conns, gones, wholes, finals, nics;
	struct bh_capsule_mark mark;
	struct bh_hash sum;
	struct bh_hasher *hasher;
	uint32_t next;
	bool out_of_order, forged;
} p;

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
		memset(&p.sum, 0, sizeof(p.sum));
		p.next = p.conns = p.gones = p.nics = 0;
	}
	p.out_of_order |= head->seq != p.next;
	p.next = head->seq + 1;
	return bh_pki_verify(verifier, what->data, what->size, what->sig, what->sig_size, diag);
}

static void on_nic(const struct bh_capsule_nic *nic, void *arg)
{
	p.nics++;
}
static void on_conn(const struct bh_capsule_conn *conn, void *arg)
{
	struct bh_hash hash;

	bh_capsule_conn_hash(p.hasher, conn, &hash);
	bh_hash_add(&p.sum, &hash);
	p.conns++;
}
static void on_gone(const struct bh_capsule_tuple *tuple, void *arg)
{
	p.gones++;
}
static void on_mark(const struct bh_capsule_mark *mark, void *arg)
{
	p.wholes += mark->phase == BH_CAPSULE_WHOLE;
	p.finals += mark->phase == BH_CAPSULE_FINAL;
	p.mark = *mark;
}

static void on_peer(struct bh_bus_request *req, const struct bh_bus_msg *msg, void *arg)
{
	const struct bh_capsule_handlers handlers = {
		.verify = check, .nic = on_nic, .conn = on_conn, .gone = on_gone, .mark = on_mark};
	struct bh_diag diag = {};

	if (!strcmp(bh_json_str_or(msg->json, "type", ""), "start")) {
		p.starts++;
		bh_bus_reply(req, NULL);
		return;
	}
	p.parts++;
	if (p.refuse) {
		p.refuse--;
		bh_bus_reply_error(req, "bad", "the test says so");
		return;
	}
	if (bh_capsule_read(msg->bytes, msg->size, &handlers, NULL, &diag) != 0) {
		p.forged = true;
	}
	bh_bus_reply(req, NULL);
}

static bool peer_up(void)
{
	return bh_bus_up(p.bus);
}

static void peer_open(void)
{
	BH_FREE char *ca = bh_asprintf("%s/pki/ca.crt", w.dir);
	BH_FREE char *cert = bh_asprintf("%s/pki/h2.crt", w.dir);
	BH_FREE char *key = bh_asprintf("%s/pki/h2.key", w.dir);
	struct bh_bus_options options = {.urls = bh_bus_server_url(w.server),
					 .name = "host.h2",
					 .inbox = "_INBOX.host.h2",
					 .ca_file = ca,
					 .cert_file = cert,
					 .key_file = key};
	char subject[BH_SUBJECT_SIZE];

	p.hasher = bh_hasher_new();
	assert_int_equal(bh_bus_new(&w.loop, &options, &p.bus, NULL), 0);
	bh_bus_serve(p.bus, bh_subject_peers("h2", subject), BH_SUBJECT_PEER_REPLY, on_peer, NULL);
	assert_int_equal(bh_pki_signer_open(key, &p.signer, NULL), 0);
	assert_int_equal(bh_file_read(cert, 65536, &p.cert, &p.cert_size, NULL), 0);
	world_wait(peer_up, "the other host");
}

/* ---- the manager ---- */

static struct manager {
	unsigned int asked, installed, finals, cuts, faileds;
	const char *refuses; /* sentence; NULL: lets it in */
	bool alone;	     /* no host of ours runs it */
	bool refuses_receipt;
	json_t *receipt, *list;
	char why[300];
} m;

static bool on_manager(struct bh_bus_request *req, const struct bh_bus_msg *msg)
{
	const char *type = bh_json_str_or(msg->json, "type", "");
	const char *phase = bh_json_str_or(msg->json, "phase", "");
	char hash[2 * BH_HASH_SIZE + 1] = "";

	if (!strcmp(type, "hello") && m.list) {
		w.hellos++;
		bh_bus_reply(req, json_pack("{s:O}", "migrations", m.list));
	} else if (!strcmp(type, "migrate")) {
		m.asked++;
		if (m.refuses) {
			bh_bus_reply_error(req, "refused", "%s", m.refuses);
			return true;
		}
		if (w.image) {
			bh_hash_format(bh_image_hash(w.image), hash);
		}
		bh_bus_reply(req, json_pack("{s:s, s:s, s:s}", "migration", MOVE, "source",
					    m.alone ? "" : "h2", "hash", hash));
	} else if (!strcmp(type, "migrated")) {
		assert_string_equal(bh_json_str_or(msg->json, "migration", ""), MOVE);
		m.finals += !strcmp(phase, "final");
		m.cuts += !strcmp(phase, "cut");
		m.faileds += !strcmp(phase, "failed");
		snprintf(m.why, sizeof(m.why), "%s", bh_json_str_or(msg->json, "why", ""));
		if (!strcmp(phase, "installed")) {
			m.installed++;
			json_decref(m.receipt);
			m.receipt = json_deep_copy(json_object_get(msg->json, "receipt"));
			if (m.refuses_receipt) {
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
static void ask(struct bh_bus *by, const char *subject, json_t *body)
{
	struct bh_bus_msg msg = {.json = body};

	w.answered = false;
	bh_bus_request(by, subject, &msg, ANSWER_MS, on_commanded, NULL);
	json_decref(body);
	world_wait(answered, "an answer of h1");
}

static void command(json_t *body)
{
	char subject[BH_SUBJECT_SIZE];

	ask(w.bus, bh_subject_cmd("h1", subject), body);
}

static void end(const char *role, const char *result)
{
	command(json_pack("{s:s, s:s, s:s, s:s}", "type", role, "migration", MOVE, "result", result,
			  "why", "the test says so"));
}

/* ---- what goes from h2 to h1 ---- */

static struct bh_capsule_conn conn_at(unsigned int i)
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
	p.unanswered--;
	if (err) {
		snprintf(p.code, sizeof(p.code), "%s", bh_bus_reply_code(err, reply));
		snprintf(p.error, sizeof(p.error), "%s", bh_bus_reply_text(err, reply));
	}
}

static bool part_answered(void)
{
	return !p.unanswered;
}

struct part {
	struct bh_capsule_head head;
	struct bh_capsule_writer *writer;
};

static struct part part_new(uint32_t seq)
{
	struct part part = {.head = {.seq = seq, .source = "h2", .target = "h1"}};

	assert_int_equal(bh_hex_parse(MOVE, part.head.migration, 16), 0);
	assert_int_equal(bh_uuid_parse(WORLD_VM, part.head.vm), 0);
	part.head.cert = p.cert;
	part.head.cert_size = p.cert_size;
	part.writer = bh_capsule_writer_new(&part.head);
	return part;
}

/* Sends it and waits for the answer. `spoil` changes this byte of the end, 0 none. */
static void part_send(struct part *part, size_t spoil)
{
	char subject[BH_SUBJECT_SIZE];
	const void *data = NULL;
	size_t size = 0;
	BH_FREE uint8_t *copy = NULL;
	struct bh_bus_msg msg = {};

	assert_int_equal(bh_capsule_finish(part->writer, bh_pki_sign, p.signer, &data, &size, NULL),
			 0);
	copy = bh_memdup(data, size);
	if (spoil) {
		copy[size - spoil] ^= 1;
	}
	msg.json = json_pack("{s:s, s:s, s:I}", "type", "part", "migration", MOVE, "seq",
			     (json_int_t)part->head.seq);
	msg.bytes = copy;
	msg.size = size;
	*p.code = '\0';
	p.unanswered++;
	bh_bus_request(p.bus, bh_subject_peer("h1", "h2", subject), &msg, ANSWER_MS, on_part_answer,
		       NULL);
	json_decref(msg.json);
	bh_capsule_writer_free(part->writer);
	world_wait(part_answered, "an answer to a part");
}

static struct bh_capsule_nic nic_record(void)
{
	struct bh_capsule_nic nic = {.net = 1, .identity = 300, .tenant = 2};

	assert_int_equal(bh_mac_parse(WORLD_MAC, nic.mac), 0);
	return nic;
}

/* Part 0: the NIC and half of the connections; part 1: the rest and the mark. */
static void send_whole(unsigned int wrong_by)
{
	struct bh_capsule_nic nic = nic_record();
	struct part part = part_new(0);
	struct bh_capsule_mark mark = {.phase = BH_CAPSULE_WHOLE, .connections = CONNS};

	assert_true(bh_capsule_put_nic(part.writer, &nic));
	for (unsigned int i = 0; i < CONNS; i++) {
		struct bh_capsule_conn c = conn_at(i);
		struct bh_hash hash;

		bh_capsule_conn_hash(p.hasher, &c, &hash);
		bh_hash_add(&mark.hash, &hash);
		assert_true(bh_capsule_put_conn(part.writer, &c));
		if (i == CONNS / 2) {
			part_send(&part, 0);
			assert_string_equal(p.code, "");
			part = part_new(1);
		}
	}
	mark.connections += wrong_by;
	assert_true(bh_capsule_put_mark(part.writer, &mark));
	part_send(&part, 0);
	p.seq = 2;
}

static void send_final(void)
{
	struct part part = part_new(p.seq++);
	struct bh_capsule_mark mark = {.phase = BH_CAPSULE_FINAL};

	assert_true(bh_capsule_put_mark(part.writer, &mark));
	part_send(&part, 0);
}

/* ---- what h1 holds ---- */

static void count_conn(const struct hostd_dp_connection *c, void *arg)
{
	++*(unsigned int *)arg;
}

static unsigned int connections(void)
{
	struct hostd_dp_connection_filter filter = {};
	unsigned int count = 0;

	assert_true(hostd_dp_connections(w.agent->dp, &filter, count_conn, &count, NULL) >= 0);
	return count;
}

static uint8_t vm_uuid[16];

static void migrate_begin(const char *why)
{
	BH_FREE char *xml = world_domain("closed");

	world_call_begin(json_pack("{s:s, s:s, s:s, s:[{s:s}]}", "op", "migrate", "xml", xml, "why",
				   why, "by", "user", "root"));
}

static const char *migrate_error(void)
{
	return bh_json_str_or(world_call_end(), "error", "");
}

static void migrate_allowed(void)
{
	const json_t *reply = world_call_end();

	if (!json_is_true(json_object_get(reply, "ok"))) {
		fail_msg("%s", bh_json_str_or(reply, "error", ""));
	}
}

static void hook_ended(void)
{
	world_call(json_pack("{s:s, s:s, s:s}", "op", "hook", "uuid", WORLD_VM, "event", "ended"));
}

static bool started(void)
{
	return p.starts > 0;
}
static bool failed_told(void)
{
	return m.faileds > 0;
}
static bool final_told(void)
{
	return m.finals > 0;
}
static bool cut_told(void)
{
	return m.cuts > 0;
}

static void vm_is_here(bool here)
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

static bool vm_known(void)
{
	const struct hostd_vm *vm = hostd_inventory_find(w.agent->inv, vm_uuid);

	return vm && vm->running;
}
static bool vm_unknown(void)
{
	return !vm_known();
}

static void dummy_event(enum hostd_vm_event event, enum hostd_vm_detail detail)
{
	hostd_dummy_event(w.agent->sources[0].platform, vm_uuid, event, detail);
}

static void forget(void)
{
	p.starts = 0;
	m.installed = m.finals = m.cuts = m.faileds = 0;
}

/* ---- as target, in this order ---- */

static void test_without_manager(void **state)
{
	assert_int_equal(bh_uuid_parse(WORLD_VM, vm_uuid), 0);
	w.manager = on_manager;
	world_start();
	migrate_begin("live");
	assert_non_null(strstr(migrate_error(), "the manager is not reachable"));
	world_wait(world_session_up, "the hello");
	peer_open();
}

static void test_refused(void **state)
{
	m.refuses = "VM web may not run on host h1";
	migrate_begin("live");
	assert_string_equal(migrate_error(), m.refuses);
	m.refuses = NULL;
	assert_string_equal(hostd_capsule_kind(w.agent, vm_uuid), "");
}

static void test_alone(void **state)
{
	m.alone = true;
	migrate_begin("restore");
	migrate_allowed();
	m.alone = false;
	assert_string_equal(hostd_capsule_kind(w.agent, vm_uuid), "restore");
	hook_ended();
	assert_string_equal(hostd_capsule_kind(w.agent, vm_uuid), "");
	assert_int_equal(p.starts, 0);
}

static void test_deadline(void **state)
{
	uint64_t timeout_s = w.config.migrate_timeout_s;

	world_apply(NULL, world_image(300, true));
	w.config.migrate_timeout_s = 1;
	migrate_begin("live");
	world_wait(started, "the source to be asked");
	assert_non_null(strstr(migrate_error(), "its source has not sent all"));
	world_wait(failed_told, "the manager to hear of it");
	w.config.migrate_timeout_s = timeout_s;
}

static void test_installed(void **state)
{
	forget();
	migrate_begin("live");
	world_wait(started, "the source to be asked");
	send_whole(0);
	assert_string_equal(p.code, "");
	migrate_allowed();
	assert_int_equal(m.installed, 1);
	assert_int_equal(bh_json_u64_or(m.receipt, "connections", 0), CONNS);
	assert_string_equal(bh_json_str_or(m.receipt, "hash", "a"),
			    bh_json_str_or(json_object_get(m.receipt, "mark"), "hash", "b"));
	assert_int_equal(connections(), CONNS);
	assert_true(world_nic_status().flags & BH_NIC_ARRIVING);
	assert_string_equal(hostd_capsule_kind(w.agent, vm_uuid), "migration");
}

static void test_follows(void **state)
{
	struct part part = part_new(p.seq++);
	struct bh_capsule_conn more = conn_at(CONNS), gone = conn_at(0);

	assert_true(bh_capsule_put_conn(part.writer, &more));
	assert_true(bh_capsule_put_gone(part.writer, &gone.tuple));
	part_send(&part, 0);
	part = part_new(p.seq++);
	gone = conn_at(1);
	assert_true(bh_capsule_put_gone(part.writer, &gone.tuple));
	part_send(&part, 0);
	assert_string_equal(p.code, "");
	assert_int_equal(connections(), CONNS - 1);
}

static void test_bad_parts(void **state)
{
	struct bh_capsule_conn c = conn_at(500);
	struct part part = part_new(p.seq);

	assert_true(bh_capsule_put_conn(part.writer, &c));
	part_send(&part, 20); /* the signature */
	assert_string_equal(p.code, "bad");
	part = part_new(p.seq);
	assert_true(bh_capsule_put_conn(part.writer, &c));
	part_send(&part, 150); /* what is signed */
	assert_string_equal(p.code, "bad");
	part = part_new(p.seq + 1); /* a hole */
	assert_true(bh_capsule_put_conn(part.writer, &c));
	part_send(&part, 0);
	assert_string_equal(p.code, "bad");
	assert_int_equal(connections(), CONNS - 1);
	send_whole(1); /* a mark that promises more than came */
	assert_string_equal(p.code, "bad");
	send_whole(0);
	assert_string_equal(p.code, "");
	assert_int_equal(m.installed, 1);
}

static bool arriving_over(void)
{
	return !(world_nic_status().flags & BH_NIC_ARRIVING);
}

static bool as_many_as_came(void)
{
	return connections() == CONNS;
}

static void test_final(void **state)
{
	world_wait(as_many_as_came, "what the source does not have to go");
	send_final();
	world_wait(final_told, "the manager to hear of the end");
	assert_true(arriving_over());
	assert_int_equal(connections(), CONNS);
	vm_is_here(true);
	world_wait(vm_known, "the VM");
	dummy_event(HOSTD_VM_RESUMED, HOSTD_DETAIL_MIGRATED);
	end("arrive-end", "done");
	assert_int_equal(connections(), CONNS);
	assert_int_equal(m.cuts, 0);
}

/* The last changes do not come. */
static void test_cut(void **state)
{
	vm_is_here(false);
	world_wait(vm_unknown, "the VM to go");
	forget();
	migrate_begin("live");
	world_wait(started, "the source to be asked");
	send_whole(0);
	migrate_allowed();
	vm_is_here(true);
	world_wait(vm_known, "the VM");
	dummy_event(HOSTD_VM_RESUMED, HOSTD_DETAIL_MIGRATED);
	assert_true(world_nic_status().flags & BH_NIC_ARRIVING);
	world_wait(cut_told, "the manager to hear of the cut");
	assert_false(world_nic_status().flags & BH_NIC_ARRIVING);
	assert_true(world_nic_status().flags & BH_NIC_PICKUP);
	hostd_agent_reconcile(w.agent);
	assert_true(world_nic_status().flags & BH_NIC_PICKUP);
	end("arrive-end", "done");
	vm_is_here(false);
	world_wait(vm_unknown, "the VM to go");
}

/* libvirt gives it up. */
static void test_undone(void **state)
{
	forget();
	migrate_begin("live");
	world_wait(started, "the source to be asked");
	send_whole(0);
	migrate_allowed();
	hook_ended();
	world_wait(failed_told, "the manager to hear of it");
	assert_int_equal(connections(), 0);
	assert_true(arriving_over());
	assert_string_equal(hostd_capsule_kind(w.agent, vm_uuid), "");
	send_final();
	assert_string_equal(p.code, "unknown");
}

static void test_receipt_is_refused(void **state)
{
	forget();
	m.refuses_receipt = true;
	migrate_begin("live");
	world_wait(started, "the source to be asked");
	send_whole(0);
	assert_non_null(strstr(migrate_error(), "the manager refuses it: the test says no"));
	m.refuses_receipt = false;
	world_wait(failed_told, "the manager to hear of it");
	assert_int_equal(connections(), 0);
}

/* More than one NIC may hold: nothing comes rather than a part. */
static void test_no_room(void **state)
{
	forget();
	world_stop();
	w.config.ct_per_nic = 100;
	world_start();
	world_wait(world_session_up, "the hello");
	migrate_begin("live");
	world_wait(started, "the source to be asked");
	{
		struct bh_capsule_nic nic = nic_record();
		struct part part = part_new(0);

		assert_true(bh_capsule_put_nic(part.writer, &nic));
		for (unsigned int i = 0; i < CONNS; i++) {
			struct bh_capsule_conn c = conn_at(i);

			c.charged = 1;
			assert_true(bh_capsule_put_conn(part.writer, &c));
		}
		part_send(&part, 0);
	}
	assert_string_equal(p.code, "full");
	assert_non_null(strstr(migrate_error(), "more connections than one NIC may have"));
	assert_int_equal(connections(), 0);
	world_stop();
	w.config.ct_per_nic = 0;
	world_start();
	world_wait(world_session_up, "the hello");
}

/* This host's engine ends in the middle: the next one asks for all of it again. */
static void test_target_restarts(void **state)
{
	forget();
	migrate_begin("live");
	world_wait(started, "the source to be asked");
	send_whole(0);
	migrate_allowed();
	vm_is_here(true);
	world_wait(vm_known, "the VM");
	m.list = json_pack("[{s:s, s:s, s:s, s:s, s:s}]", "migration", MOVE, "vm", WORLD_VM, "role",
			   "target", "peer", "h2", "phase", "installed");
	world_stop();
	forget();
	world_start();
	world_wait(started, "the source to be asked again");
	assert_int_equal(connections(), CONNS);
	assert_true(world_nic_status().flags & BH_NIC_ARRIVING);
	send_whole(0);
	assert_string_equal(p.code, "");
	send_final();
	world_wait(final_told, "the manager to hear of the end");
	assert_int_equal(m.installed, 0);
	assert_int_equal(connections(), CONNS);
}

/* What the manager does not know of any more is over. */
static void test_not_listed(void **state)
{
	json_decref(m.list);
	m.list = json_array();
	world_stop();
	w.hellos = 0;
	world_start();
	world_wait(world_session_up, "the hello");
	send_final();
	assert_string_equal(p.code, "unknown");
	assert_int_equal(connections(), CONNS); /* the VM is here: they are its own */
}

/* ---- as source: the VM runs here, with the connections that came ---- */

static void depart(void)
{
	command(json_pack("{s:s, s:s, s:s, s:s}", "type", "depart", "migration", MOVE, "vm",
			  WORLD_VM, "target", "h2"));
}

static void ask_start(const char *id)
{
	char subject[BH_SUBJECT_SIZE];

	ask(p.bus, bh_subject_peer("h1", "h2", subject),
	    json_pack("{s:s, s:s}", "type", "start", "migration", id));
}

static bool whole_came(void)
{
	return p.wholes > 0;
}
static bool final_came(void)
{
	return p.finals > 0;
}

static void test_start_is_for_those_who_are_told_of(void **state)
{
	ask_start(MOVE);
	assert_string_equal(w.code, "unknown");
	depart();
	assert_string_equal(w.code, "");
	ask_start("ffffffffffffffffffffffffffffffff");
	assert_string_equal(w.code, "unknown");
	assert_int_equal(p.parts, 0);
}

static void test_sends(void **state)
{
	world_wait(vm_known, "the VM");
	ask_start(MOVE);
	assert_string_equal(w.code, "");
	world_wait(whole_came, "all of it");
	assert_false(p.forged);
	assert_false(p.out_of_order);
	assert_int_equal(p.nics, 1);
	assert_int_equal(p.mark.connections, CONNS);
	assert_true(bh_hash_equal(&p.mark.hash, &p.sum));
	assert_int_equal(p.finals, 0);
	assert_true(world_nic_status().flags & BH_NIC_DEPARTING);
}

/* A part that is not taken begins all of it anew. */
static void test_sends_anew(void **state)
{
	p.wholes = 0;
	p.refuse = 1;
	ask_start(MOVE);
	world_wait(whole_came, "all of it, after a part that was not taken");
	assert_false(p.out_of_order);
	assert_int_equal(p.mark.connections, CONNS);
}

static void test_source_restarts(void **state)
{
	p.wholes = 0;
	json_decref(m.list);
	m.list = json_pack("[{s:s, s:s, s:s, s:s, s:s}]", "migration", MOVE, "vm", WORLD_VM, "role",
			   "source", "peer", "h2", "phase", "installed");
	world_stop();
	world_start();
	world_wait(whole_came, "all of it, by the next engine");
	assert_int_equal(p.mark.connections, CONNS);
	world_wait(vm_known, "the VM");
}

static void test_end_mark(void **state)
{
	p.conns = 0;
	dummy_event(HOSTD_VM_SUSPENDED, HOSTD_DETAIL_MIGRATED);
	world_wait(final_came, "the end mark");
	assert_int_equal(p.conns, 0); /* nothing has changed: nothing is sent twice */
	assert_int_equal(connections(), CONNS);
}

/* It comes back: nothing came of the move. */
static void test_comes_back(void **state)
{
	p.finals = 0;
	dummy_event(HOSTD_VM_RESUMED, HOSTD_DETAIL_OTHER);
	end("depart-end", "failed");
	assert_false(world_nic_status().flags & BH_NIC_DEPARTING);
	assert_int_equal(connections(), CONNS);
}

static void test_withdraws(void **state)
{
	p.wholes = p.finals = 0;
	depart();
	ask_start(MOVE);
	world_wait(whole_came, "all of it");
	dummy_event(HOSTD_VM_SUSPENDED, HOSTD_DETAIL_MIGRATED);
	world_wait(final_came, "the end mark");
	hook_ended();
	vm_is_here(false);
	world_wait(vm_unknown, "the VM to go");
	assert_int_equal(connections(), CONNS); /* nobody has said that it arrived */
	end("depart-end", "done");
	assert_int_equal(connections(), 0);
	end("depart-end", "done");
	assert_string_equal(w.code, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_manager),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_installed),
		cmocka_unit_test(test_follows),
		cmocka_unit_test(test_bad_parts),
		cmocka_unit_test(test_final),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_undone),
		cmocka_unit_test(test_receipt_is_refused),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_target_restarts),
		cmocka_unit_test(test_not_listed),
		cmocka_unit_test(test_start_is_for_those_who_are_told_of),
		cmocka_unit_test(test_sends),
		cmocka_unit_test(test_sends_anew),
		cmocka_unit_test(test_source_restarts),
		cmocka_unit_test(test_end_mark),
		cmocka_unit_test(test_comes_back),
		cmocka_unit_test(test_withdraws),
	};

	return world_run("hostd_capsule", tests, BH_ARRAY_SIZE(tests));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Capsules: what is written reads back equal; what was changed anywhere is refused. */
#include "base/util.h"
#include "bpf/abi.h"
#include "model/capsule.h"

#include <errno.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* The numbers that model can't see. */
_Static_assert(BH_CAPSULE_STATE_MAX == BH_CT_CLOSED, "state");
_Static_assert(BH_CAPSULE_CONN_FLAGS == (BH_CT_ORIG_HI | BH_CT_EGRESS_OK | BH_CT_INGRESS_OK |
					 BH_CT_FIN_LO | BH_CT_FIN_HI | BH_CT_SEEN_REPLY),
	       "flags");
_Static_assert(BH_CAPSULE_ROW_FLAGS == BH_ROW_LOG, "row flags");
_Static_assert(BH_CT_ORIG_HI == 1, "the hash takes this bit");

/* What a reader told, in order. */
struct told {
	BH_VEC(struct bh_capsule_nic) nics;
	BH_VEC(struct bh_capsule_segment) segments;
	BH_VEC(struct bh_capsule_conn) conns;
	BH_VEC(struct bh_capsule_tuple) gone;
	BH_VEC(struct bh_capsule_mark) marks;
	char order[64];
	bool lenient; /* takes any signature: to look at the reader alone */
	unsigned int verified;
};

static void told_done(struct told *t)
{
	bh_vec_done(&t->nics);
	bh_vec_done(&t->segments);
	bh_vec_done(&t->conns);
	bh_vec_done(&t->gone);
	bh_vec_done(&t->marks);
}

static void note(struct told *t, char c)
{
	size_t n = strlen(t->order);

	if (n + 1 < sizeof(t->order)) {
		t->order[n] = c;
	}
}

static void on_nic(const struct bh_capsule_nic *nic, void *arg)
{
	struct told *t = arg;

	*bh_vec_push(&t->nics) = *nic;
	note(t, 'n');
}

static void on_segment(const struct bh_capsule_segment *segment, void *arg)
{
	struct told *t = arg;

	*bh_vec_push(&t->segments) = *segment;
	note(t, 's');
}

static void on_conn(const struct bh_capsule_conn *conn, void *arg)
{
	struct told *t = arg;

	*bh_vec_push(&t->conns) = *conn;
	note(t, 'c');
}

static void on_gone(const struct bh_capsule_tuple *tuple, void *arg)
{
	struct told *t = arg;

	*bh_vec_push(&t->gone) = *tuple;
	note(t, 'g');
}

static void on_mark(const struct bh_capsule_mark *mark, void *arg)
{
	struct told *t = arg;

	*bh_vec_push(&t->marks) = *mark;
	note(t, 'm');
}

/* A digest stands in for the signature: a change of what it covers shows as well. */
static int sign(const void *data, size_t size, uint8_t *sig, size_t *ret_size, void *arg,
		struct bh_diag *diag)
{
	if (arg) {
		return bh_diag_set(diag, *(int *)arg, "no key today");
	}
	EVP_Digest(data, size, sig, NULL, EVP_sha256(), NULL);
	*ret_size = 32;
	return 0;
}

static int verify(const struct bh_capsule_head *head, const struct bh_capsule_signed *what,
		  void *arg, struct bh_diag *diag)
{
	struct told *t = arg;
	uint8_t want[32];

	t->verified++;
	EVP_Digest(what->data, what->size, want, NULL, EVP_sha256(), NULL);
	if (!t->lenient && (what->sig_size != 32 || memcmp(what->sig, want, 32))) {
		return bh_diag_set(diag, -EKEYREJECTED, "not signed");
	}
	return 0;
}

static int read_part(const void *data, size_t size, struct told *t, struct bh_capsule_head *head)
{
	struct bh_capsule_handlers h = {.verify = verify,
					.nic = on_nic,
					.segment = on_segment,
					.conn = on_conn,
					.gone = on_gone,
					.mark = on_mark,
					.arg = t};
	struct bh_diag diag = {};
	int r = bh_capsule_read(data, size, &h, head, &diag);

	assert_int_equal(r != 0, *diag.text != '\0');
	return r;
}

static struct bh_capsule_head head_of(uint32_t seq)
{
	static const char cert[] = "-----BEGIN CERTIFICATE-----\n";

	return (struct bh_capsule_head){.migration = {1, 2, 3},
					.vm = {9, 8},
					.seq = seq,
					.source = "h1.lab",
					.target = "h2",
					.cert = cert,
					.cert_size = strlen(cert)};
}

static struct bh_capsule_conn conn_of(uint32_t i)
{
	struct bh_capsule_conn c = {
		.tuple = {.net = 7, .vlan = i << 16 | 5, .lo_port = 80, .hi_port = 0xfffe},
		.state = (uint8_t)(i % 5),
		.flags = (uint8_t)(i % 0x40),
		.row_flags = i & 1,
		.nic = {(uint8_t)(i % 33), 1},
		.charged = (uint8_t)(i % 2),
		.policy_port = 443,
		.timeout_s = 28800,
		.identity = {300 + i, 2},
		.rule = {17, UINT32_MAX},
		.packets = {UINT64_MAX, i},
		.bytes = {1ull << 40, UINT64_MAX - i},
		.age_ms = BH_CAPSULE_MS_MAX,
		.idle_ms = i,
		.own_left_ms = {0, 3600000},
	};

	c.tuple.lo[15] = 1;
	c.tuple.hi[0] = 0xfd;
	memcpy(c.tuple.hi + 12, &i, sizeof(i));
	c.tuple.proto = 6;
	return c;
}

static struct bh_capsule_nic nic_of(size_t learned)
{
	struct bh_capsule_nic nic = {.mac = {0x52, 0x54, 0, 1, 2, 3},
				     .net = 7,
				     .identity = 300,
				     .tenant = 2,
				     .flags = 0x1ff,
				     .answer_tokens = 5,
				     .event_tokens = 6,
				     .suppressed = UINT32_MAX,
				     .bucket_age_ms = 77,
				     .learned_count = learned};

	for (size_t i = 0; i < learned; i++) {
		nic.learned[i].addr[15] = (uint8_t)i;
		nic.learned[i].vlan = (uint32_t)i << 16;
		nic.learned[i].left_ms = 1000 * i;
	}
	return nic;
}

static struct bh_capsule_writer *writer_of_all(void)
{
	struct bh_capsule_head head = head_of(0);
	struct bh_capsule_writer *w = bh_capsule_writer_new(&head);
	struct bh_capsule_nic nic = nic_of(2);
	struct bh_capsule_nic full = nic_of(BH_CAPSULE_ADDRS_MAX);
	struct bh_capsule_segment segment = {.name = "set:300.0", .hash = {.bytes = {4, 5}}};
	struct bh_capsule_conn a = conn_of(1);
	struct bh_capsule_conn b = conn_of(2);
	struct bh_capsule_mark mark = {
		.phase = BH_CAPSULE_WHOLE, .connections = 2, .hash = {.bytes = {[31] = 1}}};

	assert_true(bh_capsule_put_nic(w, &nic));
	assert_true(bh_capsule_put_nic(w, &full));
	assert_true(bh_capsule_put_segment(w, &segment));
	assert_true(bh_capsule_put_conn(w, &a));
	assert_true(bh_capsule_put_gone(w, &a.tuple));
	assert_true(bh_capsule_put_conn(w, &b));
	assert_true(bh_capsule_put_mark(w, &mark));
	assert_int_equal(bh_capsule_writer_records(w), 7);
	return w;
}

static void finish(struct bh_capsule_writer *w, const void **data, size_t *size)
{
	assert_int_equal(bh_capsule_finish(w, sign, NULL, data, size, NULL), 0);
}

static void reads_back_equal(void **state)
{
	struct bh_capsule_writer *w = writer_of_all();
	struct bh_capsule_head want = head_of(0);
	struct bh_capsule_nic nic = nic_of(2);
	struct bh_capsule_nic full = nic_of(BH_CAPSULE_ADDRS_MAX);
	struct bh_capsule_conn a = conn_of(1);
	struct bh_capsule_conn b = conn_of(2);
	struct bh_capsule_head head;
	struct told t = {};
	const void *data;
	const void *again;
	size_t size;

	finish(w, &data, &size);
	finish(w, &again, &size); /* the same */
	assert_ptr_equal(data, again);
	assert_false(bh_capsule_put_conn(w, &a)); /* it is signed already */
	assert_int_equal(read_part(data, size, &t, &head), 0);
	assert_int_equal(t.verified, 1);
	assert_string_equal(t.order, "nnscgcm");
	assert_memory_equal(&t.nics.items[0], &nic, sizeof(nic));
	assert_memory_equal(&t.nics.items[1], &full, sizeof(full));
	assert_memory_equal(&t.conns.items[0], &a, sizeof(a));
	assert_memory_equal(&t.conns.items[1], &b, sizeof(b));
	assert_memory_equal(&t.gone.items[0], &a.tuple, sizeof(a.tuple));
	assert_string_equal(t.segments.items[0].name, "set:300.0");
	assert_int_equal(t.segments.items[0].hash.bytes[1], 5);
	assert_int_equal(t.marks.items[0].phase, BH_CAPSULE_WHOLE);
	assert_int_equal(t.marks.items[0].connections, 2);
	assert_int_equal(t.marks.items[0].hash.bytes[31], 1);
	assert_memory_equal(head.migration, want.migration, 16);
	assert_memory_equal(head.vm, want.vm, 16);
	assert_int_equal(head.seq, 0);
	assert_string_equal(head.source, "h1.lab");
	assert_string_equal(head.target, "h2");
	assert_int_equal(head.cert_size, want.cert_size);
	assert_memory_equal(head.cert, want.cert, want.cert_size);
	told_done(&t);
	bh_capsule_writer_free(w);
}

/* Nothing is told when the signature or any record is wrong, and every part of a part matters. */
static void every_change_is_refused(void **state)
{
	struct bh_capsule_writer *w = writer_of_all();
	const void *data;
	size_t size;

	finish(w, &data, &size);
	for (size_t i = 0; i < size; i++) {
		for (unsigned int bit = 0; bit < 8; bit++) {
			BH_FREE uint8_t *copy = bh_memdup(data, size);
			struct told t = {};

			copy[i] ^= (uint8_t)(1u << bit);
			if (!read_part(copy, size, &t, NULL) || *t.order) {
				fail_msg("bit %u of byte %zu does not matter", bit, i);
			}
		}
	}
	bh_capsule_writer_free(w);
}

static void every_truncation_is_refused(void **state)
{
	struct bh_capsule_writer *w = writer_of_all();
	const void *data;
	size_t size;

	finish(w, &data, &size);
	for (size_t n = 0; n < size; n++) {
		BH_FREE uint8_t *copy = bh_memdup(data, n ? n : 1);
		struct told t = {.lenient = true};

		assert_int_equal(read_part(copy, n, &t, NULL), -EBADMSG);
		assert_string_equal(t.order, "");
	}
	bh_capsule_writer_free(w);
}

/* One part with this record, read by somebody who believes every signature. */
static int read_conn(const struct bh_capsule_conn *conn)
{
	struct bh_capsule_head head = head_of(1);
	struct bh_capsule_writer *w = bh_capsule_writer_new(&head);
	struct told t = {.lenient = true};
	const void *data;
	size_t size;
	int r;

	assert_true(bh_capsule_put_conn(w, conn));
	finish(w, &data, &size);
	r = read_part(data, size, &t, NULL);
	assert_int_equal(t.conns.count, r ? 0 : 1);
	told_done(&t);
	bh_capsule_writer_free(w);
	return r;
}

/* A source that signs well may still say nonsense. */
static void members_out_of_range(void **state)
{
	struct bh_capsule_conn good = conn_of(3);
	struct bh_capsule_conn c = good;

	assert_int_equal(read_conn(&c), 0);
	c.state = 5;
	assert_int_equal(read_conn(&c), -EBADMSG);
	c = good;
	c.nic[0] = 33;
	assert_int_equal(read_conn(&c), -EBADMSG);
	c = good;
	c.charged = 33;
	assert_int_equal(read_conn(&c), -EBADMSG);
	c = good;
	c.nic[0] = c.nic[1] = 0; /* about somebody else */
	assert_int_equal(read_conn(&c), -EBADMSG);
	c = good;
	memcpy(c.tuple.lo, good.tuple.hi, 16); /* the wrong way round */
	memcpy(c.tuple.hi, good.tuple.lo, 16);
	assert_int_equal(read_conn(&c), -EBADMSG);
	c = good;
	memcpy(c.tuple.hi, c.tuple.lo, 16);
	c.tuple.lo_port = c.tuple.hi_port;
	assert_int_equal(read_conn(&c), 0);
	c.tuple.lo_port++;
	assert_int_equal(read_conn(&c), -EBADMSG);
	c = good;
	memset(c.tuple.lo + 10, 0xff, 2); /* IPv4 with IPv6 */
	assert_int_equal(read_conn(&c), -EBADMSG);
	/* what only this kernel knows is left out, not sent */
	c = good;
	c.flags = 0xff;
	c.row_flags = 0xff;
	c.age_ms = UINT64_MAX;
	assert_int_equal(read_conn(&c), 0);
}

static int read_with(const uint8_t *records, size_t size, const char *order)
{
	struct bh_wbuf w;
	struct told t = {.lenient = true};
	int r;

	bh_wbuf_init(&w, 0);
	bh_wbuf_str(&w, "BHC1");
	bh_wbuf_u16(&w, 1);
	bh_wbuf_u16(&w, 16 + 16 + 4 + 3 + 3 + 2 + 5);
	bh_wbuf_u32(&w, (uint32_t)size);
	bh_wbuf_put(&w, (uint8_t[36]){}, 36);
	bh_wbuf_str(&w, "\002h1\002h2");
	bh_wbuf_u16(&w, 0);
	bh_wbuf_str(&w, "later");
	bh_wbuf_put(&w, records, size);
	bh_wbuf_u16(&w, 1);
	bh_wbuf_u8(&w, 0);
	r = read_part(w.data, w.size, &t, NULL);
	assert_string_equal(t.order, order);
	told_done(&t);
	bh_wbuf_done(&w);
	return r;
}

/* A later version may add types and members. */
static void what_is_not_known_is_skipped(void **state)
{
	uint8_t mark[3 + 37 + 4] = {BH_CAPSULE_MARK, 41, 0, BH_CAPSULE_FINAL};
	uint8_t unknown[] = {200, 2, 0, 1, 2};
	uint8_t zero[] = {0, 0, 0};
	uint8_t both[sizeof(unknown) + sizeof(mark)];

	assert_int_equal(read_with(NULL, 0, ""), 0);
	assert_int_equal(read_with(zero, sizeof(zero), ""), 0);
	assert_int_equal(read_with(mark, sizeof(mark), "m"), 0);
	memcpy(both, unknown, sizeof(unknown));
	memcpy(both + sizeof(unknown), mark, sizeof(mark));
	assert_int_equal(read_with(both, sizeof(both), "m"), 0);
	/* a good record before a bad one is not told */
	memcpy(both, mark, sizeof(mark));
	memcpy(both + sizeof(mark), unknown, sizeof(unknown));
	assert_int_equal(read_with(both, sizeof(both), "m"), 0);
	assert_int_equal(read_with(both, sizeof(both) - 1, ""), -EBADMSG);
	mark[3] = 3;
	assert_int_equal(read_with(mark, sizeof(mark), ""), -EBADMSG);
}

static void bad_heads(void **state)
{
	struct bh_capsule_head head = head_of(0);
	struct bh_diag diag = {};
	struct bh_capsule_writer *w;
	struct bh_capsule_conn c = conn_of(1);
	struct told t = {};
	const void *data;
	size_t size;
	int err = -EIO;

	strcpy(head.source, "No Name");
	w = bh_capsule_writer_new(&head);
	assert_false(bh_capsule_put_conn(w, &c));
	assert_int_equal(bh_capsule_finish(w, sign, NULL, &data, &size, &diag), -EINVAL);
	bh_capsule_writer_free(w);
	head = head_of(0);
	head.cert_size = BH_CAPSULE_PEM_MAX + 1;
	w = bh_capsule_writer_new(&head);
	assert_int_equal(bh_capsule_finish(w, sign, NULL, &data, &size, &diag), -EINVAL);
	bh_capsule_writer_free(w);
	/* what the signer says is passed on, and it may be asked again */
	head = head_of(5);
	w = bh_capsule_writer_new(&head);
	assert_int_equal(bh_capsule_finish(w, sign, &err, &data, &size, &diag), -EIO);
	assert_string_equal(diag.text, "no key today");
	finish(w, &data, &size);
	assert_int_equal(read_part(data, size, &t, &head), 0);
	assert_int_equal(head.seq, 5);
	assert_int_equal(head.cert_size, 0);
	assert_null(head.cert);
	{
		BH_FREE uint8_t *copy = bh_memdup(data, size);

		copy[4] = 2;
		assert_int_equal(read_part(copy, size, &t, NULL), -EPROTO);
	}
	bh_capsule_writer_free(w);
}

/* Fills parts to the brim; no part is larger than a message may be. */
static void many_connections(void **state)
{
	struct bh_capsule_writer *w = NULL;
	struct told t = {};
	uint32_t seq = 0;
	size_t bytes = 0;
	const void *data;
	size_t size;

	for (uint32_t i = 0; i < 10000; i++) {
		struct bh_capsule_conn c = conn_of(i);
		struct bh_capsule_head head = head_of(seq);

		if (!w) {
			w = bh_capsule_writer_new(&head);
		}
		if (!bh_capsule_put_conn(w, &c)) {
			finish(w, &data, &size);
			assert_in_range(size, BH_CAPSULE_PART_MAX - 1024, BH_CAPSULE_PART_MAX);
			assert_int_equal(read_part(data, size, &t, NULL), 0);
			bytes += size;
			bh_capsule_writer_free(w);
			head = head_of(++seq);
			w = bh_capsule_writer_new(&head);
			assert_true(bh_capsule_put_conn(w, &c));
		}
	}
	finish(w, &data, &size);
	assert_int_equal(read_part(data, size, &t, NULL), 0);
	bytes += size;
	bh_capsule_writer_free(w);
	assert_int_equal(t.conns.count, 10000);
	assert_true(bytes < 10000 * 200);
	for (uint32_t i = 0; i < 10000; i++) {
		struct bh_capsule_conn c = conn_of(i);

		assert_memory_equal(&t.conns.items[i], &c, sizeof(c));
	}
	told_done(&t);
}

static void hash_of_a_connection(void **state)
{
	struct bh_hasher *hasher = bh_hasher_new();
	struct bh_capsule_conn c = conn_of(4);
	struct bh_hash a, b;

	bh_capsule_conn_hash(hasher, &c, &a);
	c.state = 3;
	c.flags ^= BH_CT_SEEN_REPLY | BH_CT_FIN_HI;
	c.packets[0] = c.bytes[1] = c.age_ms = c.idle_ms = 1;
	c.nic[0] = 2;
	bh_capsule_conn_hash(hasher, &c, &b);
	assert_true(bh_hash_equal(&a, &b));
	c.flags ^= BH_CT_ORIG_HI;
	bh_capsule_conn_hash(hasher, &c, &b);
	assert_false(bh_hash_equal(&a, &b));
	c.flags ^= BH_CT_ORIG_HI;
	c.policy_port++;
	bh_capsule_conn_hash(hasher, &c, &b);
	assert_false(bh_hash_equal(&a, &b));
	c = conn_of(4);
	c.tuple.vlan++;
	bh_capsule_conn_hash(hasher, &c, &b);
	assert_false(bh_hash_equal(&a, &b));
	bh_hasher_free(hasher);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_back_equal),
		cmocka_unit_test(every_change_is_refused),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(members_out_of_range),
		cmocka_unit_test(what_is_not_known_is_skipped),
		cmocka_unit_test(bad_heads),
		cmocka_unit_test(many_connections),
		cmocka_unit_test(hash_of_a_connection),
	};

	if (argc > 1) {
		cmocka_set_test_filter(argv[1]);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

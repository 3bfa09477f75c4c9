/* SPDX-License-Identifier: Apache-2.0 */
/* Images, their hash and their deltas: every change leads where it says, hostile bytes lead
 * nowhere. */
#include "image_put.h"

#include "base/util.h"
#include "model/image.h"
#include "model/segment_internal.h"

#include <errno.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct bh_rec row(uint32_t set, uint32_t remote, uint16_t port, uint8_t action)
{
	return (struct bh_rec){.type = BH_REC_ROW,
			       .row = {.set = set,
				       .remote = remote,
				       .port = port,
				       .proto = 6,
				       .shape = 6,
				       .rule = 100,
				       .rank = port,
				       .action = action}};
}

static struct bh_segment *segment(const char *name, const struct bh_rec *recs, size_t count)
{
	struct bh_segment *seg = bh_segment_new(name);

	for (size_t i = 0; i < count; i++) {
		bh_segment_add(seg, &recs[i]);
	}
	assert_int_equal(bh_segment_seal(seg, NULL), 0);
	return seg;
}

/* count rows of one set, some of them of another kind, so that every record type is on the wire */
static struct bh_image *image_of(const char *name, unsigned int seed, size_t count)
{
	struct bh_image *image = bh_image_new();
	struct bh_segment *seg = bh_segment_new(name);
	struct bh_segment *more = bh_segment_new("vm:1");
	struct bh_rec rec = {.type = BH_REC_SET, .set = {.set = 9, .default_action = 2}};

	for (size_t i = 0; i < count; i++) {
		struct bh_rec r = row(9, (uint32_t)(i * seed % 7919), (uint16_t)i,
				      (uint8_t)(1 + (i + seed) % 3));

		bh_segment_add(seg, &r);
	}
	bh_segment_add(seg, &rec);
	rec = (struct bh_rec){.type = BH_REC_CIDR, .cidr = {.set = 9, .prefix_bits = 104}};
	rec.cidr.addr[12] = 10;
	bh_segment_add(seg, &rec);
	rec = (struct bh_rec){.type = BH_REC_RANGE,
			      .range = {.set = 9, .proto = 6, .prefix_bits = 6, .port = 1024}};
	bh_segment_add(seg, &rec);
	rec = (struct bh_rec){.type = BH_REC_NIC, .nic = {.mac = {2, 1}, .identity = 256 + seed}};
	bh_segment_add(more, &rec);
	rec = (struct bh_rec){.type = BH_REC_NIC_ADDR, .nic_addr = {.mac = {2, 1}}};
	bh_segment_add(more, &rec);
	rec = (struct bh_rec){.type = BH_REC_NIC_VLAN, .nic_vlan = {.mac = {2, 1}, .vlan = 5}};
	bh_segment_add(more, &rec);
	rec = (struct bh_rec){.type = BH_REC_ADDR, .addr = {.net = 3, .identity = 256}};
	bh_segment_add(more, &rec);
	image_put(image, seg);
	image_put(image, more);
	return image;
}

static void hash_does_not_depend_on_order(void **state)
{
	struct bh_rec ab[] = {row(1, 2, 3, 1), row(1, 2, 4, 2)};
	struct bh_rec ba[] = {ab[1], ab[0]};
	struct bh_segment *x = segment("s", ab, 2), *y = segment("s", ba, 2);

	assert_true(bh_hash_equal(bh_segment_hash(x), bh_segment_hash(y)));
	bh_segment_unref(x);
	bh_segment_unref(y);
}

static void hash_changes_with_any_value(void **state)
{
	struct bh_rec a = row(1, 2, 3, 1), b = row(1, 2, 3, 2);
	struct bh_segment *x = segment("s", &a, 1), *y = segment("s", &b, 1);

	assert_false(bh_hash_equal(bh_segment_hash(x), bh_segment_hash(y)));
	bh_segment_unref(x);
	bh_segment_unref(y);
}

static void hash_add_and_sub_cancel(void **state)
{
	struct bh_hash sum = {}, zero = {}, h[64];

	for (size_t i = 0; i < BH_ARRAY_SIZE(h); i++) {
		struct bh_rec r = row(1, (uint32_t)i, 0, 1);

		bh_hash_of_rec(&r, &h[i]);
		bh_hash_add(&sum, &h[i]);
	}
	assert_false(bh_hash_equal(&sum, &zero));
	for (size_t i = 0; i < BH_ARRAY_SIZE(h); i++) {
		bh_hash_sub(&sum, &h[i]);
	}
	assert_true(bh_hash_equal(&sum, &zero));
}

/* The numbers travel between hosts and manager: they may never change. */
static void hash_is_the_documented_one(void **state)
{
	struct bh_hasher *hasher = bh_hasher_new();
	struct bh_rec r = row(1, 2, 3, 1);
	uint8_t wire[BH_REC_KEY_MAX + BH_REC_VALUE_MAX];
	size_t n = bh_rec_key(&r, wire);
	struct bh_hash want, single, one_of_many;

	n += bh_rec_value(&r, wire + n);
	assert_true(EVP_Digest(wire, n, want.bytes, NULL, EVP_sha256(), NULL));
	bh_hash_of_rec(&r, &single);
	assert_true(bh_hash_equal(&single, &want));
	for (int i = 0; i < 3; i++) {
		bh_hasher_rec(hasher, &r, &one_of_many);
		assert_true(bh_hash_equal(&one_of_many, &want));
	}
	bh_hasher_free(hasher);
}

static void one_key_twice_is_refused(void **state)
{
	struct bh_rec a = row(1, 2, 3, 1), b = row(1, 2, 3, 2);
	struct bh_segment *seg = bh_segment_new("s");
	struct bh_diag diag = {};

	bh_segment_add(seg, &a);
	bh_segment_add(seg, &b);
	assert_int_equal(bh_segment_seal(seg, &diag), -EEXIST);
	assert_non_null(strstr(diag.text, "twice"));
	bh_segment_unref(seg);
}

/* Sends what turns a into b over the wire and applies it there. */
static void check_trip(const struct bh_image *a, const struct bh_image *b)
{
	struct bh_delta *delta = bh_delta_between(a, b), *received;
	struct bh_image *result;
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	bh_delta_encode(delta, &w);
	assert_int_equal(bh_delta_decode(w.data, w.size, &received, NULL), 0);
	assert_int_equal(bh_delta_apply(received, a, &result, NULL), 0);
	assert_true(bh_hash_equal(bh_image_hash(result), bh_image_hash(b)));
	assert_int_equal(bh_delta_count(received), bh_delta_count(delta));
	for (int t = 1; t <= BH_REC_TYPE_MAX; t++) {
		assert_int_equal(bh_image_count_of(result, (enum bh_rec_type)t),
				 bh_image_count_of(b, (enum bh_rec_type)t));
	}
	bh_image_free(result);
	bh_delta_free(received);
	bh_delta_free(delta);
	bh_wbuf_done(&w);
}

static void deltas_lead_where_they_say(void **state)
{
	struct bh_image *empty = bh_image_new();
	struct bh_image *a = image_of("set:4.1", 1, 300), *b = image_of("set:4.1", 2, 280);
	struct bh_image *c = image_of("set:5.0", 3, 10);

	check_trip(empty, a);
	check_trip(a, b);
	check_trip(b, a);
	check_trip(a, c);
	check_trip(c, empty);
	check_trip(a, a);
	bh_image_free(empty);
	bh_image_free(a);
	bh_image_free(b);
	bh_image_free(c);
}

struct seen {
	size_t deletes, puts, changes;
};

static void count_change(const struct bh_rec *old, const struct bh_rec *put, void *arg)
{
	struct seen *s = arg;

	s->deletes += old && !put;
	s->puts += put && !old;
	s->changes += old && put;
}

static void applied_delta_knows_old_values(void **state)
{
	struct bh_rec ra[] = {row(1, 1, 1, 1), row(1, 1, 2, 1), row(1, 1, 3, 1)};
	struct bh_rec rb[] = {row(1, 1, 2, 2), row(1, 1, 3, 1), row(1, 1, 4, 1)};
	struct bh_segment *sa = segment("s", ra, 3), *sb = segment("s", rb, 3);
	struct bh_image *a = bh_image_new(), *b = bh_image_new(), *result;
	struct bh_delta *delta, *received;
	struct seen seen = {};
	struct bh_wbuf w;

	bh_image_set(a, sa);
	bh_image_set(b, sb);
	delta = bh_delta_between(a, b);
	bh_wbuf_init(&w, 0);
	bh_delta_encode(delta, &w);
	assert_int_equal(bh_delta_decode(w.data, w.size, &received, NULL), 0);
	assert_int_equal(bh_delta_apply(received, a, &result, NULL), 0);
	bh_delta_each(received, count_change, &seen);
	assert_int_equal(seen.deletes, 1);
	assert_int_equal(seen.puts, 1);
	assert_int_equal(seen.changes, 1);
	bh_image_free(result);
	bh_delta_free(delta);
	bh_delta_free(received);
	bh_wbuf_done(&w);
	bh_segment_unref(sa);
	bh_segment_unref(sb);
	bh_image_free(a);
	bh_image_free(b);
}

static void stale_image_is_told_apart(void **state)
{
	struct bh_image *a = image_of("s", 1, 5), *b = image_of("s", 2, 5), *result = NULL;
	struct bh_delta *delta = bh_delta_between(a, b);

	assert_int_equal(bh_delta_apply(delta, b, &result, NULL), BH_IMAGE_STALE);
	assert_null(result);
	bh_delta_free(delta);
	bh_image_free(a);
	bh_image_free(b);
}

/* Each truncation fails; each flipped byte fails to decode or to apply: the hash covers all of it.
 */
static void hostile_bytes_lead_nowhere(void **state)
{
	struct bh_image *a = image_of("s", 1, 12), *b = image_of("s", 2, 9), *result;
	struct bh_delta *delta = bh_delta_between(a, b), *received;
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	bh_delta_encode(delta, &w);
	for (size_t n = 0; n < w.size; n++) {
		BH_FREE uint8_t *cut = bh_memdup(w.data, n);

		assert_int_equal(bh_delta_decode(cut, n, &received, NULL), -EBADMSG);
	}
	for (size_t i = 0; i < w.size; i++) {
		w.data[i] ^= 0x41;
		if (!bh_delta_decode(w.data, w.size, &received, NULL)) {
			int r = bh_delta_apply(received, a, &result, NULL);

			if (!r) {
				/* a segment may be renamed: the records are the same */
				assert_true(bh_hash_equal(bh_image_hash(result), bh_image_hash(b)));
				bh_image_free(result);
			}
			bh_delta_free(received);
		}
		w.data[i] ^= 0x41;
	}
	bh_wbuf_done(&w);
	bh_delta_free(delta);
	bh_image_free(a);
	bh_image_free(b);
}

/* A record of any type whose fields have few values, so that keys differ late or not at all. */
static void random_rec(struct bh_rec *rec)
{
	uint8_t *bytes = (uint8_t *)rec;

	memset(rec, 0, sizeof(*rec));
	for (size_t i = 0; i < sizeof(*rec); i++) {
		bytes[i] = (uint8_t)(random() % 8 == 0 ? random() % 256 : 7);
	}
	rec->type = (enum bh_rec_type)(1 + random() % BH_REC_TYPE_MAX);
}

static int sign(int v)
{
	return (v > 0) - (v < 0);
}

static void records_stand_in_the_order_of_their_keys(void **state)
{
	for (int i = 0; i < 200000; i++) {
		uint8_t key_a[BH_REC_KEY_MAX] = {}, key_b[BH_REC_KEY_MAX] = {};
		struct bh_rec a, b;

		random_rec(&a);
		random_rec(&b);
		if (random() % 2) {
			size_t at = (size_t)random() % sizeof(b);

			b = a;
			((uint8_t *)&b)[at] ^= (uint8_t)random();
			b.type = a.type;
		}
		bh_rec_key(&a, key_a);
		bh_rec_key(&b, key_b);
		assert_int_equal(sign(bh_rec_key_compare(&a, &b)),
				 sign(memcmp(key_a, key_b, BH_REC_KEY_MAX)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hash_does_not_depend_on_order),
		cmocka_unit_test(hash_changes_with_any_value),
		cmocka_unit_test(hash_add_and_sub_cancel),
		cmocka_unit_test(hash_is_the_documented_one),
		cmocka_unit_test(one_key_twice_is_refused),
		cmocka_unit_test(deltas_lead_where_they_say),
		cmocka_unit_test(applied_delta_knows_old_values),
		cmocka_unit_test(stale_image_is_told_apart),
		cmocka_unit_test(hostile_bytes_lead_nowhere),
		cmocka_unit_test(records_stand_in_the_order_of_their_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

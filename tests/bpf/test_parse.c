/* SPDX-License-Identifier: Apache-2.0 */
/* Frames that lie, are cut short or come in pieces. Everything is allowed here: only form is
 * judged. */
#include "kit.h"

#include <string.h>

static int setup(void **state)
{
	struct kit *kit;

	(void)kit_setup(state);
	kit = *state;
	kit_allow_all(kit);
	for (unsigned nic = 1; nic <= KIT_NICS; nic++) {
		kit_nic_flags(kit, nic, BH_NIC_ANY_VLAN);
	}
	return 0;
}

static bool is_stopped(int verdict)
{
	return verdict == KIT_DROP || verdict == KIT_NOT_RUN;
}

/* No prefix of this frame passes at either tap, but the whole does. */
static void no_prefix_passes(struct kit *kit, const struct kit_frame *whole)
{
	struct kit_frame f = *whole;

	for (f.size = 14; f.size < whole->size; f.size++) {
		assert_true(is_stopped(kit_send(kit, 1, &f)));
		assert_true(is_stopped(kit_receive(kit, 2, BH_MARK_UPLINK, &f)));
	}
	assert_int_equal(kit_send(kit, 1, whole), KIT_PASS);
	assert_int_equal(kit_receive(kit, 2, BH_MARK_UPLINK, whole), KIT_PASS);
}

static void frames_cut_short_never_pass(void **state)
{
	static const uint8_t protos[] = {KIT_TCP, KIT_UDP, KIT_SCTP, KIT_ICMP, KIT_ICMP6, 47};
	struct kit *kit = *state;
	struct kit_frame f;

	for (size_t i = 0; i < sizeof(protos); i++) {
		for (int tags = 0; tags < 3; tags++) {
			uint16_t outer = tags > 0 ? 5 : 0, inner = tags > 1 ? 6 : 0;

			if (protos[i] != KIT_ICMP6) {
				KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2",
					  .proto = protos[i], .sport = 1, .dport = 2,
					  .tcp_flags = KIT_SYN, .icmp_type = 8, .body_size = 12,
					  .vlan = {outer, inner});
				no_prefix_passes(kit, &f);
			}
			if (protos[i] != KIT_ICMP) {
				KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::2",
					  .proto = protos[i], .sport = 1, .dport = 2,
					  .tcp_flags = KIT_SYN, .icmp_type = 128, .body_size = 12,
					  .vlan = {outer, inner});
				no_prefix_passes(kit, &f);
			}
		}
	}
	kit_arp(&f, kit_mac[1], 1, kit_mac[1], "10.0.0.1", "10.0.0.2");
	no_prefix_passes(kit, &f);
}

/* Frames whose IP length goes along with the cut: the transport header is what is short. */
static void headers_cut_short_never_pass(void **state)
{
	static const struct {
		uint8_t proto;
		unsigned need;
	} cases[] = {{KIT_TCP, 20}, {KIT_UDP, 8}, {KIT_SCTP, 12}, {KIT_ICMP, 8}};
	struct kit *kit = *state;
	struct kit_frame f;

	for (size_t i = 0; i < 4; i++) {
		for (unsigned have = 0; have < cases[i].need; have++) {
			KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = cases[i].proto,
				  .tcp_flags = KIT_SYN, .icmp_type = 8);
			f.data[f.l3 + 3] = 20 + have;
			kit_fix(&f);
			assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
			KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::2",
				  .proto = cases[i].proto == KIT_ICMP ? KIT_ICMP6 : cases[i].proto,
				  .tcp_flags = KIT_SYN, .icmp_type = 128);
			f.data[f.l3 + 5] = have;
			assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
		}
	}
}

static void lengths_do_not_lie(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f, good;

	KIT_FRAME(&good, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_UDP, .sport = 1,
		  .dport = 2, .body_size = 4);
	f = good;
	f.size += 18; /* padding is honest */
	memset(f.data + good.size, 0, 18);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	for (unsigned ihl = 0; ihl < 16; ihl++) {
		f = good;
		f.data[f.l3] = 0x40 | ihl;
		if (ihl != 5) {
			assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
		}
	}
	for (unsigned total = 0; total < 256; total++) {
		f = good;
		f.data[f.l3 + 3] = total;
		if (total != 32) { /* shorter cuts UDP's length, longer the frame's */
			assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
		}
	}
	for (unsigned size = 0; size < 256; size++) {
		f = good;
		f.data[f.l4 + 5] = size;
		if (size < 8 || size > 12) {
			assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
		}
	}
	f = good;
	f.data[f.l3] = 0x65;
	assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
	KIT_FRAME(&good, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_TCP,
		  .tcp_flags = KIT_SYN);
	for (unsigned doff = 0; doff < 16; doff++) {
		f = good;
		f.data[f.l4 + 12] = doff << 4;
		if (doff != 5) {
			assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
		}
	}
	KIT_FRAME(&good, .src = "fd00::1", .dst = "fd00::2", .proto = KIT_UDP);
	for (unsigned size = 0; size < 256; size++) {
		f = good;
		f.data[f.l3 + 5] = size;
		if (size != 8) {
			assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
		}
	}
}

static void scans_with_impossible_flags_are_dropped(void **state)
{
	static const uint8_t flags[] = {0, 0x08, 0x20, KIT_SYN | KIT_FIN, KIT_SYN | KIT_RST, 0x3f};
	struct kit *kit = *state;
	struct kit_frame f;

	for (size_t i = 0; i < sizeof(flags); i++) {
		KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_TCP,
			  .tcp_flags = flags[i]);
		assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
	}
	KIT_FRAME(&f, .smac = kit_mac[1], .dmac = kit_mac[2], .src = "10.0.0.1", .dst = "10.0.0.1",
		  .proto = KIT_UDP);
	assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
}

static void options_are_skipped(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;
	uint8_t options[40];

	memset(options, 1, sizeof(options));
	for (size_t size = 4; size <= 40; size += 4) {
		KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_TCP, .sport = 1,
			  .dport = 2, .tcp_flags = KIT_SYN, .ext = options, .ext_size = size);
		assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	}
	assert_int_equal(kit_ct_count(kit), 1);
	no_prefix_passes(kit, &f);
}

/* ---- extension headers ---- */
/* A chain of headers of these types; the last one names UDP. Returns its size. */
static size_t chain(uint8_t *ext, const uint8_t *types, size_t count)
{
	size_t size = 0;

	for (size_t i = 0; i < count; i++) {
		uint8_t next = i + 1 < count ? types[i + 1] : KIT_UDP;

		memset(ext + size, 0, 8);
		ext[size] = next;
		if (types[i] == 43) {
			ext[size + 2] = 4;
		}
		size += 8;
	}
	return size;
}

static void extension_headers_are_walked(void **state)
{
	static const uint8_t good[] = {0, 60, 43, 60},
			     dst[9] = {60, 60, 60, 60, 60, 60, 60, 60, 60};
	static const uint8_t hop_later[] = {60, 0}, twice[] = {44, 44};
	struct kit *kit = *state;
	uint8_t ext[80];
	struct kit_frame f;
	size_t size;

	size = chain(ext, good, 4);
	KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::2", .proto = KIT_UDP, .dport = 9, .ext = ext,
		  .ext_size = size, .ext_proto = 0);
	no_prefix_passes(kit, &f);
	assert_int_equal(kit_ct_count(kit), 1);
	size = chain(ext, dst, 8);
	KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::2", .proto = KIT_UDP, .ext = ext,
		  .ext_size = size, .ext_proto = 60);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	size = chain(ext, dst, 9);
	KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::2", .proto = KIT_UDP, .ext = ext,
		  .ext_size = size, .ext_proto = 60);
	assert_reason(kit, 1, DROP_EXTHDR, kit_send(kit, 1, &f));
	size = chain(ext, hop_later, 2);
	KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::2", .proto = KIT_UDP, .ext = ext,
		  .ext_size = size, .ext_proto = 60);
	assert_reason(kit, 1, DROP_EXTHDR, kit_send(kit, 1, &f));
	size = chain(ext, twice, 2);
	KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::2", .proto = KIT_UDP, .ext = ext,
		  .ext_size = size, .ext_proto = 44);
	assert_reason(kit, 1, DROP_EXTHDR, kit_send(kit, 1, &f));
	size = chain(ext, (uint8_t[]){43}, 1);
	ext[2] = 0; /* type 0, RFC 5095 */
	KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::2", .proto = KIT_UDP, .ext = ext,
		  .ext_size = size, .ext_proto = 43);
	assert_reason(kit, 1, DROP_EXTHDR, kit_send(kit, 1, &f));
	size = chain(ext, (uint8_t[]){60}, 1);
	ext[1] = 200; /* longer than the packet */
	KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::2", .proto = KIT_UDP, .ext = ext,
		  .ext_size = size, .ext_proto = 60);
	assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
}

static void authentication_headers_are_walked(void **state)
{
	struct kit *kit = *state;
	uint8_t ext[24] = {KIT_UDP, 4};
	struct kit_frame f;

	KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::2", .proto = KIT_UDP, .dport = 7, .ext = ext,
		  .ext_size = sizeof(ext), .ext_proto = 51);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_int_equal(kit_ct(kit).policy_port, 7);
}

/* ---- fragments ---- */
struct piece {
	bool v6;
	unsigned off, size;
	bool more;
	uint32_t id;
	uint8_t proto;
};

static void piece_build(struct kit_frame *f, const struct piece *p)
{
	KIT_FRAME(f, .src = p->v6 ? "fd00::1" : "10.0.0.1", .dst = p->v6 ? "fd00::2" : "10.0.0.2",
		  .proto = p->proto ? p->proto : KIT_UDP, .sport = 1000, .dport = 2000,
		  .tcp_flags = KIT_SYN, .body_size = p->size, .frag_off = p->off,
		  .frag_more = p->more, .frag_id = p->id);
	if (!p->off && (!p->proto || p->proto == KIT_UDP)) {
		f->data[f->l4 + 4] = 4; /* UDP's length is that of the whole */
	}
}
#define PIECE(f, ...) piece_build(f, &(struct piece){__VA_ARGS__})

static void later_fragments_follow_their_first(struct kit *kit, bool v6)
{
	struct kit_frame f;

	PIECE(&f, .v6 = v6, .off = 32, .size = 24, .id = 1);
	assert_reason(kit, 1, DROP_FRAGMENT, kit_send(kit, 1, &f));
	assert_reason(kit, 2, DROP_FRAGMENT, kit_receive(kit, 2, BH_MARK_UPLINK, &f));
	PIECE(&f, .v6 = v6, .size = 24, .more = true, .id = 1);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	PIECE(&f, .v6 = v6, .off = 32, .size = 24, .more = true, .id = 1);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	PIECE(&f, .v6 = v6, .off = 56, .size = 5, .id = 1);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_int_equal(kit_ct(kit).packets[0], 3);
	for (unsigned off = 8; off < 32; off += 8) { /* overlaps the first */
		PIECE(&f, .v6 = v6, .off = off, .size = 24, .id = 1);
		assert_reason(kit, 1, DROP_FRAGMENT, kit_send(kit, 1, &f));
	}
	PIECE(&f, .v6 = v6, .off = 32, .size = 24, .id = 2);
	assert_reason(kit, 1, DROP_FRAGMENT, kit_send(kit, 1, &f));
	PIECE(&f, .v6 = v6, .size = 5, .more = true, .id = 3); /* only the last may be odd */
	assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
	PIECE(&f, .v6 = v6, .off = 65528, .size = 24, .id = 1); /* longer than a packet can be */
	assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
}

static void fragments4(void **state)
{
	later_fragments_follow_their_first(*state, false);
}

static void fragments6(void **state)
{
	later_fragments_follow_their_first(*state, true);
}

static void tiny_first_fragments_are_dropped(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	for (int v6 = 0; v6 < 2; v6++) {
		for (unsigned have = 0; have <= 16; have += 8) {
			PIECE(&f, .v6 = v6, .more = true, .id = 9, .proto = KIT_TCP);
			f.data[f.l3 + (v6 ? 5 : 3)] = (v6 ? 8 : 20) + have;
			kit_fix(&f);
			assert_reason(kit, 1, DROP_FRAGMENT, kit_send(kit, 1, &f));
		}
	}
	/* A TCP header that goes on in the second. */
	PIECE(&f, .more = true, .size = 4, .id = 9, .proto = KIT_TCP);
	f.data[f.l4 + 12] = 8 << 4;
	assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
}

static void a_refused_first_fragment_opens_nothing(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	kit_default(kit, 300, BH_DIR_EGRESS, BH_ACTION_DENY, 1);
	PIECE(&f, .size = 24, .more = true, .id = 1);
	assert_reason(kit, 1, DROP_POLICY, kit_send(kit, 1, &f));
	PIECE(&f, .off = 32, .size = 24, .id = 1);
	assert_reason(kit, 1, DROP_FRAGMENT, kit_send(kit, 1, &f));
}

static void group_fragments_have_no_connection(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "224.0.0.251", .proto = KIT_UDP, .body_size = 16,
		  .frag_more = true, .frag_id = 4);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "224.0.0.251", .proto = KIT_UDP, .body_size = 16,
		  .frag_off = 24, .frag_id = 4);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	kit_set_gen(kit, 3);
	assert_reason(kit, 1, DROP_FRAGMENT, kit_send(kit, 1, &f));
}

static void a_fragmented_echo_passes(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_ICMP, .icmp_type = 8,
		  .icmp_id = 3, .body_size = 16, .frag_more = true, .frag_id = 4);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_ICMP, .body_size = 10,
		  .frag_off = 24, .frag_id = 4);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_ICMP, .icmp_type = 3,
		  .body_size = 32, .frag_more = true, .frag_id = 5);
	assert_reason(kit, 1, DROP_ICMP_UNRELATED, kit_send(kit, 1, &f));
}

/* Bytes turned at random: whatever comes out, nothing passes with a source that is not the NIC's.
 */
static void noise_never_spoofs(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;
	uint32_t seed = 1;

	for (int round = 0; round < 20000; round++) {
		bool v6 = round & 1;
		size_t from;

		KIT_FRAME(&f, .src = v6 ? "fd00::1" : "10.0.0.1",
			  .dst = v6 ? "fd00::2" : "10.0.0.2", .proto = KIT_TCP,
			  .tcp_flags = KIT_SYN, .body_size = 24);
		for (int i = 0; i < 3; i++) {
			seed = seed * 1664525 + 1013904223;
			f.data[(seed >> 8) % f.size] = seed >> 24;
		}
		if (kit_send(kit, 1, &f) != KIT_PASS) {
			continue;
		}
		assert_memory_equal(f.data + 6, kit_mac[1], 6);
		from = 14 + (f.data[12] == 0x81 || f.data[12] == 0x88 ? 4 : 0);
		if (f.data[from - 2] == 0x08 && f.data[from - 1] == 0x00) {
			assert_memory_equal(f.data + from + 12, "\x0a\0\0\1", 4);
		}
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, kit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(frames_cut_short_never_pass),
		TEST(headers_cut_short_never_pass),
		TEST(lengths_do_not_lie),
		TEST(scans_with_impossible_flags_are_dropped),
		TEST(options_are_skipped),
		TEST(extension_headers_are_walked),
		TEST(authentication_headers_are_walked),
		TEST(fragments4),
		TEST(fragments6),
		TEST(tiny_first_fragments_are_dropped),
		TEST(a_refused_first_fragment_opens_nothing),
		TEST(group_fragments_have_no_connection),
		TEST(a_fragmented_echo_passes),
		TEST(noise_never_spoofs),
	};

	kit_require_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

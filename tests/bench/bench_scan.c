/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The physical limit that the gate is held against: the fast patterns of all rules in one Hyperscan
 * database, block-scanned over every TCP and UDP payload of a capture, nothing else. As
 * shared/SURICATA.md describes it: the first 20,000 patterns of at least 4 bytes,
 * HS_FLAG_SINGLEMATCH.
 *
 *	bench_scan fast-patterns.tsv capture.pcap[.gz] [ROUNDS]
 *
 * Prints the best round as JSON. Reads classic pcap of Ethernet, VLAN tags, IPv4 and IPv6 without
 * extension headers; what else is there is left out and counted.
 */
#include "base/time.h"
#include "base/util.h"

#include <hs.h>
#include <zlib.h>

#define PATTERNS_MAX 20000
#define PATTERN_MIN  4
#define HEADER_SIZE  24
#define RECORD_SIZE  16

struct payload {
	const uint8_t *data;
	uint32_t size;
};

struct payloads {
	BH_VEC(struct payload) all;
	uint64_t packets, bytes, wire, other;
};

static void die(const char *what)
{
	fprintf(stderr, "bench_scan: %s\n", what);
	exit(1);
}

/* "\x41\x42.." of the hex text. */
static char *expression(const char *hex, size_t digits)
{
	char *text = bh_alloc(digits * 2 + 1), *at = text;

	for (size_t i = 0; i + 1 < digits; i += 2) {
		at += snprintf(at, 5, "\\x%.2s", hex + i);
	}
	return text;
}

static hs_database_t *compile(const char *path, unsigned int *ret_count)
{
	BH_FREE const char **texts = bh_alloc_array(PATTERNS_MAX, sizeof(*texts));
	BH_FREE unsigned int *flags = bh_alloc_array(PATTERNS_MAX, sizeof(*flags));
	BH_FREE unsigned int *ids = bh_alloc_array(PATTERNS_MAX, sizeof(*ids));
	BH_FCLOSE FILE *file = fopen(path, "r");
	hs_compile_error_t *error = NULL;
	hs_database_t *database = NULL;
	unsigned int count = 0;
	char line[4096];

	if (!file) {
		die(path);
	}
	while (count < PATTERNS_MAX && fgets(line, sizeof(line), file)) {
		const char *hex = strchr(line, '\t');
		size_t digits = hex ? strspn(++hex, "0123456789abcdef") : 0;

		if (digits < 2 * PATTERN_MIN) {
			continue;
		}
		texts[count] = expression(hex, digits);
		flags[count] = HS_FLAG_SINGLEMATCH | (line[0] == 'i' ? HS_FLAG_CASELESS : 0);
		ids[count] = count;
		count++;
	}
	if (hs_compile_multi(texts, flags, ids, count, HS_MODE_BLOCK, NULL, &database, &error)) {
		die(error->message);
	}
	for (unsigned int i = 0; i < count; i++) {
		free((char *)texts[i]);
	}
	*ret_count = count;
	return database;
}

static uint8_t *read_all(const char *path, size_t *ret_size)
{
	gzFile file = gzopen(path, "rb");
	size_t size = 0, capacity = 1 << 26;
	uint8_t *data = bh_alloc(capacity);
	int n;

	if (!file) {
		die(path);
	}
	while ((n = gzread(file, data + size, (unsigned int)(capacity - size))) > 0) {
		size += (size_t)n;
		if (size == capacity) {
			capacity *= 2;
			data = bh_realloc_array(data, capacity, 1);
		}
	}
	gzclose(file);
	*ret_size = size;
	return data;
}

static uint32_t u16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

/* Where the transport begins and what it is; 0 none. */
static uint32_t skip_ip(const uint8_t *p, uint32_t size, uint32_t at, uint8_t *ret_proto,
			uint32_t *ret_end)
{
	uint32_t header = at + 20 <= size && p[at] >> 4 == 4 ? (p[at] & 15u) * 4 : 40;

	if (at + 40 > size && header == 40) {
		return 0;
	}
	if (p[at] >> 4 == 4) {
		*ret_end = at + u16(p + at + 2);
		*ret_proto = p[at + 9];
		if (u16(p + at + 6) & 0x1fff) {
			return 0;
		}
	} else if (p[at] >> 4 == 6) {
		*ret_end = at + 40 + u16(p + at + 4);
		*ret_proto = p[at + 6];
	} else {
		return 0;
	}
	*ret_end = *ret_end < size ? *ret_end : size;
	return at + header;
}

static struct payload payload_of(const uint8_t *p, uint32_t size)
{
	uint32_t at = 12, end = size;
	uint8_t proto = 0;

	while (at + 4 <= size && (u16(p + at) == 0x8100 || u16(p + at) == 0x88a8)) {
		at += 4;
	}
	if (at + 2 + 20 > size || (u16(p + at) != 0x0800 && u16(p + at) != 0x86dd)) {
		return (struct payload){};
	}
	at = skip_ip(p, size, at + 2, &proto, &end);
	if (at && proto == 6 && at + 20 <= end) {
		at += (uint32_t)(p[at + 12] >> 4) * 4;
	} else if (at && proto == 17 && at + 8 <= end) {
		at += 8;
	} else {
		return (struct payload){};
	}
	return at < end ? (struct payload){p + at, end - at} : (struct payload){};
}

static void split(const uint8_t *data, size_t size, struct payloads *ret)
{
	for (size_t at = HEADER_SIZE; at + RECORD_SIZE <= size;) {
		uint32_t captured;
		struct payload one;

		memcpy(&captured, data + at + 8, sizeof(captured));
		at += RECORD_SIZE;
		if (captured > size - at) {
			break;
		}
		one = payload_of(data + at, captured);
		ret->packets++;
		ret->wire += captured;
		if (one.size) {
			*bh_vec_push(&ret->all) = one;
			ret->bytes += one.size;
		} else {
			ret->other++;
		}
		at += captured;
	}
}

static int on_match(unsigned int id, unsigned long long from, unsigned long long to,
		    unsigned int flags, void *arg)
{
	++*(uint64_t *)arg;
	return 0;
}

static double scan(const struct payloads *payloads, const hs_database_t *database,
		   hs_scratch_t *scratch, uint64_t *ret_matches)
{
	uint64_t began = bh_time_mono_ns();

	*ret_matches = 0;
	for (size_t i = 0; i < payloads->all.count; i++) {
		const struct payload *one = &payloads->all.items[i];

		(void)hs_scan(database, (const char *)one->data, one->size, 0, scratch, on_match,
			      ret_matches);
	}
	return (double)(bh_time_mono_ns() - began) / (double)BH_NS_PER_S;
}

int main(int argc, char **argv)
{
	int rounds = argc > 3 ? atoi(argv[3]) : 7;
	struct payloads payloads = {};
	hs_scratch_t *scratch = NULL;
	hs_database_t *database;
	uint64_t matches = 0;
	unsigned int count;
	double best = 1e9;
	uint8_t *data;
	size_t size;

	if (argc < 3) {
		die("usage: bench_scan fast-patterns.tsv capture.pcap[.gz] [ROUNDS]");
	}
	database = compile(argv[1], &count);
	if (hs_alloc_scratch(database, &scratch)) {
		die("no scratch");
	}
	data = read_all(argv[2], &size);
	split(data, size, &payloads);
	for (int i = 0; i < rounds; i++) {
		double took = scan(&payloads, database, scratch, &matches);

		best = took < best ? took : best;
	}
	printf("{\"hyperscan\": \"%s\", \"patterns\": %u, \"packets\": %llu, \"payloads\": %zu, "
	       "\"wire_bytes\": %llu, \"payload_bytes\": %llu, \"matches\": %llu, "
	       "\"seconds\": %.4f, \"gb_per_s\": %.3f}\n",
	       hs_version(), count, (unsigned long long)payloads.packets, payloads.all.count,
	       (unsigned long long)payloads.wire, (unsigned long long)payloads.bytes,
	       (unsigned long long)matches, best, (double)payloads.bytes / best / 1e9);
	hs_free_scratch(scratch);
	hs_free_database(database);
	bh_vec_done(&payloads.all);
	free(data);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Reputation of addresses: a sorted table; networks are found by their length, longest first. */
#include "gate/detect/iprep.h"

#include "base/counter.h"
#include "base/file.h"
#include "base/util.h"
#include "gate/config.h"

#include <stdlib.h>

#define FILE_SIZE_MAX (256u << 20)

BH_COUNTER(gate_iprep_bad, "lines and files of reputation that could not be read");

struct gate_iprep {
	BH_VEC(struct reputation {
		struct gate_addr addr;
		uint8_t bits, category, score;
	})
	items;
	uint8_t lengths[129]; /* that occur */
};

static void mask(struct gate_addr *addr, unsigned int bits)
{
	for (unsigned int i = 0; i < 16; i++) {
		unsigned int keep = bits >= 8 ? 8 : bits;

		addr->bytes[i] &= (uint8_t)(0xff00u >> keep);
		bits -= keep;
	}
}

static int compare(const void *pa, const void *pb)
{
	const struct reputation *a = pa, *b = pb;
	int order = (int)a->bits - (int)b->bits;

	order = order ? order : memcmp(&a->addr, &b->addr, sizeof(a->addr));
	return order ? order : (int)a->category - (int)b->category;
}

static bool parse_addr(const char *text, struct gate_addr *ret, uint8_t *ret_bits)
{
	struct gate_network network;
	bool ok = gate_network_parse(text, &network);

	memcpy(ret->bytes, network.addr, sizeof(ret->bytes));
	*ret_bits = network.bits;
	return ok;
}

static bool parse_line(struct gate_iprep *iprep, char *line)
{
	char *save = NULL, *addr = strtok_r(line, ", \t\r", &save);
	char *category = strtok_r(NULL, ", \t\r", &save), *score = strtok_r(NULL, ", \t\r", &save);
	struct reputation r;
	uint64_t c, v;

	if (!addr || addr[0] == '#') {
		return true;
	}
	if (!category || !score || bh_parse_u64(category, 0, 255, &c) ||
	    bh_parse_u64(score, 0, 127, &v) || !parse_addr(addr, &r.addr, &r.bits)) {
		return false;
	}
	r.category = (uint8_t)c;
	r.score = (uint8_t)v;
	mask(&r.addr, r.bits);
	iprep->lengths[r.bits] = 1;
	*bh_vec_push(&iprep->items) = r;
	return true;
}

static void load(struct gate_iprep *iprep, const char *path)
{
	BH_FREE char *data = NULL;
	char *save = NULL;
	size_t size;

	if (bh_file_read(path, FILE_SIZE_MAX, &data, &size, NULL)) {
		bh_counter_add(&gate_iprep_bad, 1);
		return;
	}
	for (char *line = strtok_r(data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (!parse_line(iprep, line)) {
			bh_counter_add(&gate_iprep_bad, 1);
		}
	}
}

struct gate_iprep *gate_iprep_new(const struct gate_config *config)
{
	struct gate_iprep *iprep = bh_alloc(sizeof(*iprep));

	bh_vec_foreach (name, &config->reputation_files) {
		BH_FREE char *path = **name == '/' || !config->reputation_path
					     ? bh_strdup(*name)
					     : bh_asprintf("%s/%s", config->reputation_path, *name);

		load(iprep, path);
	}
	if (iprep->items.count) {
		qsort(iprep->items.items, iprep->items.count, sizeof(*iprep->items.items), compare);
	}
	return iprep;
}

void gate_iprep_free(struct gate_iprep *iprep)
{
	if (iprep) {
		bh_vec_done(&iprep->items);
		free(iprep);
	}
}

int gate_iprep_score(const struct gate_iprep *iprep, const struct gate_addr *addr, uint8_t category)
{
	for (int bits = 128; bits >= 0 && iprep->items.count; bits--) {
		struct reputation key = {
			.addr = *addr, .bits = (uint8_t)bits, .category = category};
		const struct reputation *found;

		if (!iprep->lengths[bits]) {
			continue;
		}
		mask(&key.addr, (unsigned int)bits);
		found = bsearch(&key, iprep->items.items, iprep->items.count, sizeof(key), compare);
		if (found) {
			return found->score;
		}
	}
	return -1;
}

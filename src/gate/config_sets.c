/* SPDX-License-Identifier: Apache-2.0 */
/* The settings below rule-sets (config.h): which files a set has, and whose flows it inspects. */
#include "gate/config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>

#define VLAN_MAX 4095
#define VNI_MAX	 0xffffff

bool gate_network_parse(const char *text, struct gate_network *ret)
{
	char addr[INET6_ADDRSTRLEN + 1] = {};
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	bool v4 = !memchr(text, ':', len);
	uint64_t bits = v4 ? 32 : 128;

	memset(ret, 0, sizeof(*ret));
	if (len >= sizeof(addr) || (slash && bh_parse_u64(slash + 1, 0, bits, &bits))) {
		return false;
	}
	memcpy(addr, text, len);
	if (v4) {
		ret->addr[10] = ret->addr[11] = 0xff;
		bits += 96;
	}
	ret->bits = (uint8_t)bits;
	return inet_pton(v4 ? AF_INET : AF_INET6, addr, v4 ? ret->addr + 12 : ret->addr) == 1;
}

bool gate_network_has(const struct gate_network *network, const uint8_t addr[16])
{
	unsigned int bytes = network->bits / 8, rest = network->bits % 8;

	if (memcmp(network->addr, addr, bytes) != 0) {
		return false;
	}
	return !rest || !((network->addr[bytes] ^ addr[bytes]) >> (8 - rest));
}

/* "10" or "20-29" */
static int read_range(const char *text, uint32_t max, struct gate_config_range *ret)
{
	BH_FREE char *first = bh_strdup(text);
	char *dash = strchr(first, '-');
	uint64_t low, high;

	if (dash) {
		*dash++ = '\0';
	}
	if (bh_parse_u64(first, 0, max, &low) ||
	    bh_parse_u64(dash ? dash : first, low, max, &high)) {
		return -EINVAL;
	}
	*ret = (struct gate_config_range){(uint32_t)low, (uint32_t)high};
	return 0;
}

static int take_file(struct gate_config_set *set, const char *value, struct bh_diag *diag)
{
	*bh_vec_push(&set->files) = bh_strdup(value);
	return *value ? 0
		      : bh_diag_set(diag, -EINVAL, "rule-sets.%s: a file without a name",
				    set->name);
}

static int take_interface(struct gate_config_set *set, const char *value, struct bh_diag *diag)
{
	*bh_vec_push(&set->interfaces) = bh_strdup(value);
	return *value ? 0
		      : bh_diag_set(diag, -EINVAL, "rule-sets.%s: an interface without a name",
				    set->name);
}

static int take_vlan(struct gate_config_set *set, const char *value, struct bh_diag *diag)
{
	if (read_range(value, VLAN_MAX, bh_vec_push(&set->vlans))) {
		return bh_diag_set(diag, -EINVAL,
				   "rule-sets.%s.match.vlan: expected 0 to %u or FIRST-LAST, not "
				   "'%.40s'",
				   set->name, VLAN_MAX, value);
	}
	return 0;
}

static int take_vni(struct gate_config_set *set, const char *value, struct bh_diag *diag)
{
	if (read_range(value, VNI_MAX, bh_vec_push(&set->vnis))) {
		return bh_diag_set(diag, -EINVAL,
				   "rule-sets.%s.match.vni: expected 0 to %u or FIRST-LAST, not "
				   "'%.40s'",
				   set->name, VNI_MAX, value);
	}
	return 0;
}

static int take_address(struct gate_config_set *set, const char *value, struct bh_diag *diag)
{
	if (!gate_network_parse(value, bh_vec_push(&set->networks))) {
		return bh_diag_set(diag, -EINVAL,
				   "rule-sets.%s.match.address: '%.60s' is no address or network",
				   set->name, value);
	}
	return 0;
}

static const struct set_key {
	const char *path;
	int (*take)(struct gate_config_set *set, const char *value, struct bh_diag *diag);
} set_keys[] = {
	{"files", take_file},
	{"match\nvlan", take_vlan},
	{"match\nvni", take_vni},
	{"match\ninterface", take_interface},
	{"match\naddress", take_address},
};

/* The key itself, or a member of the list that it holds. */
static bool is_below(const char *path, const char *key)
{
	size_t len = strlen(key);

	if (strncmp(path, key, len) != 0) {
		return false;
	}
	return !path[len] ||
	       (path[len] == '\n' && !path[len + 1 + strspn(path + len + 1, "0123456789")]);
}

static bool is_name(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)text[i]) && text[i] != '-' && text[i] != '_') {
			return false;
		}
	}
	return len > 0 && len <= GATE_RULE_SET_NAME_MAX &&
	       (len != 7 || strncmp(text, GATE_RULE_SET_DEFAULT, len) != 0);
}

static struct gate_config_set *set_named(struct gate_config *config, const char *name, size_t len,
					 struct bh_diag *diag)
{
	struct gate_config_set *set;

	bh_vec_foreach (have, &config->rule_sets) {
		if (strlen(have->name) == len && !strncmp(have->name, name, len)) {
			return have;
		}
	}
	if (!is_name(name, len)) {
		(void)bh_diag_set(diag, -EINVAL,
				  "rule-sets: '%.*s' is no name of a rule set (1 to %u letters, "
				  "digits, - and _; not '" GATE_RULE_SET_DEFAULT "')",
				  (int)(len < 100 ? len : 100), name, GATE_RULE_SET_NAME_MAX);
		return NULL;
	}
	if (config->rule_sets.count >= GATE_RULE_SETS_MAX - 1) {
		(void)bh_diag_set(diag, -E2BIG, "rule-sets: more than %u", GATE_RULE_SETS_MAX - 1);
		return NULL;
	}
	set = bh_vec_push(&config->rule_sets);
	*set = (struct gate_config_set){.name = bh_asprintf("%.*s", (int)len, name)};
	return set;
}

int gate_config_each_set(void *target, const char *path, const char *value, struct bh_diag *diag)
{
	size_t len = strcspn(path, "\n");
	const char *key = path[len] ? path + len + 1 : "";
	struct gate_config_set *set = set_named(target, path, len, diag);
	BH_FREE char *text = NULL;

	if (!set) {
		return -EINVAL;
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(set_keys); i++) {
		if (is_below(key, set_keys[i].path)) {
			return set_keys[i].take(set, value, diag);
		}
	}
	text = bh_asprintf("%.100s", key);
	for (char *c = text; *c; c++) {
		*c = *c == '\n' ? '.' : *c;
	}
	return bh_diag_set(diag, -EINVAL,
			   "unknown key 'rule-sets.%s.%s' (files, match.vlan, match.vni, "
			   "match.interface, match.address)",
			   set->name, text);
}

int gate_config_check(const struct gate_config *config, struct bh_diag *diag)
{
	bh_vec_foreach (set, &config->rule_sets) {
		if (!set->files.count) {
			return bh_diag_set(diag, -EINVAL, "rule-sets.%s: no files", set->name);
		}
		if (!set->vlans.count && !set->vnis.count && !set->interfaces.count &&
		    !set->networks.count) {
			return bh_diag_set(diag, -EINVAL,
					   "rule-sets.%s: no match, so no flow would have it",
					   set->name);
		}
	}
	return 0;
}

const char *gate_config_set_name(const struct gate_config *config, unsigned int slot)
{
	return slot && slot <= config->rule_sets.count ? config->rule_sets.items[slot - 1].name
						       : GATE_RULE_SET_DEFAULT;
}

void gate_config_sets_done(struct gate_config *config)
{
	bh_vec_foreach (set, &config->rule_sets) {
		bh_vec_foreach (file, &set->files) {
			free(*file);
		}
		bh_vec_foreach (interface, &set->interfaces) {
			free(*interface);
		}
		bh_vec_done(&set->files);
		bh_vec_done(&set->interfaces);
		bh_vec_done(&set->vlans);
		bh_vec_done(&set->vnis);
		bh_vec_done(&set->networks);
		free(set->name);
	}
	bh_vec_done(&config->rule_sets);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/inventory/report.h"

#include "base/json.h"
#include "policy/policy.h"

#include <errno.h>

static const struct {
	uint32_t flag;
	const char *name;
} flags_known[] = {{MANAGER_NIC_DHCP_SERVER, "dhcp-server"},
		   {MANAGER_NIC_ROUTER, "router"},
		   {MANAGER_NIC_ANY_SOURCE, "any-source"},
		   {MANAGER_NIC_ANY_VLAN, "any-vlan"}};

/* Printable text without control characters, at most max bytes. */
static int take_text(const json_t *obj, const char *key, size_t max, bool must, char **ret,
		     struct bh_diag *diag)
{
	const char *s = "";
	int r;

	if (!must && (!json_object_get(obj, key) || json_is_null(json_object_get(obj, key)))) {
		*ret = bh_strdup("");
		return 0;
	}
	r = bh_json_str(obj, key, &s, diag);
	if (r < 0) {
		return r;
	}
	if (strlen(s) > max || (must && !*s)) {
		return bh_diag_set(diag, -EINVAL, "'%s' must have 1 to %zu bytes", key, max);
	}
	for (const char *p = s; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f) {
			return bh_diag_set(diag, -EINVAL, "control character in '%s'", key);
		}
	}
	*ret = bh_strdup(s);
	return 0;
}

int manager_labels_check(const json_t *labels, bool with_null, struct bh_diag *diag)
{
	const char *key;
	json_t *value;

	if (!json_is_object(labels)) {
		return bh_diag_set(diag, -EINVAL, "labels must be an object");
	}
	if (json_object_size(labels) > BH_LABELS_MAX) {
		return bh_diag_set(diag, -EINVAL, "more than %d labels", BH_LABELS_MAX);
	}
	json_object_foreach ((json_t *)labels, key, value) {
		if (!bh_label_key_valid(key) ||
		    strncmp(key, BH_POLICY_CLASS_PREFIX, strlen(BH_POLICY_CLASS_PREFIX)) == 0) {
			return bh_diag_set(diag, -EINVAL, "'%.80s' can't be a label's key", key);
		}
		if (with_null && json_is_null(value)) {
			continue;
		}
		if (!json_is_string(value) || !bh_label_value_valid(json_string_value(value))) {
			return bh_diag_set(diag, -EINVAL, "the value of label '%s' is not valid",
					   key);
		}
	}
	return 0;
}

json_t *manager_labels_changed(const json_t *old, const json_t *change)
{
	json_t *labels = old ? json_deep_copy(old) : json_object();
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)change, key, value) {
		if (json_is_null(value)) {
			json_object_del(labels, key);
		} else {
			json_object_set(labels, key, value);
		}
	}
	return labels;
}

bool manager_addrs_has(const struct manager_addrs *list, const uint8_t addr[16])
{
	for (size_t i = 0; i < list->count; i++) {
		if (memcmp(list->items[i].bytes, addr, 16) == 0) {
			return true;
		}
	}
	return false;
}

static bool usable(const uint8_t addr[16])
{
	static const uint8_t zero[16];

	if (bh_addr_is_v4(addr)) {
		return addr[12] != 0 && addr[12] != 127 && addr[12] < 224;
	}
	return addr[0] != 0xff && memcmp(addr, zero, 15) != 0;
}

int manager_addrs_parse(const json_t *list, struct manager_addrs *ret, struct bh_diag *diag)
{
	size_t i;
	json_t *item;

	ret->count = 0;
	if (!json_is_array(list) || json_array_size(list) > MANAGER_ADDRS_PER_NIC) {
		return bh_diag_set(diag, -EINVAL, "addresses must be a list of at most %d",
				   MANAGER_ADDRS_PER_NIC);
	}
	json_array_foreach (list, i, item) {
		struct manager_addr addr;
		const char *s = json_string_value(item);

		if (!s || bh_addr_parse(s, addr.bytes) < 0 || !usable(addr.bytes)) {
			return bh_diag_set(diag, -EINVAL, "'%.60s' is no address of a NIC",
					   s ? s : "(not text)");
		}
		if (!manager_addrs_has(ret, addr.bytes)) {
			*bh_vec_push(ret) = addr;
		}
	}
	return 0;
}

json_t *manager_addrs_dump(const struct manager_addrs *list)
{
	json_t *out = json_array();

	for (size_t i = 0; i < list->count; i++) {
		char text[BH_ADDR_TEXT_SIZE];

		bh_addr_format(list->items[i].bytes, text);
		json_array_append_new(out, json_string(text));
	}
	return out;
}

static int take_flags(const json_t *list, uint32_t *ret, struct bh_diag *diag)
{
	size_t i;
	json_t *item;

	*ret = 0;
	if (!list || json_is_null(list)) {
		return 0;
	}
	if (!json_is_array(list) || json_array_size(list) > 16) {
		return bh_diag_set(diag, -EINVAL, "'flags' must be a short list");
	}
	json_array_foreach (list, i, item) {
		for (size_t k = 0; k < BH_ARRAY_SIZE(flags_known); k++) {
			if (json_is_string(item) &&
			    strcmp(json_string_value(item), flags_known[k].name) == 0) {
				*ret |= flags_known[k].flag;
			}
		}
	}
	return 0;
}

/* A number below 4096 is a single tag; larger ones are outer << 16 | inner as on the wire. */
static int take_vlans(const json_t *list, struct manager_report_nic *nic, struct bh_diag *diag)
{
	size_t i;
	json_t *item;

	if (!list || json_is_null(list)) {
		return 0;
	}
	if (!json_is_array(list) || json_array_size(list) > MANAGER_VLANS_PER_NIC) {
		return bh_diag_set(diag, -EINVAL, "'vlans' must be a list of at most %d",
				   MANAGER_VLANS_PER_NIC);
	}
	json_array_foreach (list, i, item) {
		json_int_t v = json_integer_value(item);

		if (v > 0 && v < 4095) {
			v <<= 16;
		}
		if (!json_is_integer(item) || v < 65536 || (v >> 16) > 4094 ||
		    (v & 0xffff) > 4094) {
			return bh_diag_set(diag, -EINVAL, "not a VLAN number in 'vlans'");
		}
		nic->vlans[nic->vlan_count++] = (uint32_t)v;
	}
	return 0;
}

static bool key_allowed(const char *key, const char *host)
{
	size_t len = host ? strlen(host) : 0;

	if (!host || !*key || strncmp(key, "bridge/", 7) == 0) {
		return true;
	}
	return strncmp(key, "host/", 5) == 0 && strncmp(key + 5, host, len) == 0 &&
	       key[5 + len] == '/';
}

static int parse_nic(const json_t *obj, const char *host, struct manager_report_nic *nic,
		     struct bh_diag *diag)
{
	const char *mac = NULL;
	const json_t *addresses = json_object_get(obj, "addresses");
	int r;

	if (!json_is_object(obj)) {
		return bh_diag_set(diag, -EINVAL, "a NIC must be an object");
	}
	r = bh_json_str(obj, "mac", &mac, diag);
	if (r == 0 && (bh_mac_parse(mac, nic->mac) < 0 || (nic->mac[0] & 1))) {
		r = bh_diag_set(diag, -EINVAL, "'%.40s' is no MAC of a NIC", mac);
	}
	if (r == 0) {
		r = take_text(obj, "net", MANAGER_NETWORK_KEY_MAX, false, &nic->net, diag);
	}
	if (r == 0 && !key_allowed(nic->net, host)) {
		r = bh_diag_set(diag, -EINVAL, "network '%.80s' is not of this host", nic->net);
	}
	if (r == 0) {
		r = take_text(obj, "kind", 64, false, &nic->kind, diag);
	}
	if (r == 0) {
		r = take_text(obj, "source", 128, false, &nic->source, diag);
	}
	if (r == 0) {
		r = take_text(obj, "dev", 32, false, &nic->dev, diag);
	}
	if (r == 0) {
		r = take_text(obj, "reason", 256, false, &nic->reason, diag);
	}
	if (r == 0 && addresses) {
		r = manager_addrs_parse(addresses, &nic->addresses, diag);
	}
	if (r == 0) {
		r = take_flags(json_object_get(obj, "flags"), &nic->flags, diag);
	}
	if (r == 0) {
		r = take_vlans(json_object_get(obj, "vlans"), nic, diag);
	}
	nic->managed = json_is_true(json_object_get(obj, "net_managed"));
	nic->is_protected = json_is_true(json_object_get(obj, "protected"));
	return r;
}

static int parse_nics(const json_t *list, const char *host, struct manager_report *ret,
		      struct bh_diag *diag)
{
	size_t i;
	json_t *item;

	if (!json_is_array(list) || json_array_size(list) > MANAGER_NICS_PER_VM) {
		return bh_diag_set(diag, -EINVAL, "'nics' must be a list of at most %d",
				   MANAGER_NICS_PER_VM);
	}
	ret->nics = bh_alloc_array(json_array_size(list) + 1, sizeof(*ret->nics));
	json_array_foreach (list, i, item) {
		int r;

		ret->nic_count++;
		r = parse_nic(item, host, &ret->nics[i], diag);
		if (r < 0) {
			return r;
		}
		for (size_t k = 0; k < i; k++) {
			if (memcmp(ret->nics[k].mac, ret->nics[i].mac, 6) == 0) {
				return bh_diag_set(diag, -EINVAL, "one MAC twice in a VM");
			}
		}
	}
	return 0;
}

static int parse(const json_t *vm, const char *host, struct manager_report *ret,
		 struct bh_diag *diag)
{
	const char *uuid = NULL;
	json_t *labels = json_object_get(vm, "labels");
	int r;

	if (!json_is_object(vm)) {
		return bh_diag_set(diag, -EINVAL, "a VM must be an object");
	}
	r = bh_json_str(vm, "uuid", &uuid, diag);
	if (r == 0 && bh_uuid_parse(uuid, ret->id) < 0) {
		r = bh_diag_set(diag, -EINVAL, "'%.60s' is no UUID", uuid);
	}
	if (r < 0) {
		return r;
	}
	bh_uuid_format(ret->id, ret->uuid);
	r = take_text(vm, "name", 255, true, &ret->name, diag);
	if (r == 0) {
		r = take_text(vm, "type", 32, false, &ret->type, diag);
	}
	if (r == 0) {
		r = take_text(vm, "state", 32, false, &ret->state, diag);
	}
	if (r == 0) {
		r = take_text(vm, "tenant", BH_NAME_MAX, false, &ret->tenant, diag);
	}
	if (r == 0 && *ret->tenant && !bh_name_valid(ret->tenant)) {
		r = bh_diag_set(diag, -EINVAL, "'%s' can't be a tenant's name", ret->tenant);
	}
	if (r == 0) {
		r = take_text(vm, "birth", 16, false, &ret->birth, diag);
	}
	if (r == 0 && *ret->birth && strcmp(ret->birth, "open") && strcmp(ret->birth, "closed")) {
		r = bh_diag_set(diag, -EINVAL, "'birth' must be open or closed");
	}
	if (r == 0 && labels && !json_is_null(labels)) {
		r = manager_labels_check(labels, false, diag);
		ret->labels = r == 0 ? json_deep_copy(labels) : NULL;
	}
	if (!ret->labels) {
		ret->labels = json_object();
	}
	if (r == 0) {
		r = parse_nics(json_object_get(vm, "nics"), host, ret, diag);
	}
	if (r < 0) {
		bh_diag_prefix(diag, "VM %s", ret->uuid);
	}
	return r;
}

int manager_report_parse(const json_t *vm, const char *host, struct manager_report *ret,
			 struct bh_diag *diag)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	r = parse(vm, host, ret, diag);
	if (r < 0) {
		manager_report_done(ret);
	}
	return r;
}

void manager_report_done(struct manager_report *report)
{
	for (size_t i = 0; i < report->nic_count; i++) {
		struct manager_report_nic *nic = &report->nics[i];

		free(nic->net);
		free(nic->kind);
		free(nic->source);
		free(nic->dev);
		free(nic->reason);
		bh_vec_done(&nic->addresses);
	}
	free(report->nics);
	free(report->name);
	free(report->type);
	free(report->state);
	free(report->tenant);
	free(report->birth);
	json_decref(report->labels);
	memset(report, 0, sizeof(*report));
}

bool manager_report_running(const struct manager_report *report)
{
	return strcmp(report->state, "shutoff") != 0 && strcmp(report->state, "crashed") != 0 &&
	       *report->state;
}

json_t *manager_report_flags_dump(const struct manager_report_nic *nic)
{
	json_t *flags = json_array();

	for (size_t i = 0; i < BH_ARRAY_SIZE(flags_known); i++) {
		if (nic->flags & flags_known[i].flag) {
			json_array_append_new(flags, json_string(flags_known[i].name));
		}
	}
	return flags;
}

json_t *manager_report_vlans_dump(const struct manager_report_nic *nic)
{
	json_t *vlans = json_array();

	for (size_t i = 0; i < nic->vlan_count; i++) {
		json_array_append_new(vlans, json_integer(nic->vlans[i]));
	}
	return vlans;
}

static json_t *dump_nic(const struct manager_report_nic *nic)
{
	char mac[BH_MAC_TEXT_SIZE];

	bh_mac_format(nic->mac, mac);
	return json_pack("{s:s, s:s, s:b, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:b}", "mac", mac,
			 "net", nic->net, "net_managed", nic->managed, "kind", nic->kind, "source",
			 nic->source, "dev", nic->dev, "reason", nic->reason, "addresses",
			 manager_addrs_dump(&nic->addresses), "flags",
			 manager_report_flags_dump(nic), "vlans", manager_report_vlans_dump(nic),
			 "protected", nic->is_protected);
}

json_t *manager_report_dump(const struct manager_report *report)
{
	json_t *nics = json_array();

	for (size_t i = 0; i < report->nic_count; i++) {
		json_array_append_new(nics, dump_nic(&report->nics[i]));
	}
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:O, s:o}", "uuid", report->uuid, "name",
			 report->name, "type", report->type, "state", report->state, "tenant",
			 report->tenant, "birth", report->birth, "labels", report->labels, "nics",
			 nics);
}

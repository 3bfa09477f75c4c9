/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/vms: which VMs, in which order, a page of them. Consoles ask every few seconds, so what
 * is done for each VM is looking; JSON is made of those on the page. */
#include "manager/api/shown.h"

#include "base/json.h"
#include "manager/distribute/distribute.h"

typedef bool vm_test_fn(const struct manager_inventory *inv, const struct manager_vm *vm);

/* How many VMs a tenant or a host has. */
struct group {
	const void *key;
	const char *name; /* NULL: on no host */
	json_int_t vms;
	UT_hash_handle hh;
};

/* What the caller asks for; NULL: any. */
struct wanted {
	const char *tenant, *host, *label, *state, *words;
	vm_test_fn *protection;
	int (*compare)(const void *a, const void *b); /* NULL: by name */
	bool descending;
	bool groups, by_host;
};

/* ---- which ---- */

static bool is_open(const struct manager_inventory *inv, const struct manager_vm *vm)
{
	bool open = false;

	for (size_t i = 0; i < vm->report.nic_count; i++) {
		open |= !vm->report.nics[i].is_protected;
	}
	return open && vm->host && manager_report_running(&vm->report);
}

static bool is_quarantined(const struct manager_inventory *inv, const struct manager_vm *vm)
{
	return vm->over_quota || manager_quarantine_of(inv, vm->uuid);
}

static bool is_safe(const struct manager_inventory *inv, const struct manager_vm *vm)
{
	return !is_open(inv, vm) && !is_quarantined(inv, vm);
}

static bool has_conflict(const struct manager_inventory *inv, const struct manager_vm *vm)
{
	BH_JSON json_t *conflicts = manager_conflicts_of(inv, vm);

	return json_array_size(conflicts) > 0;
}

static bool is_misplaced(const struct manager_inventory *inv, const struct manager_vm *vm)
{
	return vm->misplaced != NULL;
}

static const char *state_of(const struct manager_vm *vm)
{
	return vm->host ? vm->report.state : "gone";
}

/* "key=value,key": all of them. */
static bool labels_match(const json_t *labels, const char *wanted)
{
	BH_FREE char *copy = bh_strdup(wanted);
	char *save = NULL;

	for (char *s = strtok_r(copy, ",", &save); s; s = strtok_r(NULL, ",", &save)) {
		char *value = strchr(s, '=');
		const char *has;

		if (value) {
			*value++ = '\0';
		}
		has = json_string_value(json_object_get(labels, s));
		if (!has || (value && strcmp(has, value) != 0)) {
			return false;
		}
	}
	return true;
}

static bool nic_has(const struct manager_nic *nic, const char *words)
{
	struct manager_addrs all = {};
	char text[BH_ADDR_TEXT_SIZE];
	bool found = false;

	bh_mac_format(nic->report->mac, text);
	if (strncasecmp(text, words, strlen(words)) == 0) {
		return true;
	}
	manager_nic_addresses(nic, true, &all);
	for (size_t i = 0; i < all.count && !found; i++) {
		bh_addr_format(all.items[i].bytes, text);
		found = strcasestr(text, words) != NULL;
	}
	bh_vec_done(&all);
	return found;
}

/* A part of its name or of an address, the beginning of its UUID or of a MAC. */
static bool has_words(const struct manager_vm *vm, const char *words)
{
	bool found = strcasestr(vm->report.name, words) ||
		     strncasecmp(vm->uuid, words, strlen(words)) == 0;

	for (size_t i = 0; i < vm->report.nic_count && !found; i++) {
		found = nic_has(&vm->nics[i], words);
	}
	return found;
}

static bool on_host(const struct manager_vm *vm, const char *host)
{
	return strcmp(vm->host ? vm->host->name : "-", host) == 0;
}

static bool fits(const struct wanted *w, const struct manager_inventory *inv,
		 const struct manager_vm *vm)
{
	return (!w->tenant || strcmp(vm->tenant->name, w->tenant) == 0) &&
	       (!w->host || on_host(vm, w->host)) &&
	       (!w->state || strcmp(state_of(vm), w->state) == 0) &&
	       (!w->label || labels_match(vm->labels, w->label)) &&
	       (!w->protection || w->protection(inv, vm)) && (!w->words || has_words(vm, w->words));
}

/* ---- in which order ---- */

static int by_tenant(const void *pa, const void *pb)
{
	const struct manager_vm *const *a = pa, *const *b = pb;
	int r = strverscmp((*a)->tenant->name, (*b)->tenant->name);

	return r ? r : manager_vm_compare(*a, *b);
}

static int by_host(const void *pa, const void *pb)
{
	const struct manager_vm *const *a = pa, *const *b = pb;
	int r = strverscmp((*a)->host ? (*a)->host->name : "", (*b)->host ? (*b)->host->name : "");

	return r ? r : manager_vm_compare(*a, *b);
}

/* ---- groups ---- */

static void count_group(struct group **groups, const struct wanted *w, const struct manager_vm *vm)
{
	const void *key = w->by_host ? (const void *)vm->host : vm->tenant;
	struct group *g;

	HASH_FIND_PTR(*groups, &key, g);
	if (!g) {
		g = bh_alloc(sizeof(*g));
		g->key = key;
		g->name = !w->by_host ? vm->tenant->name : vm->host ? vm->host->name : NULL;
		HASH_ADD_PTR(*groups, key, g);
	}
	g->vms++;
}

static int by_group_name(const struct group *a, const struct group *b)
{
	return strverscmp(a->name ? a->name : "", b->name ? b->name : "");
}

/* Frees them. Owned. */
static json_t *groups_json(struct group *groups)
{
	json_t *list = json_array();
	struct group *g, *tmp;

	HASH_SORT(groups, by_group_name);
	HASH_ITER (hh, groups, g, tmp) {
		json_array_append_new(list,
				      json_pack("{s:s?, s:I}", "name", g->name, "vms", g->vms));
		HASH_DEL(groups, g);
		free(g);
	}
	return json_pack("{s:o}", "groups", list);
}

/* ---- the question ---- */

static bool take_protection(struct manager_request *req, struct wanted *w)
{
	static const struct {
		const char *name;
		vm_test_fn *test;
	} known[] = {{"protected", is_safe},
		     {"open", is_open},
		     {"quarantine", is_quarantined},
		     {"conflict", has_conflict},
		     {"misplaced", is_misplaced}};
	const char *name = manager_request_query(req, "protection");

	for (size_t i = 0; name && i < BH_ARRAY_SIZE(known); i++) {
		if (strcmp(known[i].name, name) == 0) {
			w->protection = known[i].test;
		}
	}
	if (name && !w->protection) {
		manager_reply_errorf(req, 400, "bad_request",
				     "'protection' must be protected, open, quarantine, conflict "
				     "or misplaced");
		return false;
	}
	return true;
}

static bool take_order(struct manager_request *req, struct wanted *w)
{
	const char *sort = manager_request_query(req, "sort");
	const char *groups = manager_request_query(req, "groups");

	if (sort && *sort == '-') {
		w->descending = true;
		sort++;
	}
	if (sort && strcmp(sort, "tenant") == 0) {
		w->compare = by_tenant;
	} else if (sort && strcmp(sort, "host") == 0) {
		w->compare = by_host;
	} else if (sort && strcmp(sort, "name") != 0) {
		manager_reply_errorf(req, 400, "bad_request",
				     "'sort' must be name, tenant or host, with - before it to "
				     "turn it round");
		return false;
	}
	w->groups = groups != NULL;
	w->by_host = groups && strcmp(groups, "host") == 0;
	if (groups && !w->by_host && strcmp(groups, "tenant") != 0) {
		manager_reply_errorf(req, 400, "bad_request", "'groups' must be tenant or host");
		return false;
	}
	return true;
}

static bool take_wanted(struct manager_request *req, struct wanted *ret)
{
	const char *label = manager_request_query(req, "label");

	*ret = (struct wanted){.tenant = manager_request_query(req, "tenant"),
			       .host = manager_request_query(req, "host"),
			       .label = label,
			       .state = manager_request_query(req, "state"),
			       .words = manager_request_query(req, "q")};
	if (label && (!*label || *label == '=' || *label == ',')) {
		manager_reply_errorf(req, 400, "bad_request",
				     "'label' must be key=value or key, several with commas");
		return false;
	}
	if (!take_protection(req, ret) || !take_order(req, ret)) {
		return false;
	}
	/* Where VMs run is the provider's to know. */
	return (!ret->host && !ret->by_host && ret->compare != by_host &&
		ret->protection != is_misplaced) ||
	       manager_request_may(req, VERB_HOST_READ, MANAGER_PROVIDER, ret->host);
}

void manager_list_vms(struct manager_request *req)
{
	struct manager_inventory *inv = req->parts->inv;
	size_t all, count = 0;
	struct manager_vm *const *vms = manager_vms_by_name(inv, &all);
	BH_FREE struct manager_vm **found = bh_alloc_array(all + 1, sizeof(struct manager_vm *));
	struct group *groups = NULL;
	struct manager_page page;
	struct wanted w;

	if (!take_wanted(req, &w) || manager_page_begin(req, &page) < 0) {
		return;
	}
	for (size_t i = 0; i < all; i++) {
		if (!manager_request_sees(req, vms[i]->tenant->number)) {
			continue;
		}
		if (w.groups) {
			count_group(&groups, &w, vms[i]);
		}
		if (fits(&w, inv, vms[i])) {
			found[count++] = vms[i];
		}
	}
	if (w.compare) {
		qsort(found, count, sizeof(struct manager_vm *), w.compare);
	}
	for (size_t i = 0; i < count; i++) {
		if (manager_page_takes(&page)) {
			manager_page_put_seen(
				&page,
				manager_vm_shown(req, found[w.descending ? count - 1 - i : i]));
		}
	}
	manager_page_reply(req, &page, w.groups ? groups_json(groups) : NULL);
}

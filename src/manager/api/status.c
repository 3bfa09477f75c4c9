/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/status and /v1/hosts. */
#include "manager/api/shown.h"

#include "base/json.h"
#include "base/time.h"
#include "version.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <utlist.h>

#define QUERY_MS 10000

static json_t *hash_json(const struct manager_image *image)
{
	char text[2 * BH_HASH_SIZE + 1];

	if (!image) {
		return json_null();
	}
	bh_hash_format(bh_image_hash(image->image), text);
	return json_string(text);
}

/* The hash of an empty image. */
static json_t *nothing(void)
{
	static const struct bh_hash zero;
	char text[2 * BH_HASH_SIZE + 1];

	bh_hash_format(&zero, text);
	return json_string(text);
}

static json_t *installed_json(const struct manager_sync *sync)
{
	char text[2 * BH_HASH_SIZE + 1];

	if (sync->installed || !sync->told_known) {
		return hash_json(sync->installed);
	}
	bh_hash_format(&sync->told, text);
	return json_string(text);
}

static json_t *used_json(const struct manager_image *image)
{
	static const struct {
		const char *name;
		enum bh_rec_type type;
	} tables[] = {{"nics", BH_REC_NIC}, {"addrs", BH_REC_ADDR}, {"sets", BH_REC_SET},
		      {"rows", BH_REC_ROW}, {"cidrs", BH_REC_CIDR}, {"ranges", BH_REC_RANGE}};
	json_t *obj = json_object();

	for (size_t i = 0; image && i < BH_ARRAY_SIZE(tables); i++) {
		json_object_set_new(
			obj, tables[i].name,
			json_integer((json_int_t)bh_image_count_of(image->image, tables[i].type)));
	}
	return obj;
}

static void count_nics(const struct manager_host *host, int *nics, int *open)
{
	const struct manager_vm *vm;

	DL_FOREACH (host->vms, vm) {
		*nics += (int)vm->report.nic_count;
		for (size_t i = 0; i < vm->report.nic_count; i++) {
			*open += !vm->report.nics[i].is_protected &&
				 manager_report_running(&vm->report);
		}
	}
}

static json_t *number_or_null(uint64_t v)
{
	return v ? json_integer((json_int_t)v) : json_null();
}

static bool cert_ended(const struct manager_host *host)
{
	return host->cert.expires_s &&
	       (int64_t)(bh_time_wall_ns() / BH_NS_PER_S) > host->cert.expires_s;
}

static void add_sync(json_t *obj, const struct manager_sync *sync)
{
	json_object_set_new(obj, "state",
			    json_string(manager_sync_state_name(manager_sync_state(sync))));
	json_object_set_new(obj, "in_sync",
			    json_boolean(sync->host->online && manager_sync_in_sync(sync)));
	json_object_set_new(obj, "intended",
			    sync->intended ? hash_json(sync->intended) : nothing());
	json_object_set_new(obj, "installed", installed_json(sync));
	json_object_set_new(obj, "revision", json_integer(sync->revision));
	json_object_set_new(obj, "installed_at", bh_json_time_or_null(sync->installed_wall_ns));
	json_object_set_new(obj, "install_us", number_or_null(sync->install_us));
	json_object_set_new(obj, "sync_us", number_or_null(sync->sync_us));
	json_object_set_new(obj, "problem",
			    cert_ended(sync->host) && !sync->host->online
				    ? json_string("its certificate has ended: join it again with "
						  "`bulkhead host enroll --force`")
			    : *sync->problem ? json_string(sync->problem)
					     : json_null());
	json_object_set_new(obj, "used", used_json(sync->intended));
}

/* null: it was issued before the manager kept them. */
static json_t *certificate_json(const struct manager_host *host)
{
	if (!host->cert.expires_s) {
		return json_null();
	}
	return json_pack("{s:s, s:o, s:b, s:b}", "fingerprint", host->cert.fingerprint, "not_after",
			 bh_json_time_or_null((uint64_t)host->cert.expires_s * BH_NS_PER_S),
			 "in_use", host->cert.used, "expired", cert_ended(host));
}

json_t *manager_api_host(const struct manager_host *host)
{
	const json_t *capacity = json_object_get(host->hello, "capacity");
	const json_t *version = json_object_get(host->hello, "version");
	const json_t *abi = json_object_get(host->hello, "abi");
	const json_t *boot = json_object_get(host->hello, "boot");
	json_t *obj = json_object();
	int nics = 0, open = 0;

	count_nics(host, &nics, &open);
	json_object_set_new(obj, "name", json_string(host->name));
	json_object_set_new(obj, "online", json_boolean(host->online));
	json_object_set_new(obj, "enrolled_at", bh_json_time_or_null(host->enrolled_ns));
	json_object_set_new(obj, "last_seen", bh_json_time_or_null(host->last_seen_ns));
	json_object_set_new(obj, "version", version ? json_incref((json_t *)version) : json_null());
	json_object_set_new(obj, "abi", abi ? json_incref((json_t *)abi) : json_null());
	json_object_set_new(obj, "boot", boot ? json_incref((json_t *)boot) : json_null());
	json_object_set_new(obj, "capacity",
			    capacity ? json_incref((json_t *)capacity) : json_object());
	json_object_set_new(obj, "certificate", certificate_json(host));
	json_object_set(obj, "labels", host->labels);
	json_object_set_new(obj, "maintenance", manager_host_maintenance_json(host));
	json_object_set_new(obj, "vms", json_integer(host->vm_count));
	json_object_set_new(obj, "nics", json_integer(nics));
	json_object_set_new(obj, "nics_unprotected", json_integer(open));
	/* A host that has just joined has no state of its own until the next flush. */
	add_sync(obj, host->sync ? host->sync
				 : &(struct manager_sync){.host = (struct manager_host *)host});
	return obj;
}

static json_t *host_list(const struct manager_parts *parts, int *online, int *in_sync)
{
	json_t *list = json_array();
	struct manager_host *h, *tmp;

	HASH_ITER (hh, parts->inv->hosts, h, tmp) {
		*online += h->online;
		*in_sync += h->online && h->sync && manager_sync_in_sync(h->sync);
		json_array_append_new(list, manager_api_host(h));
	}
	return list;
}

static json_t *counts_json(const struct manager_parts *parts)
{
	const struct manager_inventory *inv = parts->inv;
	struct manager_host *h, *tmp;
	int nics = 0, open = 0;

	HASH_ITER (hh, inv->hosts, h, tmp) {
		count_nics(h, &nics, &open);
	}
	return json_pack("{s:I, s:I, s:i, s:i, s:I, s:I, s:I, s:I, s:I}", "tenants",
			 (json_int_t)HASH_COUNT(inv->tenants), "vms",
			 (json_int_t)HASH_COUNT(inv->vms), "nics", nics, "nics_unprotected", open,
			 "networks", (json_int_t)HASH_COUNT(inv->networks), "identities",
			 (json_int_t)HASH_COUNT(inv->identities), "policies",
			 (json_int_t)bh_policy_set_count(manager_rulebook_set(parts->book)),
			 "rules", (json_int_t)manager_rulebook_rule_count(parts->book),
			 "address_conflicts", (json_int_t)manager_conflict_count(inv));
}

static json_t *store_json(const struct manager_parts *parts)
{
	const char *path = manager_db_path(parts->db);
	struct statvfs fs = {};
	struct stat st = {};

	(void)!stat(path, &st);
	(void)!statvfs(path, &fs);
	return json_pack("{s:s, s:I, s:I, s:b}", "path", path, "size_bytes", (json_int_t)st.st_size,
			 "free_bytes", (json_int_t)((uint64_t)fs.f_bavail * fs.f_frsize), "ok",
			 parts->dist->save_retry_ns == 0);
}

json_t *manager_api_status(const struct manager_parts *parts, size_t followers)
{
	int online = 0, in_sync = 0;
	json_t *list = host_list(parts, &online, &in_sync);
	json_t *events = manager_events_stats(parts->events);
	int total = (int)json_array_size(list);
	bool up = parts->bus && bh_bus_up(parts->bus);
	json_t *bus =
		json_pack("{s:b, s:b}", "connected", up, "private_server", parts->server != NULL);

	if (parts->server) {
		json_object_set_new(bus, "url", json_string(bh_bus_server_url(parts->server)));
	}
	if (parts->bus && !up) {
		json_object_set_new(bus, "problem", json_string(bh_bus_last_error(parts->bus)));
	}
	json_object_set_new(events, "followers", json_integer((json_int_t)followers));
	return json_pack("{s:s, s:o, s:o, s:I, s:b, s:{s:i, s:i, s:i}, s:o, s:o, s:o, s:o, s:o}",
			 "version", BH_VERSION, "time", bh_json_time_or_null(bh_time_wall_ns()),
			 "started_at", bh_json_time_or_null(parts->started_ns), "revision",
			 (json_int_t)manager_rulebook_revision(parts->book), "in_sync",
			 in_sync == total, "hosts", "total", total, "online", online, "in_sync",
			 in_sync, "host_list", list, "counts", counts_json(parts), "bus", bus,
			 "store", store_json(parts), "events", events);
}

/* Of what the caller sees: his VMs and policies, and no word about hosts. */
static json_t *status_shown(struct manager_request *req)
{
	const struct bh_policy_set *set = manager_rulebook_set(req->parts->book);
	struct manager_vm *vm, *tmp;
	json_int_t vms = 0, nics = 0, open = 0, policies = 0;

	HASH_ITER (hh, req->parts->inv->vms, vm, tmp) {
		if (!manager_request_sees(req, vm->tenant->number)) {
			continue;
		}
		vms++;
		nics += (json_int_t)vm->report.nic_count;
		for (size_t i = 0; i < vm->report.nic_count; i++) {
			open += !vm->report.nics[i].is_protected &&
				manager_report_running(&vm->report);
		}
	}
	for (size_t i = 0; i < bh_policy_set_count(set); i++) {
		const char *tenant = bh_policy_tenant(bh_policy_set_at(set, i));

		policies += manager_request_holds(req, VERB_POLICY_READ,
						  manager_request_tenant(req, tenant));
	}
	req->asked = true; /* also when there is nothing */
	return json_pack("{s:s, s:o, s:{s:I, s:I, s:I, s:I}}", "version", BH_VERSION, "time",
			 bh_json_time_or_null(bh_time_wall_ns()), "counts", "vms", vms, "nics",
			 nics, "nics_unprotected", open, "policies", policies);
}

static void get_status(struct manager_request *req)
{
	if (!manager_request_sees_hosts(req)) {
		manager_reply(req, 200, status_shown(req));
		return;
	}
	manager_reply(req, 200, manager_api_status(req->parts, manager_follower_count(req->api)));
}

static void list_hosts(struct manager_request *req)
{
	struct manager_host *h, *tmp;
	struct manager_page page;

	if (manager_page_begin(req, &page) < 0) {
		return;
	}
	HASH_ITER (hh, req->parts->inv->hosts, h, tmp) {
		if (manager_page_takes(&page)) {
			manager_page_put_seen(&page, manager_api_host(h));
		}
	}
	manager_page_reply(req, &page, NULL);
}

static void get_host(struct manager_request *req)
{
	struct manager_host *host = manager_request_host(req);
	const struct manager_vm *vm;
	json_t *obj, *list;

	if (!host) {
		return;
	}
	obj = manager_api_host(host);
	list = json_array();
	DL_FOREACH (host->vms, vm) {
		if (manager_request_holds(req, VERB_VM_READ, vm->tenant->number)) {
			json_array_append_new(list, manager_vm_json(req->parts->inv, vm));
		}
	}
	json_object_set_new(obj, "vm_list", list);
	manager_reply(req, 200, obj);
}

static void delete_host(struct manager_request *req)
{
	struct manager_host *host = manager_request_host(req);
	struct bh_diag diag = {};
	int r;

	if (!host) {
		return;
	}
	r = manager_store_drop_host(req->parts->db, host->name, &diag);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
		return;
	}
	manager_request_changed(req, MANAGER_PROVIDER, NULL,
				json_pack("{s:O}", "labels", host->labels), NULL);
	if (req->parts->migrate) {
		manager_migrate_forget(req->parts->migrate, host);
	}
	manager_distribute_forget(req->parts->dist, host);
	manager_host_remove(req->parts->inv, host, bh_time_wall_ns());
	manager_distribute_schedule(req->parts->dist);
	if (manager_enroll_hosts_changed(req->parts->enroll, &diag) < 0) {
		manager_reply_failed(req, -EIO, &diag);
		return;
	}
	manager_reply_nothing(req);
}

static void on_query(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct manager_request *req = arg;
	const char *text = err ? bh_bus_reply_text(err, reply) : "";

	if (err == 0) {
		json_t *body = json_copy(reply->json);

		json_object_del(body, "ok");
		manager_reply(req, 200, body);
	} else if (err == -ETIMEDOUT || err == -EHOSTUNREACH) {
		manager_reply_errorf(req, 504, "timeout", "the host does not answer: %s", text);
	} else if (err > 0) {
		manager_reply_errorf(req, 400, "bad_request", "%s", text);
	} else {
		manager_reply_errorf(req, 503, "unavailable", "%s", text);
	}
}

static enum MHD_Result copy_argument(void *cls, enum MHD_ValueKind kind, const char *key,
				     const char *value)
{
	if (value && strcmp(key, "type") != 0) {
		json_object_set_new(cls, key, json_string(value));
	}
	return MHD_YES;
}

/* Connections and rules are those of all tenants. False when it was answered. */
static bool may_query(struct manager_request *req, const char *what)
{
	enum manager_verb verb = strcmp(what, "connections") == 0 ? VERB_FLOW_READ
				 : strcmp(what, "rules") == 0	  ? VERB_POLICY_READ
								  : VERB_HOST_READ;

	return verb == VERB_HOST_READ ||
	       (manager_request_may(req, verb, MANAGER_PROVIDER, req->segments[1]) &&
		manager_request_may(req, verb, MANAGER_EACH_TENANT, req->segments[1]));
}

static void query_host(struct manager_request *req)
{
	static const char *const known[] = {"counters", "connections", "nics", "rules", "status"};
	struct manager_host *host = manager_request_host(req);
	const char *what = manager_request_query(req, "what");
	bool good = false;
	json_t *body;

	if (!host) {
		return;
	}
	for (size_t i = 0; what && i < BH_ARRAY_SIZE(known); i++) {
		good |= strcmp(what, known[i]) == 0;
	}
	if (!good) {
		manager_reply_errorf(req, 400, "bad_request",
				     "'what' must be counters, connections, nics, rules or status");
		return;
	}
	if (!may_query(req, what)) {
		return;
	}
	body = json_object();
	MHD_get_connection_values(req->connection, MHD_GET_ARGUMENT_KIND, copy_argument, body);
	manager_request_later(req);
	manager_link_query(req->parts->link, host->name, body, QUERY_MS, on_query, req);
}

const struct manager_route manager_routes_status[] = {
	{"GET", "status", get_status, VERB_VM_READ, OBJECT_LIST, 0, NULL},
	{"GET", "hosts", list_hosts, VERB_HOST_READ, OBJECT_SYSTEM, 0, NULL, API_PAGE_QUERY},
	{"GET", "hosts/*", get_host, VERB_HOST_READ, OBJECT_HOST, 0, NULL},
	{"DELETE", "hosts/*", delete_host, VERB_HOST_REMOVE, OBJECT_HOST, API_AUDIT, "host.delete"},
	{"GET", "hosts/*/query", query_host, VERB_HOST_READ, OBJECT_HOST, API_ANY_QUERY, NULL},
	{},
};

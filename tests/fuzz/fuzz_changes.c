/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests about policies: drafts, what-if, commits, monitors, revisions, one after the other as
 * root, handed to the handlers as the server would. An input is "METHOD path?query\nbody" with
 * "\n%%\n" between requests; each input begins with a world of its own: two tenants, three VMs, one
 * policy. Every request is answered, with JSON, and an error says something.
 */
#include "manager/api/request.h"

#include "base/json.h"
#include "manager/commit.h"
#include "manager/store/store.h"

#include <unistd.h>

#define BETWEEN	     "\n%%\n"
#define REQUESTS_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok) {
		abort();
	}
}

/* ---- what libmicrohttpd has of a request ---- */

static char *the_query; /* "a=b&c=d" */
static char the_value[256];

const char *MHD_lookup_connection_value(struct MHD_Connection *connection, enum MHD_ValueKind kind,
					const char *key)
{
	size_t len = strlen(key);

	/* Nobody changes a host here, so there is nothing to wait for. */
	if (kind != MHD_GET_ARGUMENT_KIND || strcmp(key, "wait") == 0) {
		return NULL;
	}
	for (const char *p = the_query; *p; p += strcspn(p, "&"), p += *p == '&') {
		if (strncmp(p, key, len) == 0 && p[len] == '=') {
			snprintf(the_value, sizeof(the_value), "%.*s",
				 (int)strcspn(p + len + 1, "&"), p + len + 1);
			return the_value;
		}
	}
	return NULL;
}

void MHD_suspend_connection(struct MHD_Connection *connection)
{
}

void MHD_resume_connection(struct MHD_Connection *connection)
{
}

/* ---- what lasts: the database of accounts and the store of events take long to make ---- */

static struct manager_parts lasting;
static struct manager_api *api;
static char folder[] = "/tmp/fuzz-changes-XXXXXX";

static void remove_folder(void)
{
	static const char *const ends[] = {"", "-wal", "-shm"};

	for (size_t i = 0; i < BH_ARRAY_SIZE(ends); i++) {
		BH_FREE char *path = bh_asprintf("%s/events.db%s", folder, ends[i]);

		unlink(path);
	}
	rmdir(folder);
}

static void make_lasting(void)
{
	static const uint8_t token[32];
	BH_FREE char *path = NULL;
	struct manager_accounts_options accounts = {.loop = uv_default_loop()};
	struct manager_events_options events = {
		.loop = uv_default_loop(), .keep = 1000, .keep_bytes = 1 << 20};
	static const struct manager_proxies none;
	struct manager_api_options options = {.listen = "", .token_hash = token, .proxies = &none};

	check(sodium_init() >= 0 && mkdtemp(folder) && atexit(remove_folder) == 0);
	path = bh_asprintf("%s/events.db", folder);
	lasting.loop = uv_default_loop();
	check(manager_store_open(":memory:", &lasting.db, NULL) == 0);
	check(manager_inventory_new(lasting.db, "default", &lasting.inv, NULL) == 0);
	check(manager_rulebook_new(lasting.db, &lasting.book, NULL) == 0);
	accounts.db = lasting.db;
	check(manager_accounts_new(&accounts, &lasting.accounts, NULL) == 0);
	events.path = path;
	events.inv = lasting.inv;
	events.book = lasting.book;
	check(manager_events_new(&events, &lasting.events, NULL) == 0);
	check(manager_api_new(&lasting, &options, &api, NULL) == 0);
}

/* ---- the world of one input ---- */

static void nothing_to_carry(struct manager_sync *sync, void *arg)
{
}

static bool never_up(void *arg)
{
	return false;
}

static void ignore(const char *type, const char *severity, json_t *body, void *arg)
{
	json_decref(body);
}

static json_t *vm_json(unsigned int n, const char *tenant, const char *role)
{
	char uuid[40], mac[24], addr[24];

	snprintf(uuid, sizeof(uuid), "00000000-0000-4000-8000-%012x", n);
	snprintf(mac, sizeof(mac), "52:54:00:00:00:%02x", n);
	snprintf(addr, sizeof(addr), "10.0.0.%u", n);
	return json_pack("{s:s, s:s, s:s, s:s, s:{s:s}, s:[{s:s, s:s, s:[s]}]}", "uuid", uuid,
			 "name", uuid + 24, "state", "running", "tenant", tenant, "labels", "role",
			 role, "nics", "mac", mac, "net", "bridge/br0", "addresses", addr);
}

static void add_vms(struct manager_parts *p)
{
	BH_JSON json_t *vms = json_pack("[o, o, o]", vm_json(1, "shop", "web"),
					vm_json(2, "shop", "db"), vm_json(3, "bank", "db"));
	BH_JSON json_t *rejected = NULL;
	struct manager_host *host = manager_host_add(p->inv, "h1", 1);

	check(manager_inventory_report(p->inv, host, vms, 1, &rejected, NULL) == 0);
}

static void add_policy(struct manager_parts *p)
{
	static const char text[] = "kind: Policy\nmetadata: {name: db, tenant: shop}\n"
				   "spec: {selector: {}, ingress: [{ports: [tcp/80]}]}\n";
	struct bh_policy_parse_options options = {.file = "p.yaml"};
	struct manager_commit_request request = {.db = p->db,
						 .inv = p->inv,
						 .book = p->book,
						 .dist = p->dist,
						 .change = p->change,
						 .author = "somebody",
						 .summary = ""};
	struct manager_commit_result result;
	struct bh_policy_set *documents = NULL;

	check(bh_policy_parse(text, strlen(text), &options, &documents, NULL) == 0);
	check(manager_commit(&request,
			     manager_commit_merge(manager_rulebook_set(p->book), documents, false),
			     &result, NULL) == 0);
	manager_commit_result_done(&result);
	bh_policy_set_free(documents);
}

static void begin(struct manager_parts *p)
{
	struct manager_distribute_options dist = {
		.carrier = {.ping = nothing_to_carry, .up = never_up}};
	struct manager_change_options change = {.talks_path = "/nonexistent/talks.db"};

	*p = lasting;
	p->default_tenant = "default";
	check(manager_store_open(":memory:", &p->db, NULL) == 0);
	check(manager_inventory_new(p->db, "default", &p->inv, NULL) == 0);
	check(manager_rulebook_new(p->db, &p->book, NULL) == 0);
	manager_inventory_set_policies(p->inv, manager_rulebook_set(p->book));
	p->inv->notice = ignore;
	dist.inv = change.inv = p->inv;
	dist.book = change.book = p->book;
	p->dist = change.dist = manager_distribute_new(&dist);
	change.db = p->db;
	add_vms(p);
	check(manager_distribute_flush(p->dist, NULL) == 0);
	check(manager_change_new(&change, 0, 0, &p->change, NULL) == 0);
	add_policy(p);
}

static void end(struct manager_parts *p)
{
	manager_change_free(p->change);
	manager_distribute_close(p->dist);
	manager_distribute_free(p->dist);
	manager_rulebook_free(p->book);
	manager_inventory_free(p->inv);
	manager_db_close(p->db);
}

/* ---- one request ---- */

/* Those that this target is about; the others need parts that are not here. */
static bool about_policies(const struct manager_route *route)
{
	return route->verb == VERB_POLICY_READ || route->verb == VERB_POLICY_WRITE ||
	       route->verb == VERB_POLICY_COMMIT || route->verb == VERB_POLICY_ROLLBACK;
}

static void check_answer(const struct manager_request *req)
{
	BH_JSON json_t *json = NULL;

	check(req->answered && req->status >= 200 && req->status < 600);
	if (req->status == 204) {
		return;
	}
	check(!req->ready);
	if (strcmp(req->content_type, "application/json") != 0) {
		return;
	}
	check(bh_json_load(req->out, req->out_size, 64u << 20, &json, NULL) == 0);
	check(req->status < 400 || *bh_json_str_or(json_object_get(json, "error"), "message", ""));
}

static void done(struct manager_request *req)
{
	if (req->state_free) {
		req->state_free(req->state);
	}
	bh_wbuf_done(&req->body);
	free(req->path);
	free(req->segment_text);
	free(req->out);
	free(req->error);
	free(req->audit_detail);
}

static void ask(const struct manager_parts *parts, char *text)
{
	char *space = text + strcspn(text, " \n"), *line_end = text + strcspn(text, "\n");
	char *body = *line_end ? line_end + 1 : line_end;
	struct manager_route route;
	struct manager_request req = {.api = api, .parts = parts, .method = text};
	const struct manager_route *found;
	char *path, *query;

	*line_end = '\0';
	path = space < line_end ? space + 1 : line_end;
	*space = '\0';
	query = path + strcspn(path, "?");
	the_query = *query ? query + 1 : query;
	*query = '\0';
	req.path = bh_asprintf("/v1/%s", path);
	req.principal.via = MANAGER_VIA_ROOT;
	snprintf(req.who, sizeof(req.who), "unix:0");
	bh_wbuf_init(&req.body, API_BODY_MAX);
	bh_wbuf_put(&req.body, body, strlen(body));
	if (!manager_route_check_path(&req)) {
		done(&req);
		return;
	}
	manager_route_split(&req);
	found = manager_route_find(&req);
	if (found && about_policies(found)) {
		route = *found;
		route.flags = 0; /* nothing is recorded here */
		req.route = &route;
		manager_request_authorize(&req);
		if (!req.answered) {
			route.fn(&req);
		}
		while (!req.answered && req.suspended) {
			uv_run(parts->loop, UV_RUN_ONCE);
		}
		check_answer(&req);
	}
	done(&req);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct manager_parts parts;
	unsigned int count = 0;
	char *text, *next;

	if (!api) {
		make_lasting();
	}
	text = bh_alloc(size + 1);
	memcpy(text, data, size);
	begin(&parts);
	for (char *p = text; p && count < REQUESTS_MAX; p = next, count++) {
		next = strstr(p, BETWEEN);
		if (next) {
			*next = '\0';
			next += strlen(BETWEEN);
		}
		ask(&parts, p);
	}
	end(&parts);
	free(text);
	return 0;
}

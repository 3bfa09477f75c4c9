/* SPDX-License-Identifier: Apache-2.0 */
#include "simhost.h"
#include "simorders.h"
#include "simworld.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/time.h"
#include "base/util.h"
#include "bus/client.h"
#include "bus/events.h"
#include "bus/pki.h"
#include "bus/subject.h"
#include "model/id.h"
#include "model/image.h"

#include <curl/curl.h>
#include <errno.h>

#define LATE_MS 250 /* until an order that goes on is answered */

struct simhost {
	struct simhosts *sim;
	unsigned int number;
	char name[32];
	char subject[BH_SUBJECT_SIZE];
	char session[40];
	uint64_t n;
	struct bh_bus *bus;
	struct bh_producer *producer; /* NULL: it has told nothing yet */
	struct bh_image *image;
	struct bh_wbuf parts;
	json_t *members; /* number of a VM -> what it says other than the simulated world does;
			  * null: it is gone */
	json_t *guests;	 /* uuid -> a VM that came from another simulated host */
	struct simorders *orders;
	bool greeted;
};

struct simhosts {
	struct simhosts_options o;
	struct simhost *hosts;
	uint64_t applied, failed, records;
};

/* ---- API ---- */

static size_t take_data(char *data, size_t size, size_t count, void *arg)
{
	bh_wbuf_put(arg, data, size * count);
	return size * count;
}

int sim_api(const char *socket, const char *method, const char *path, const char *type,
	    const char *body, long *ret_status, json_t **ret_json)
{
	CURL *curl = curl_easy_init();
	BH_FREE char *url = bh_asprintf("http://manager/v1/%s", path);
	BH_FREE char *header = bh_asprintf("Content-Type: %s", type);
	struct curl_slist *headers = curl_slist_append(NULL, header);
	struct bh_wbuf out;
	int r;

	*ret_json = NULL;
	headers = curl_slist_append(headers, "Expect:");
	bh_wbuf_init(&out, 0);
	curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &out);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, 120L);
	if (body) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	}
	r = curl_easy_perform(curl) == CURLE_OK ? 0 : -EIO;
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_status);
	if (r == 0 && out.size) {
		r = bh_json_load((const char *)out.data, out.size, 256u << 20, ret_json, NULL);
	}
	bh_wbuf_done(&out);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	return r;
}

static int join(struct simhost *h, const char *dir, struct bh_diag *diag)
{
	BH_FREE char *key = bh_asprintf("%s/host.key", dir);
	BH_FREE char *cert = bh_asprintf("%s/host.crt", dir);
	BH_FREE char *ca = bh_asprintf("%s/ca.crt", dir);
	BH_FREE char *urls = bh_asprintf("%s/bus.url", dir);
	BH_FREE char *name = bh_asprintf("host.%s", h->name);
	BH_FREE char *csr = NULL;
	BH_FREE char *body = NULL;
	BH_JSON json_t *token = NULL, *request = NULL, *answer = NULL;
	const char *url;
	long status = 0;
	int r;

	r = bh_mkdirs(dir, 0700, diag);
	if (r == 0) {
		r = bh_pki_csr_make(key, name, &csr, diag);
	}
	if (r == 0) {
		r = sim_api(h->sim->o.api, "POST", "enroll-tokens", "application/json", "{}",
			    &status, &token);
	}
	if (r < 0) {
		return r;
	}
	request = json_pack("{s:s, s:s, s:s}", "token", bh_json_str_or(token, "token", ""), "name",
			    h->name, "csr", csr);
	body = bh_json_dump(request);
	r = sim_api(h->sim->o.api, "POST", "enroll", "application/json", body, &status, &answer);
	if (r < 0 || status != 201) {
		return bh_diag_set(diag, -EACCES, "%s did not join: HTTP %ld", h->name, status);
	}
	url = bh_json_str_or(answer, "bus_url", "");
	r = bh_pki_install(bh_json_str_or(answer, "ca", ""), bh_json_str_or(answer, "cert", ""),
			   key, name, ca, cert, diag);
	return r < 0 ? r : bh_file_replace(urls, url, strlen(url), 0600, diag);
}

/* ---- what it says ---- */

static void request_for(struct simhost *h, const char *type, json_t *body, bh_bus_reply_fn *fn,
			void *arg)
{
	struct bh_bus_msg msg = {.json = body};

	json_object_set_new(body, "type", json_string(type));
	json_object_set_new(body, "session", json_string(h->session));
	json_object_set_new(body, "n", json_integer((json_int_t)++h->n));
	bh_bus_request(h->bus, h->subject, &msg, 60000, fn, arg);
	json_decref(body);
}

static void request(struct simhost *h, const char *type, json_t *body, bh_bus_reply_fn *fn)
{
	request_for(h, type, body, fn, h);
}

static void say_hello(struct simhost *h);

static void on_inventory(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct simhost *h = arg;

	if (err && err != -ECANCELED) {
		fprintf(stderr, "%s: inventory: %s\n", h->name, bh_bus_reply_text(err, reply));
		h->sim->failed++;
		if (bh_bus_up(h->bus)) {
			say_hello(h);
		}
		return;
	}
	h->greeted = !err;
}

/* As the host tells it; NULL: it has it no more. Owned. */
static json_t *own_vm(const struct simhost *h, unsigned int number)
{
	json_t *vm = sim_vm(h->number, h->sim->o.vms, number, h->sim->o.tenants);
	char key[16];

	snprintf(key, sizeof(key), "%u", number);
	json_object_update(vm, json_object_get(h->members, key));
	if (json_is_null(json_object_get(h->members, key))) {
		json_decref(vm);
		return NULL;
	}
	return vm;
}

static void say_inventory(struct simhost *h)
{
	json_t *vms = json_array(), *guest;
	const char *uuid;

	for (unsigned int i = 0; i < h->sim->o.vms; i++) {
		json_t *vm = own_vm(h, i);

		if (vm) {
			json_array_append_new(vms, vm);
		}
	}
	json_object_foreach (h->guests, uuid, guest) {
		json_array_append(vms, guest);
	}
	request(h, "inventory", json_pack("{s:o}", "vms", vms), on_inventory);
}

static void on_hello(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct simhost *h = arg;

	if (err == -ECANCELED) {
		return;
	}
	if (err) {
		fprintf(stderr, "%s: hello: %s\n", h->name, bh_bus_reply_text(err, reply));
		if (bh_bus_up(h->bus)) {
			say_hello(h);
		}
		return;
	}
	say_inventory(h);
}

static void say_hello(struct simhost *h)
{
	char hash[2 * BH_HASH_SIZE + 1];
	json_int_t rows = h->sim->o.capacity_rows ? (json_int_t)h->sim->o.capacity_rows : 1000000;

	bh_hash_format(bh_image_hash(h->image), hash);
	request(h, "hello",
		json_pack("{s:s, s:i, s:s, s:s, s:{s:i, s:i, s:i, s:I, s:i, s:i, s:i}}", "version",
			  "sim", "abi", 1, "boot", "sim", "hash", hash, "capacity", "nics", 4096,
			  "addrs", 1000000, "sets", 8192, "rows", rows, "cidrs", 100000, "ranges",
			  65536, "cts", 1000000),
		on_hello);
}

static void on_state(struct bh_bus *bus, bool up, void *arg)
{
	struct simhost *h = arg;

	if (up) {
		say_hello(h);
	} else {
		h->greeted = false;
	}
}

/* ---- what it is told ---- */

static void reply_hash(struct simhost *h, struct bh_bus_request *req, uint64_t us)
{
	char hash[2 * BH_HASH_SIZE + 1];

	bh_hash_format(bh_image_hash(h->image), hash);
	bh_bus_reply(req, json_pack("{s:s, s:I}", "hash", hash, "install_us", (json_int_t)us));
}

static int install(struct simhost *h, struct bh_diag *diag)
{
	static const struct bh_hash zero;
	struct bh_delta *delta = NULL;
	struct bh_image *next = NULL, *empty = NULL;
	int r = bh_delta_decode(h->parts.data, h->parts.size, &delta, diag);

	if (r == 0) {
		empty = bh_hash_equal(bh_delta_from(delta), &zero) ? bh_image_new() : NULL;
		r = bh_delta_apply(delta, empty ? empty : h->image, &next, diag);
	}
	if (r == 0) {
		h->sim->records += bh_delta_count(delta);
		bh_image_free(h->image);
		h->image = bh_steal(&next);
	}
	bh_image_free(empty);
	bh_delta_free(delta);
	return r;
}

static void on_apply(struct simhost *h, struct bh_bus_request *req, const struct bh_bus_msg *msg)
{
	uint64_t part = bh_json_u64_or(msg->json, "part", 0);
	uint64_t begun = uv_hrtime();
	struct bh_diag diag = {};
	int r;

	if (part == 0) {
		h->parts.size = 0;
	}
	bh_wbuf_put(&h->parts, msg->bytes, msg->size);
	if (part + 1 < bh_json_u64_or(msg->json, "parts", 1)) {
		bh_bus_reply(req, NULL);
		return;
	}
	r = install(h, &diag);
	if (r == 0) {
		h->sim->applied++;
		reply_hash(h, req, (uv_hrtime() - begun) / 1000);
	} else {
		h->sim->failed++;
		bh_bus_reply_error(req, r == BH_IMAGE_STALE ? "stale" : "failed", "%s", diag.text);
	}
}

static void add_connections(struct bh_segment *seg, void *arg)
{
	for (size_t i = 0; i < bh_segment_count(seg); i++) {
		const struct bh_rec *rec = bh_segment_at(seg, i);
		char addr[BH_ADDR_TEXT_SIZE];

		if (rec->type != BH_REC_ADDR) {
			continue;
		}
		bh_addr_format(rec->addr.addr, addr);
		json_array_append_new(
			arg, json_pack("{s:s, s:s, s:I, s:i, s:{s:s, s:i, s:i}, s:{s:s, s:i, s:I},"
				       " s:i}",
				       "proto", "tcp", "state", "established", "net",
				       (json_int_t)rec->addr.net, "vlan", 0, "src", "address",
				       "192.0.2.9", "port", 40000, "identity", 2, "dst", "address",
				       addr, "port", 22, "identity", (json_int_t)rec->addr.identity,
				       "age_ms", 1000));
	}
}

/* There is one connection from outside to tcp/22 of every address that the host knows. */
static json_t *connections(const struct simhost *h)
{
	json_t *list = json_array();

	bh_image_each(h->image, add_connections, list);
	return json_pack("{s:o, s:b}", "connections", list, "cut", 0);
}

struct late {
	uv_timer_t timer;
	struct bh_bus_request *req;
	json_t *body;
};

static void on_late_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void on_late(uv_timer_t *timer)
{
	struct late *late = timer->data;

	bh_bus_reply(late->req, late->body);
	uv_close((uv_handle_t *)timer, on_late_closed);
}

/* An order that goes on is asked about again at once: a host lets that wait. */
static void reply_late(struct simhost *h, struct bh_bus_request *req, json_t *body)
{
	struct late *late = bh_alloc(sizeof(*late));

	late->req = req;
	late->body = body;
	late->timer.data = late;
	uv_timer_init(h->sim->o.loop, &late->timer);
	uv_timer_start(&late->timer, on_late, LATE_MS, 0);
}

static void on_order(struct simhost *h, struct bh_bus_request *req, const json_t *msg)
{
	json_t *body = simorders_answer(h->orders, msg);

	if (!body) {
		bh_bus_reply_error(req, "unknown", "this simulated host knows of no such order");
	} else if (strcmp(bh_json_str_or(body, "state", ""), "running") == 0) {
		reply_late(h, req, body);
	} else {
		bh_bus_reply(req, body);
	}
}

/* Of a simulated VM the UUID ends with its number in the whole world (simworld.c). */
static void on_vm_changed(const char *uuid, const json_t *members, void *arg)
{
	struct simhost *h = arg;
	unsigned long id = strlen(uuid) > 12 ? strtoul(uuid + strlen(uuid) - 12, NULL, 16) : 0;
	char key[16];
	json_t *known;

	snprintf(key, sizeof(key), "%lu", id - (unsigned long)h->number * h->sim->o.vms);
	known = json_object_get(h->members, key);
	if (!members) {
		json_object_set_new(h->members, key, json_null());
	} else if (json_is_object(known)) {
		json_object_update(known, (json_t *)members);
	} else {
		json_object_set_new(h->members, key, json_deep_copy(members));
	}
	if (h->greeted) {
		say_inventory(h);
	}
}

/* ---- VMs that travel ---- */

#define CONNECTIONS 12 /* that each VM has open when it leaves */
#define SUM	    "5ca1ab1e00000000000000000000000000000000000000000000000000000000"

struct move {
	struct simhost *source, *target;
	unsigned int number;
	json_t *vm;
	char uuid[40], id[40], how[16];
};

static void move_free(struct move *m)
{
	json_decref(m->vm);
	free(m);
}

static void say_phase(struct move *m, const char *phase, bh_bus_reply_fn *fn)
{
	request_for(m->target, "migrated",
		    json_pack("{s:s, s:s, s:s, s:{s:i, s:s, s:i, s:{s:i, s:s}}}", "migration",
			      m->id, "phase", phase, "why", "QEMU ended: out of memory", "receipt",
			      "connections", CONNECTIONS, "hash", SUM, "bytes", CONNECTIONS * 96,
			      "mark", "connections", CONNECTIONS, "hash", SUM),
		    fn, m);
}

static bool move_refused(struct move *m, int err, const struct bh_bus_msg *reply)
{
	if (err && err != -ECANCELED) {
		fprintf(stderr, "%s does not come to %s: %s\n", m->uuid, m->target->name,
			bh_bus_reply_text(err, reply));
	}
	return err;
}

static void on_ended(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct move *m = arg;
	char key[16];

	if (!move_refused(m, err, reply) && !strcmp(m->how, "done")) {
		snprintf(key, sizeof(key), "%u", m->number);
		json_object_set_new(m->vm, "state", json_string("running"));
		json_object_set_new(m->source->members, key, json_null());
		say_inventory(m->source);
	} else {
		json_object_del(m->target->guests, m->uuid);
	}
	if (err != -ECANCELED) {
		say_inventory(m->target);
	}
	move_free(m);
}

static void on_installed(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct move *m = arg;

	if (move_refused(m, err, reply)) {
		move_free(m);
		return;
	}
	if (!strcmp(m->how, "failed")) {
		say_phase(m, "failed", on_ended);
		return;
	}
	json_object_set(m->target->guests, m->uuid, m->vm); /* its memory is copied */
	say_inventory(m->target);
	if (!strcmp(m->how, "done")) {
		say_phase(m, "final", on_ended);
	} else {
		move_free(m);
	}
}

static void on_asked(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct move *m = arg;

	if (move_refused(m, err, reply)) {
		move_free(m);
		return;
	}
	snprintf(m->id, sizeof(m->id), "%s", bh_json_str_or(reply->json, "migration", ""));
	say_phase(m, "installed", on_installed);
}

static void on_command(struct bh_bus_request *req, const struct bh_bus_msg *msg, void *arg)
{
	struct simhost *h = arg;
	const char *type = bh_json_str_or(msg->json, "type", "");

	if (strcmp(type, "apply") == 0) {
		on_apply(h, req, msg);
	} else if (strcmp(type, "ping") == 0) {
		reply_hash(h, req, 0);
	} else if (strcmp(type, "depart") == 0) {
		bh_bus_reply(req, json_pack("{s:i}", "connections", CONNECTIONS));
	} else if (strcmp(type, "depart-end") == 0 || strcmp(type, "arrive-end") == 0) {
		bh_bus_reply(req, NULL);
	} else if (strncmp(type, "order", 5) == 0) {
		on_order(h, req, msg->json);
	} else if (strcmp(type, "query") == 0 &&
		   strcmp(bh_json_str_or(msg->json, "what", ""), "connections") == 0) {
		bh_bus_reply(req, connections(h));
	} else if (strcmp(type, "query") == 0) {
		bh_bus_reply(req, json_pack("{s:s}", "simulated",
					    bh_json_str_or(msg->json, "what", "")));
	} else {
		bh_bus_reply_error(req, "unknown", "a simulated host does not know '%s'", type);
	}
}

static int start(struct simhost *h, const char *dir, struct bh_diag *diag)
{
	BH_FREE char *key = bh_asprintf("%s/host.key", dir);
	BH_FREE char *cert = bh_asprintf("%s/host.crt", dir);
	BH_FREE char *ca = bh_asprintf("%s/ca.crt", dir);
	BH_FREE char *url_file = bh_asprintf("%s/bus.url", dir);
	BH_FREE char *urls = NULL;
	char inbox[BH_SUBJECT_SIZE], cmd[BH_SUBJECT_SIZE];
	struct bh_bus_options options = {.name = h->name,
					 .inbox = bh_subject_inbox(h->name, inbox),
					 .ca_file = ca,
					 .cert_file = cert,
					 .key_file = key,
					 .out_max_bytes = 4u << 20,
					 .on_state = on_state,
					 .arg = h};
	size_t size;
	int r = bh_file_read(url_file, 4096, &urls, &size, diag);

	if (r < 0) {
		return r;
	}
	options.urls = urls;
	r = bh_bus_new(h->sim->o.loop, &options, &h->bus, diag);
	if (r == 0) {
		bh_bus_serve(h->bus, bh_subject_cmd(h->name, cmd), BH_SUBJECT_MANAGER_INBOX ".",
			     on_command, h);
	}
	return r;
}

int simhosts_new(const struct simhosts_options *options, struct simhosts **ret,
		 struct bh_diag *diag)
{
	struct simhosts *sim = bh_alloc(sizeof(*sim));

	sim->o = *options;
	sim->hosts = bh_alloc_array(options->count, sizeof(*sim->hosts));
	for (unsigned int i = 0; i < options->count; i++) {
		struct simhost *h = &sim->hosts[i];
		BH_FREE char *dir = NULL;
		BH_FREE char *done = NULL;
		int r = 0;

		h->sim = sim;
		h->number = options->first + i;
		snprintf(h->name, sizeof(h->name), "sim%u", h->number);
		snprintf(h->session, sizeof(h->session), "sim-%u-%llx", h->number,
			 (unsigned long long)uv_hrtime());
		bh_subject_req(h->name, h->subject);
		h->image = bh_image_new();
		h->members = json_object();
		h->guests = json_object();
		h->orders = simorders_new(on_vm_changed, h);
		bh_wbuf_init(&h->parts, 0);
		dir = bh_asprintf("%s/%s", options->dir, h->name);
		done = bh_asprintf("%s/bus.url", dir);
		if (access(done, F_OK) != 0) {
			r = join(h, dir, diag);
		}
		if (r < 0) {
			return r;
		}
	}
	/* All have joined before the first connects: each join lets the bus read its users anew. */
	for (unsigned int i = 0; i < options->count; i++) {
		BH_FREE char *dir = bh_asprintf("%s/%s", options->dir, sim->hosts[i].name);
		int r = start(&sim->hosts[i], dir, diag);

		if (r < 0) {
			return r;
		}
	}
	*ret = sim;
	return 0;
}

void simhosts_free(struct simhosts *sim)
{
	for (unsigned int i = 0; i < sim->o.count; i++) {
		bh_producer_free(sim->hosts[i].producer);
		bh_bus_free(sim->hosts[i].bus);
		bh_image_free(sim->hosts[i].image);
		json_decref(sim->hosts[i].members);
		json_decref(sim->hosts[i].guests);
		simorders_free(sim->hosts[i].orders);
		bh_wbuf_done(&sim->hosts[i].parts);
	}
	free(sim->hosts);
	free(sim);
}

/* ---- what it tells ---- */

static int make_producer(struct simhost *h, struct bh_diag *diag)
{
	BH_FREE char *dir = bh_asprintf("%s/%s/spool", h->sim->o.dir, h->name);
	struct bh_producer_options options = {.spool = {.dir = dir, .producer = h->name}};

	return bh_producer_new(h->sim->o.loop, h->bus, &options, &h->producer, diag);
}

static struct simhost *host_of(struct simhosts *sim, unsigned int host)
{
	return host < sim->o.first || host - sim->o.first >= sim->o.count
		       ? NULL
		       : &sim->hosts[host - sim->o.first];
}

int simhosts_change_vm(struct simhosts *sim, unsigned int host, unsigned int vm,
		       const json_t *members, struct bh_diag *diag)
{
	struct simhost *h = host_of(sim, host);
	char key[16];

	if (!h || vm >= sim->o.vms) {
		return bh_diag_set(diag, -ENOENT, "no VM %u of a simulated host %u", vm, host);
	}
	snprintf(key, sizeof(key), "%u", vm);
	json_object_set_new(h->members, key, json_deep_copy(members));
	if (h->greeted) {
		say_inventory(h);
	}
	return 0;
}

int simhosts_behave(struct simhosts *sim, unsigned int host, const json_t *how,
		    struct bh_diag *diag)
{
	struct simhost *h = host_of(sim, host);

	if (!h) {
		return bh_diag_set(diag, -ENOENT, "no simulated host %u", host);
	}
	simorders_behave(h->orders, how);
	return 0;
}

int simhosts_move(struct simhosts *sim, unsigned int from, unsigned int vm, unsigned int to,
		  const char *how, struct bh_diag *diag)
{
	struct simhost *source = host_of(sim, from), *target = host_of(sim, to);
	json_t *json = source && vm < sim->o.vms ? own_vm(source, vm) : NULL;
	struct move *m;

	if (!json || !target) {
		json_decref(json);
		return bh_diag_set(diag, -ENOENT, "no VM %u on simulated host %u, or no host %u",
				   vm, from, to);
	}
	m = bh_alloc(sizeof(*m));
	m->source = source;
	m->target = target;
	m->number = vm;
	m->vm = json;
	json_object_set_new(json, "state", json_string("paused"));
	snprintf(m->uuid, sizeof(m->uuid), "%s", bh_json_str_or(json, "uuid", ""));
	snprintf(m->how, sizeof(m->how), "%s", how);
	request_for(target, "migrate",
		    json_pack("{s:O, s:s, s:[{s:s, s:i}], s:i}", "vm", json, "why", "live", "by",
			      "user", "root", "uid", 0, "connections", 0),
		    on_asked, m);
	return 0;
}

int simhosts_tell(struct simhosts *sim, unsigned int host, const json_t *members,
		  struct bh_diag *diag)
{
	struct simhost *h = host_of(sim, host);
	uint64_t ago_s = bh_json_u64_or(members, "ago_s", 0);
	enum bh_severity severity;
	json_t *event;
	int r = 0;

	if (!h) {
		return bh_diag_set(diag, -ENOENT, "no simulated host %u", host);
	}
	if (!bh_event_type_valid(bh_json_str_or(members, "type", "")) ||
	    bh_severity_parse(bh_json_str_or(members, "severity", "info"), &severity) < 0) {
		return bh_diag_set(diag, -EINVAL, "an event has a type and a severity");
	}
	if (!h->producer) {
		r = make_producer(h, diag);
	}
	if (r == 0) {
		event = bh_event_new(bh_json_str_or(members, "type", ""), severity,
				     bh_time_wall_ns() - ago_s * BH_NS_PER_S);
		json_object_update_missing(event, (json_t *)members);
		json_object_del(event, "ago_s");
		bh_producer_put(h->producer, event);
	}
	return r;
}

json_t *simhosts_stats(const struct simhosts *sim)
{
	json_int_t connected = 0, greeted = 0;

	for (unsigned int i = 0; i < sim->o.count; i++) {
		connected += sim->hosts[i].bus && bh_bus_up(sim->hosts[i].bus);
		greeted += sim->hosts[i].greeted;
	}
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "hosts", (json_int_t)sim->o.count,
			 "connected", connected, "greeted", greeted, "applied",
			 (json_int_t)sim->applied, "failed", (json_int_t)sim->failed, "records",
			 (json_int_t)sim->records);
}

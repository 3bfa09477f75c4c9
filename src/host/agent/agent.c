/* SPDX-License-Identifier: Apache-2.0 */
#include "host/agent/generation.h"
#include "host/agent/intake.h"
#include "host/agent/orders.h"

#include "base/counter.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "host/capsule/alone.h"
#include "host/capsule/capsule.h"
#include "host/capsule/who.h"

#include <errno.h>

#define SOON_MS	       20
#define TICK_MS	       1000
#define WHOLE_EVERY_NS (60 * BH_NS_PER_S)
#define LOST_EVERY_NS  (15 * BH_NS_PER_S)
#define HOST_JSON_MAX  65536
#define STATE_JSON_MAX (32u << 20)

BH_COUNTER(agent_reconciles, "comparisons of what is bound with what should be");

/* ---- events ---- */

json_t *hostd_agent_event_new(const char *type, enum bh_severity severity)
{
	return bh_event_new(type, severity, bh_time_wall_ns());
}

void hostd_agent_event(struct hostd_agent *agent, json_t *event)
{
	json_object_set_new(event, "host", json_string(agent->name));
	bh_producer_put(agent->producer, event);
}

void hostd_agent_event_vm(json_t *event, const uint8_t uuid[16], const char *name,
			  const uint8_t *mac)
{
	char text[BH_UUID_TEXT_SIZE];

	bh_uuid_format(uuid, text);
	json_object_set_new(event, "vm", json_string(text));
	if (name) {
		json_object_set_new(event, "vm_name", json_string(name));
	}
	if (mac) {
		char mac_text[BH_MAC_TEXT_SIZE];

		bh_mac_format(mac, mac_text);
		json_object_set_new(event, "nic", json_string(mac_text));
	}
}

/* ---- state on disk ---- */

json_t *hostd_agent_load(const char *path)
{
	BH_FREE char *data = NULL;
	struct bh_diag diag = {};
	json_t *json = NULL;
	size_t size = 0;
	int err = bh_file_read(path, STATE_JSON_MAX, &data, &size, &diag);

	if (err == 0) {
		err = bh_json_load(data, size, STATE_JSON_MAX, &json, &diag);
	}
	if (err < 0 && err != -ENOENT) {
		bh_log(BH_LOG_WARN, "agent", "%s: %s", path, diag.text);
	}
	if (!json_is_object(json)) {
		json_decref(json);
		json = json_object();
	}
	return json;
}

void hostd_agent_save(const char *path, const json_t *json)
{
	BH_FREE char *text = bh_json_dump(json);
	struct bh_diag diag = {};

	if (bh_file_replace(path, text, strlen(text), 0600, &diag) < 0) {
		bh_log_limited(BH_LOG_ERROR, "agent", 2, "%s", diag.text);
	}
}

/* ---- following ---- */

void hostd_agent_reconcile(struct hostd_agent *agent)
{
	bh_counter_add(&agent_reconciles, 1);
	hostd_ports_reconcile(agent, false);
	hostd_session_inventory(agent);
	hostd_births_poke(agent);
	hostd_moves_poke(agent);
}

static void on_soon(uv_timer_t *timer)
{
	hostd_agent_reconcile(timer->data);
}

void hostd_agent_dirty(struct hostd_agent *agent)
{
	if (!uv_is_active((uv_handle_t *)&agent->soon)) {
		uv_timer_start(&agent->soon, on_soon, SOON_MS, 0);
	}
}

static void on_links_changed(void *arg)
{
	hostd_ports_hold(arg); /* at once: what a new port is, libvirt tells later */
	hostd_agent_dirty(arg);
}

static void on_networks(struct hostd_network_list *list, int source, void *arg)
{
	struct hostd_agent *agent = arg;

	hostd_inventory_set_networks(agent->inv, source, list);
	hostd_births_poke(agent);
	hostd_moves_poke(agent);
	hostd_agent_dirty(agent);
}

static void on_vms(struct hostd_vm_list *list, int source, void *arg)
{
	struct hostd_agent *agent = arg;

	bh_vec_foreach (vm, &list->vms) {
		if (*vm->problem) {
			bh_log_limited(BH_LOG_WARN, "agent", 5, "metadata of VM %s: %s", vm->name,
				       vm->problem);
		}
	}
	agent->sources[source].vms_at_ns = bh_time_mono_ns();
	hostd_inventory_set_vms(agent->inv, source, list);
	hostd_takeover_listed(agent, source, list);
	hostd_generations_listed(agent, source, list);
	/* at once: a NIC that was plugged in waits closed until it is bound and fed */
	hostd_agent_reconcile(agent);
}

static void on_event(const uint8_t uuid[16], enum hostd_vm_event event, enum hostd_vm_detail detail,
		     void *arg)
{
	hostd_generations_event(arg, uuid, event, detail);
	hostd_moves_event(arg, uuid, event, detail);
}

static void on_link(bool up, const char *text, int source, void *arg)
{
	struct hostd_agent *agent = arg;
	struct hostd_source *s = &agent->sources[source];

	if (s->up != up || !*s->text) {
		bh_log(up ? BH_LOG_INFO : BH_LOG_WARN, "agent", "libvirt (%s): %s",
		       s->platform ? s->platform->uri : "", text);
	}
	s->up = up;
	snprintf(s->text, sizeof(s->text), "%s", text);
}

/* Flow records that the kernel could not hand over leave a gap in the events. */
static void on_lost(const struct hostd_dp_counter *counter, void *arg)
{
	if (counter->reason == BH_REASON_EVENT_LOST) {
		*(uint64_t *)arg += counter->value.packets;
	}
}

static void tell_lost(struct hostd_agent *agent, uint64_t now_ns)
{
	uint64_t lost = 0;
	struct bh_diag diag = {};

	if (now_ns - agent->lost_checked_ns < LOST_EVERY_NS) {
		return;
	}
	agent->lost_checked_ns = now_ns;
	if (hostd_dp_counters(agent->dp, on_lost, &lost, &diag) < 0) {
		return;
	}
	if (agent->lost_known && lost > agent->lost) {
		bh_producer_lose(agent->producer, lost - agent->lost,
				 "the kernel's buffer of flow records was full");
	}
	agent->lost = lost;
	agent->lost_known = true;
}

static void on_tick(uv_timer_t *timer)
{
	struct hostd_agent *agent = timer->data;
	uint64_t now = bh_time_mono_ns();
	uint64_t due = agent->tick_at_ns + TICK_MS * BH_NS_PER_MS;
	struct bh_diag diag = {};

	agent->lag_last_ns = agent->tick_at_ns && now > due ? now - due : 0;
	if (agent->lag_last_ns > agent->lag_max_ns) {
		agent->lag_max_ns = agent->lag_last_ns;
	}
	agent->tick_at_ns = now;
	hostd_inventory_expire(agent->inv);
	if (now - agent->whole_at_ns >= WHOLE_EVERY_NS) {
		agent->whole_at_ns = now;
		if (hostd_links_refresh(agent->links, &diag) < 0) {
			bh_log_limited(BH_LOG_ERROR, "agent", 2, "%s", diag.text);
		}
		hostd_ports_reconcile(agent, true);
	}
	hostd_ports_tick(agent, now);
	hostd_takeover_tick(agent, now);
	hostd_session_tick(agent, now);
	hostd_generations_tell(agent, false);
	hostd_verify_tick(agent, now);
	tell_lost(agent, now);
}

/* ---- start ---- */

/* host.json of the enrolment; absent: not enrolled. *ret_urls is owned, NULL when not enrolled. */
static int read_identity(struct hostd_agent *agent, char **ret_urls, struct bh_diag *diag)
{
	BH_FREE char *path = bh_asprintf("%s/host.json", agent->config->state_dir);
	BH_FREE char *data = NULL;
	BH_JSON json_t *json = NULL;
	const char *name = agent->config->name, *urls = NULL;
	char host[HOST_NAME_MAX + 1] = "";
	size_t size = 0;
	int err = bh_file_read(path, HOST_JSON_MAX, &data, &size, diag);

	*ret_urls = NULL;
	if (err == 0) {
		err = bh_json_load(data, size, HOST_JSON_MAX, &json, diag);
		if (!err) {
			err = bh_json_str(json, "name", &name, diag);
		}
		if (!err) {
			err = bh_json_str(json, "bus", &urls, diag);
		}
		if (err) {
			bh_diag_prefix(diag, "%s", path);
			return err;
		}
		*ret_urls = bh_strdup(urls);
	} else if (err != -ENOENT) {
		return err;
	}
	if (!name && gethostname(host, sizeof(host) - 1) == 0) {
		name = host;
	}
	if (!name || !bh_name_valid(name)) {
		free(*ret_urls);
		*ret_urls = NULL;
		return bh_diag_set(diag, -EINVAL,
				   "'%.80s' can't be the name of a host; set `name` in hostd.yaml",
				   name ? name : "");
	}
	snprintf(agent->name, sizeof(agent->name), "%s", name);
	agent->enrolled = *ret_urls != NULL;
	return 0;
}

static int start_platforms(struct hostd_agent *agent, struct bh_diag *diag)
{
	struct hostd_platform_handlers handlers = {.networks = on_networks,
						   .vms = on_vms,
						   .link = on_link,
						   .event = on_event,
						   .arg = agent};
	int err;

	if (agent->config->dummy_dir) {
		agent->sources[0].platform =
			hostd_dummy_new(agent->loop, agent->config->dummy_dir, &handlers);
		return 0;
	}
	err = hostd_libvirt_init(diag);
	for (int i = 0; !err && i < agent->source_count; i++) {
		handlers.source = i;
		err = hostd_libvirt_new(agent->loop, agent->config->libvirt_uris.items[i],
					&handlers, &agent->sources[i].platform, diag);
	}
	return err;
}

static int start_producer(struct hostd_agent *agent, struct bh_diag *diag)
{
	BH_FREE char *dir = bh_asprintf("%s/spool", agent->config->state_dir);
	struct bh_producer_options options = {
		.spool = {.dir = dir,
			  .producer = agent->name,
			  .max_bytes = agent->config->spool_max_bytes}};

	return bh_producer_new(agent->loop, NULL, &options, &agent->producer, diag);
}

/* What programs beside us have to tell. */
static int start_intake(struct hostd_agent *agent, struct bh_diag *diag)
{
	BH_FREE char *path = bh_asprintf("%s/events.sock", agent->config->run_dir);
	const struct hostd_intake_options options = {
		.path = path,
		.host = agent->name,
		.users = (const char *const *)agent->config->event_users.items,
		.user_count = agent->config->event_users.count,
		.producer = agent->producer};

	return hostd_intake_new(agent->loop, &options, &agent->intake, diag);
}

void hostd_agent_dataplane_options(const struct hostd_config *config, struct hostd_dp_options *ret)
{
	hostd_dp_options_init(ret);
	ret->pin_dir = config->pin_dir;
	ret->attach = !strcmp(config->attach, "tcx")	  ? HOSTD_DP_ATTACH_TCX
		      : !strcmp(config->attach, "clsact") ? HOSTD_DP_ATTACH_CLSACT
							  : HOSTD_DP_ATTACH_AUTO;
	for (size_t i = 0; i < HOSTD_DP_TABLE_COUNT; i++) {
		if (config->size[i]) {
			ret->size[i] = (uint32_t)config->size[i];
		}
	}
	for (size_t i = 0; i < BH_TIMEOUT_COUNT; i++) {
		if (config->timeout_s[i]) {
			ret->timeout_s[i] = (uint32_t)config->timeout_s[i];
		}
	}
	if (config->ct_per_nic) {
		ret->ct_per_nic = (uint32_t)config->ct_per_nic;
	}
	if (config->reject_pps) {
		ret->reject_pps = (uint32_t)config->reject_pps;
	}
	if (config->event_pps) {
		ret->event_pps = (uint32_t)config->event_pps;
	}
	ret->fastpath = strcmp(config->fastpath, "off") != 0;
}

static int start_dataplane(struct hostd_agent *agent, struct bh_diag *diag)
{
	struct hostd_dp_options options;
	int err;

	hostd_agent_dataplane_options(agent->config, &options);
	err = hostd_dp_open(&options, &agent->dp, &agent->dp_info, diag);
	if (err == HOSTD_DP_BUSY) {
		return bh_diag_set(diag, -EBUSY, "another bulkhead-hostd runs on this host");
	}
	if (err) {
		return err;
	}
	bh_log(BH_LOG_INFO, "agent", "dataplane %s (%s%s), %u ports replaced, %u gone",
	       agent->dp_info.adopted ? "adopted" : "loaded", agent->dp_info.tcx ? "tcx" : "clsact",
	       agent->dp_info.recovered ? ", an interrupted commit was settled" : "",
	       agent->dp_info.replaced, agent->dp_info.gone);
	if (*agent->dp_info.notice) {
		bh_log(BH_LOG_WARN, "agent", "%s", agent->dp_info.notice);
	}
	return 0;
}

static void start_timers(struct hostd_agent *agent)
{
	uv_timer_t *timers[] = {&agent->soon, &agent->tick, &agent->settle};

	for (size_t i = 0; i < BH_ARRAY_SIZE(timers); i++) {
		if (uv_timer_init(agent->loop, timers[i])) {
			abort(); /* cannot fail: it only fills memory */
		}
		timers[i]->data = agent;
	}
	agent->whole_at_ns = agent->verified_ns = bh_time_mono_ns();
	uv_timer_start(&agent->tick, on_tick, TICK_MS, TICK_MS);
}

int hostd_agent_new(uv_loop_t *loop, const struct hostd_config *config, struct hostd_agent **ret,
		    struct bh_diag *diag)
{
	struct hostd_agent *agent = bh_alloc(sizeof(*agent));
	BH_FREE char *urls = NULL;
	int err;

	agent->loop = loop;
	agent->config = config;
	agent->started_ns = bh_time_mono_ns();
	agent->source_count = config->dummy_dir ? 1 : (int)config->libvirt_uris.count;
	*ret = agent; /* also on failure: stop and done clean up what is there */
	start_timers(agent);
	err = bh_mkdirs(config->state_dir, 0700, diag);
	if (!err) {
		err = bh_mkdirs(config->run_dir, 0755, diag);
	}
	if (!err) {
		err = read_identity(agent, &urls, diag);
	}
	if (!err) {
		err = start_dataplane(agent, diag);
	}
	if (!err) {
		err = start_producer(agent, diag);
	}
	if (!err) {
		err = hostd_links_new(loop, on_links_changed, agent, &agent->links, diag);
	}
	if (err) {
		return err;
	}
	agent->inv = hostd_inventory_new(config, agent->name, agent->links, agent->source_count);
	agent->state = hostd_state_new(agent);
	agent->ports = hostd_ports_new(agent);
	agent->takeover = hostd_takeover_new();
	agent->known = hostd_known_new(agent);
	agent->told = hostd_told_new(agent);
	agent->births = hostd_births_new(agent);
	agent->generations = hostd_generations_new(agent);
	agent->moves = hostd_moves_new(agent);
	agent->orders = hostd_orders_new(agent);
	hostd_state_load(agent);
	agent->alone = hostd_alone_new(agent);
	agent->who = hostd_who_new(loop, NULL);
	err = hostd_flows_start(agent, diag);
	if (!err && urls) {
		err = hostd_session_new(agent, urls, &agent->session, diag);
	}
	if (!err) {
		err = start_platforms(agent, diag);
	}
	if (!err) {
		err = hostd_control_new(agent, diag);
	}
	if (!err) {
		err = start_intake(agent, diag);
	}
	if (!err && !agent->enrolled) {
		bh_log(BH_LOG_WARN, "agent",
		       "this host is not enrolled: %s; see `bulkhead host "
		       "enroll`",
		       hostd_state_told(agent) ? "it goes on with the last state"
					       : "nothing is enforced");
	}
	return err;
}

/* ---- end ---- */

void hostd_agent_stop(struct hostd_agent *agent)
{
	hostd_state_stop(agent);
	bh_ctl_server_free(agent->ctl);
	hostd_intake_free(bh_steal(&agent->intake));
	hostd_births_free(agent->births);
	hostd_moves_stop(agent->moves);
	hostd_orders_stop(agent->orders);
	hostd_who_free(bh_steal(&agent->who));
	for (int i = 0; i < agent->source_count; i++) {
		hostd_platform_free(agent->sources[i].platform);
	}
	bh_producer_free(agent->producer);
	hostd_session_free(agent->session);
	hostd_links_free(agent->links);
	if (agent->records_open) {
		uv_close((uv_handle_t *)&agent->records, NULL);
	}
	uv_close((uv_handle_t *)&agent->soon, NULL);
	uv_close((uv_handle_t *)&agent->tick, NULL);
	uv_close((uv_handle_t *)&agent->settle, NULL);
}

void hostd_agent_done(struct hostd_agent *agent)
{
	hostd_orders_free(agent->orders);
	hostd_moves_free(agent->moves);
	hostd_alone_free(agent->alone);
	hostd_generations_free(agent->generations);
	hostd_told_free(agent->told);
	hostd_known_free(agent->known);
	hostd_takeover_free(agent->takeover);
	hostd_ports_free(agent->ports);
	hostd_state_free(agent->state);
	hostd_inventory_free(agent->inv);
	hostd_dp_close(agent->dp);
	free(agent);
}

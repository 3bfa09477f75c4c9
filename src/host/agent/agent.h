/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The access engine of one host: follows the platforms and the host's network, keeps the kernel
 * dataplane bound to what is there and fed with what the manager wants, and reports.
 *
 * Theory of operation
 *   Follow   Platform lists and link news make the agent "dirty"; a short while later ports.c
 *            compares what should be bound with what is bound, and session.c tells the manager
 *            what changed.
 *   Feed     Only `apply` from the manager (or, at start, the image on disk) changes the desired
 *            state; state.c installs it as one commit and keeps it on disk.
 *   Enforce  Nothing is bound before this host was told anything for the first time: until then
 *            frames pass as they did before Bulkhead came. From then on a NIC that is not fed is
 *            closed.
 *   Births   births.c holds a start until the VM's NICs read back as fed from the kernel.
 *
 * One struct, one loop, one thread. Each file of this folder owns the members named for it; the
 * others only read them. Nothing here calls libvirt.
 */
#ifndef BH_HOST_AGENT_AGENT_H
#define BH_HOST_AGENT_AGENT_H

#include "base/ctl.h"
#include "bus/client.h"
#include "bus/events.h"
#include "host/agent/inventory.h"
#include "host/config.h"
#include "host/dataplane/dataplane.h"
#include "host/platform/platform.h"
#include "model/event.h"

struct hostd_state;
struct hostd_births;
struct hostd_session;
struct hostd_ports;
struct hostd_known;
struct hostd_told;
struct hostd_takeover;
struct hostd_generations;
struct hostd_moves;
struct hostd_who;
struct hostd_alone;
struct hostd_intake;
struct hostd_orders;

struct hostd_source {
	struct hostd_platform *platform;
	bool up;
	char text[256];
	uint64_t vms_at_ns; /* last list */
};

struct hostd_agent {
	uv_loop_t *loop;
	const struct hostd_config *config;
	char name[BH_NAME_MAX + 1];
	bool enrolled;
	uint64_t started_ns;

	struct hostd_dp *dp;
	struct hostd_dp_open_info dp_info;
	struct hostd_links *links;
	struct hostd_inventory *inv;
	struct hostd_source sources[HOSTD_URIS_MAX];
	int source_count;

	struct hostd_state *state;
	struct hostd_ports *ports;
	struct hostd_takeover *takeover;
	struct hostd_known *known;
	struct hostd_told *told;
	struct hostd_births *births;
	struct hostd_generations *generations;
	struct hostd_moves *moves;   /* host/capsule/capsule.h */
	struct hostd_alone *alone;   /* host/capsule/alone.h */
	struct hostd_who *who;	     /* host/capsule/who.h */
	struct hostd_orders *orders; /* host/agent/orders.h */
	struct hostd_session *session;
	struct bh_producer *producer;
	struct bh_ctl_server *ctl;
	struct hostd_intake *intake; /* host/agent/intake.h */

	uv_timer_t soon;   /* the debounced reconcile */
	uv_timer_t tick;   /* every second */
	uv_timer_t settle; /* finishes commits when the answer is out */
	uv_poll_t records; /* flow records of the kernel */
	bool records_open;

	/* verify.c */
	bool verifying;
	uint64_t verified_ns, verify_rounds, drift_found;
	/* agent.c: loop lag, the last whole repair, records that the kernel lost */
	uint64_t tick_at_ns, lag_max_ns, lag_last_ns;
	uint64_t whole_at_ns, lost_checked_ns, lost;
	bool lost_known;
};

/* ---- agent.c ---- */
[[nodiscard]] int hostd_agent_new(uv_loop_t *loop, const struct hostd_config *config,
				  struct hostd_agent **ret, struct bh_diag *diag);
/* Closes all handles; run the loop until it is empty, then hostd_agent_done(). The kernel goes on.
 */
void hostd_agent_stop(struct hostd_agent *agent);
void hostd_agent_done(struct hostd_agent *agent);
/* What the dataplane is opened with; pin_dir is borrowed from the config. */
void hostd_agent_dataplane_options(const struct hostd_config *config, struct hostd_dp_options *ret);
/* Something changed: compare and report soon. */
void hostd_agent_dirty(struct hostd_agent *agent);
/* Makes bindings and reports current at once. */
void hostd_agent_reconcile(struct hostd_agent *agent);
/* Takes over event. */
void hostd_agent_event(struct hostd_agent *agent, json_t *event);
json_t *hostd_agent_event_new(const char *type, enum bh_severity severity);
/* Adds vm, vm_name and, unless mac is NULL, nic. */
void hostd_agent_event_vm(json_t *event, const uint8_t uuid[16], const char *name,
			  const uint8_t *mac);

/* A JSON object kept in the state folder; empty when it is not there or damaged. Owned. */
json_t *hostd_agent_load(const char *path);
void hostd_agent_save(const char *path, const json_t *json);

/* ---- ports.c: what is attached where ---- */
struct hostd_ports *hostd_ports_new(struct hostd_agent *agent);
void hostd_ports_free(struct hostd_ports *ports);
/* Keeps shut what stands on protected bridges and is nobody's yet. */
void hostd_ports_hold(struct hostd_agent *agent);
/* Binds and unbinds what differs; `whole` repeats every binding, which repairs it. */
void hostd_ports_reconcile(struct hostd_agent *agent, bool whole);
/* Binds the NICs of one VM now, also when the host does not enforce yet. 0, or < 0 for the first
 * that could not be bound. NICs that can't be protected are skipped. */
[[nodiscard]] int hostd_ports_bind_vm(struct hostd_agent *agent, const struct hostd_vm *vm,
				      struct bh_diag *diag);
/* Throws away what waits in the taps of a VM that does not run yet. */
[[nodiscard]] int hostd_ports_empty_vm(struct hostd_agent *agent, const struct hostd_vm *vm,
				       struct bh_diag *diag);
struct hostd_dp_nic_key hostd_ports_key(const struct hostd_vm *vm, const struct hostd_nic *nic);
/* Nothing was left over for the next pass. */
bool hostd_ports_settled(const struct hostd_agent *agent);
/* Reports ports that stayed unknown; call it every second. */
void hostd_ports_tick(struct hostd_agent *agent, uint64_t now_ns);
json_t *hostd_ports_json(struct hostd_agent *agent);

/* ---- takeover.c: VMs that ran before they were protected ---- */
struct hostd_takeover *hostd_takeover_new(void);
void hostd_takeover_free(struct hostd_takeover *takeover);
/* A platform was listed; the list is the inventory's already. */
void hostd_takeover_listed(struct hostd_agent *agent, int source, const struct hostd_vm_list *list);
/* The VM starts under the hook, or has ended. */
void hostd_takeover_forget(struct hostd_agent *agent, const uint8_t uuid[16]);
/* BH_NIC_PICKUP while the NIC is being taken over, else 0. */
uint32_t hostd_takeover_flags(const struct hostd_agent *agent, const struct hostd_dp_nic_key *key);
/* From now on, for a minute: it came with connections of which not all are known. */
void hostd_takeover_add(struct hostd_agent *agent, const struct hostd_dp_nic_key *key,
			uint64_t now_ns);
/* The NIC is bound and fed: its minute runs. */
void hostd_takeover_fed(struct hostd_agent *agent, const struct hostd_dp_nic_key *key,
			uint64_t now_ns);
void hostd_takeover_tick(struct hostd_agent *agent, uint64_t now_ns);

/* ---- state.c: what the manager wants ---- */
struct hostd_state *hostd_state_new(struct hostd_agent *agent);
void hostd_state_free(struct hostd_state *state);
/* Reads the image from disk and makes the kernel hold it. Never fails the start: the kernel's state
 * stands when there is nothing to put in its place. */
void hostd_state_load(struct hostd_agent *agent);
const struct bh_image *hostd_state_image(const struct hostd_agent *agent);
bool hostd_state_told(const struct hostd_agent *agent); /* was ever told anything */
/* True when the host has held this hash since it started, so holds it or a later one. */
bool hostd_state_held(const struct hostd_agent *agent, const char *hash_hex);
void hostd_state_serve_apply(struct hostd_agent *agent, struct bh_bus_request *req,
			     const struct bh_bus_msg *msg);
/* A large commit is installed in slices while the loop turns; this does the rest at once. Whoever
 * compares the kernel with hostd_state_image() calls it first. */
void hostd_state_finish(struct hostd_agent *agent);
/* Puts the segments of `state`, which are new here, beside what the manager sent: at once, in
 * memory, in the kernel and on disk. 0; < 0, -ENOSPC when the tables are full. */
[[nodiscard]] int hostd_state_add(struct hostd_agent *agent, const struct bh_image *state,
				  struct bh_diag *diag);
/* Takes back what is being installed and says so to the manager; while the bus is there. */
void hostd_state_stop(struct hostd_agent *agent);
/* Installs the image again over whatever the kernel holds. */
[[nodiscard]] int hostd_state_repair(struct hostd_agent *agent, struct bh_diag *diag);

/* ---- report.c: what the manager is told ---- */
/* The VM as the manager sees it (docs/architecture.md); owned. */
json_t *hostd_report_vm(struct hostd_agent *agent, const struct hostd_vm *vm);
json_t *hostd_report_inventory(struct hostd_agent *agent); /* array of the above; owned */

/* ---- known.c: what the manager knows, and said ---- */
struct hostd_known *hostd_known_new(struct hostd_agent *agent);
void hostd_known_free(struct hostd_known *known);
/* The manager has acknowledged these; they are what a birth without manager may rely on. */
void hostd_known_acked(struct hostd_agent *agent, const json_t *vms);
void hostd_known_acked_vm(struct hostd_agent *agent, const json_t *vm);
/* The manager has seen this VM with this tenant and these labels. */
bool hostd_known_vm(struct hostd_agent *agent, const json_t *vm);
/* What the API says about births, {uuid: "open" | "closed"}, whole; kept on disk, where the hook
 * finds it too. Another kind of value is ignored. */
void hostd_known_births(struct hostd_agent *agent, const json_t *births);
/* The VM may start unprotected: by the API, else by its metadata. */
bool hostd_known_open(const struct hostd_agent *agent, const struct hostd_vm *vm);

/* ---- told.c: events about states ---- */
struct hostd_told *hostd_told_new(struct hostd_agent *agent);
void hostd_told_free(struct hostd_told *told);
/* Tells of starts, stops and protection what was not told before; vms as reported, and complete. */
void hostd_told_vms(struct hostd_agent *agent, const json_t *vms);
/* Tells that the VM starts with its NICs unprotected, and why. */
void hostd_told_open(struct hostd_agent *agent, const json_t *vm, const char *reason);
/* True when this was not told before; from now on it was. */
bool hostd_told_fact(struct hostd_agent *agent, const char *kind, const char *text);
/* Of this kind only these still hold ({text: any}; NULL none): the others are news when they come
 * again. */
void hostd_told_only(struct hostd_agent *agent, const char *kind, const json_t *texts);

/* ---- flows.c: flow records of the kernel -> events ---- */
[[nodiscard]] int hostd_flows_start(struct hostd_agent *agent, struct bh_diag *diag);

/* ---- births.c ---- */
struct hostd_births *hostd_births_new(struct hostd_agent *agent);
void hostd_births_free(struct hostd_births *births);
void hostd_births_serve(struct bh_ctl_request *req, const json_t *request, void *arg);
void hostd_births_ended(struct bh_ctl_request *req, const json_t *request, void *arg);
/* Something that a birth may wait for has changed. */
void hostd_births_poke(struct hostd_agent *agent);
/* The VM is held at its start. */
bool hostd_births_waiting(const struct hostd_agent *agent, const uint8_t uuid[16]);
json_t *hostd_births_json(struct hostd_agent *agent);

/* ---- session.c: the manager ---- */
[[nodiscard]] int hostd_session_new(struct hostd_agent *agent, const char *urls,
				    struct hostd_session **ret, struct bh_diag *diag);
void hostd_session_free(struct hostd_session *session);
bool hostd_session_up(const struct hostd_agent *agent); /* the manager has answered our hello */
/* Says hello anew as soon as the manager is there, before anything else. */
void hostd_session_anew(struct hostd_agent *agent);
struct bh_bus *hostd_session_bus(const struct hostd_agent *agent); /* NULL: not enrolled */
/* Sends a request with type, session and n added; takes over body. Without a bus fn gets -ENOTCONN.
 */
void hostd_session_request(struct hostd_agent *agent, const char *type, json_t *body,
			   uint64_t timeout_ms, bh_bus_reply_fn *fn, void *arg);
/* Tells the manager of the VMs when they differ from what it has acknowledged, or a minute after
 * that; later when a telling is on its way. */
void hostd_session_inventory(struct hostd_agent *agent);
void hostd_session_learned(struct hostd_agent *agent, const struct bh_flow_event *event);
void hostd_session_resync(struct hostd_agent *agent);
void hostd_session_tick(struct hostd_agent *agent, uint64_t now_ns);
json_t *hostd_session_json(struct hostd_agent *agent);

/* ---- answers.c: the program's own tables, for the control socket and for `query` ---- */
json_t *hostd_answers_status(struct hostd_agent *agent);
json_t *hostd_answers_capacity(struct hostd_agent *agent);
json_t *hostd_answers_nics(struct hostd_agent *agent);
json_t *hostd_answers_vms(struct hostd_agent *agent);
/* NULL with diag on failure. The request's members narrow the answer. */
json_t *hostd_answers_counters(struct hostd_agent *agent, const json_t *request,
			       struct bh_diag *diag);
json_t *hostd_answers_connections(struct hostd_agent *agent, const json_t *request,
				  struct bh_diag *diag);
json_t *hostd_answers_rules(struct hostd_agent *agent, const json_t *request, struct bh_diag *diag);

/* ---- control.c ---- */
[[nodiscard]] int hostd_control_new(struct hostd_agent *agent, struct bh_diag *diag);

/* ---- verify.c ---- */
void hostd_verify_tick(struct hostd_agent *agent, uint64_t now_ns);
/* Looks at everything now. Returns what differs (array, owned) or NULL with diag; repairs nothing.
 */
json_t *hostd_verify_now(struct hostd_agent *agent, struct bh_diag *diag);

#endif

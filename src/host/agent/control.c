/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: births for the hook, the program's tables for the CLI. */
#include "host/agent/agent.h"

#include "base/json.h"
#include "host/capsule/capsule.h"

static void answer(struct bh_ctl_request *req, json_t *body, const struct bh_diag *diag)
{
	if (body) {
		bh_ctl_reply(req, body);
	} else {
		bh_ctl_reply_error(req, "%s", diag->text);
	}
}

static void on_status(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	bh_ctl_reply(req, hostd_answers_status(arg));
}

static void on_nics(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	bh_ctl_reply(req, hostd_answers_nics(arg));
}

static void on_vms(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	bh_ctl_reply(req, hostd_answers_vms(arg));
}

static void on_stats(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	struct bh_diag diag = {};

	answer(req, hostd_answers_counters(arg, request, &diag), &diag);
}

static void on_connections(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	struct bh_diag diag = {};

	answer(req, hostd_answers_connections(arg, request, &diag), &diag);
}

static void on_rules(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	struct bh_diag diag = {};

	answer(req, hostd_answers_rules(arg, request, &diag), &diag);
}

static void on_verify(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	struct bh_diag diag = {};
	json_t *drift = hostd_verify_now(arg, &diag);

	answer(req, drift ? json_pack("{s:o}", "drift", drift) : NULL, &diag);
}

int hostd_control_new(struct hostd_agent *agent, struct bh_diag *diag)
{
	BH_FREE char *path = bh_asprintf("%s/hostd.sock", agent->config->run_dir);
	struct bh_ctl_options options = {
		.path = path, .program = "bulkhead-hostd", .mode = 0600, .root_only = true};
	int err = bh_ctl_server_new(agent->loop, &options, &agent->ctl, diag);

	if (err) {
		return err;
	}
	bh_ctl_server_add(agent->ctl, "birth", hostd_births_serve, agent);
	bh_ctl_server_add(agent->ctl, "migrate", hostd_arrive_serve, agent);
	bh_ctl_server_add(agent->ctl, "hook", hostd_births_ended, agent);
	bh_ctl_server_add(agent->ctl, "status", on_status, agent);
	bh_ctl_server_add(agent->ctl, "vms", on_vms, agent);
	bh_ctl_server_add(agent->ctl, "nics", on_nics, agent);
	bh_ctl_server_add(agent->ctl, "stats", on_stats, agent);
	bh_ctl_server_add(agent->ctl, "connections", on_connections, agent);
	bh_ctl_server_add(agent->ctl, "rules", on_rules, agent);
	bh_ctl_server_add(agent->ctl, "verify", on_verify, agent);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead debug: asks a daemon what goes on inside, over its control socket on this machine; for a
 * host elsewhere (--host) the manager passes the question on. An operation that this program does
 * not know is sent as it is, so a newer daemon can be asked by an older CLI.
 */
#include "cli/cmd.h"

#include "base/ctl.h"
#include "base/json.h"
#include "base/log.h"
#include "base/util.h"
#include "cli/show_any.h"

#include <errno.h>
#include <string.h>

#define WORDS_MAX 16

/* "key=value" as a member; numbers and true/false as such. */
static int add_member(const struct cli *cli, json_t *request, const char *word)
{
	BH_FREE char *key = bh_strdup(word);
	char *value = strchr(key, '=');
	uint64_t number;

	if (!value || value == key) {
		return cli_fail(cli, CLI_EXIT_USAGE, "\"%s\" is no KEY=VALUE", word);
	}
	*value++ = '\0';
	if (!bh_parse_u64(value, 0, INT64_MAX, &number)) {
		json_object_set_new(request, key, json_integer((json_int_t)number));
	} else if (!strcmp(value, "true") || !strcmp(value, "false")) {
		json_object_set_new(request, key, json_boolean(*value == 't'));
	} else {
		json_object_set_new(request, key, json_string(value));
	}
	return CLI_EXIT_OK;
}

/* log LEVEL [MODULE] */
static int add_log(const struct cli *cli, const struct cli_call *call, json_t *request)
{
	enum bh_log_level level;

	if (call->arg_count < 2 || call->arg_count > 3 ||
	    bh_log_level_parse(call->args[1], &level)) {
		return cli_fail(cli, CLI_EXIT_USAGE,
				"it is `%s log LEVEL [MODULE]` with error, warn, info or debug",
				call->path);
	}
	json_object_set_new(request, "level", json_string(call->args[1]));
	if (call->arg_count == 3) {
		json_object_set_new(request, "module", json_string(call->args[2]));
	}
	return CLI_EXIT_OK;
}

static int make_request(const struct cli *cli, const struct cli_call *call, json_t *request)
{
	int r = CLI_EXIT_OK;

	json_object_set_new(request, "op", json_string(call->args[0]));
	if (!strcmp(call->args[0], "log")) {
		return add_log(cli, call, request);
	}
	for (unsigned int i = 1; i < call->arg_count && !r; i++) {
		r = add_member(cli, request, call->args[i]);
	}
	return r;
}

static int ask_socket(struct cli *cli, const struct cli_call *call, const char *program)
{
	BH_FREE char *dflt = bh_asprintf("%s/%s.sock", cli->config.run_dir, program);
	const char *path = cli_call_value_or(call, "socket", dflt);
	BH_JSON json_t *request = json_object();
	BH_JSON json_t *reply = NULL;
	struct bh_diag diag = {};
	int r = make_request(cli, call, request);

	if (r) {
		return r;
	}
	r = bh_ctl_call(path, request, (int)cli->config.timeout_s * 1000, &reply, &diag);
	if (r == -EREMOTEIO) {
		return cli_fail_diag(cli, CLI_EXIT_INVALID, &diag);
	}
	if (r == -ECONNREFUSED || r == -ENOENT) {
		return cli_fail(cli, CLI_EXIT_UNREACHABLE,
				"nobody answers on %s; is the daemon running?", path);
	}
	if (r) {
		return cli_fail(cli, r == -EACCES ? CLI_EXIT_DENIED : CLI_EXIT_UNREACHABLE,
				"cannot ask on %s: %s", path,
				*diag.text ? diag.text : strerror(-r));
	}
	json_object_del(reply, "ok");
	if (json_object_size(reply) == 0 && cli->out.format != CLI_FORMAT_JSON) {
		printf("ok\n");
	} else {
		cli_show_any(&cli->out, reply);
	}
	return CLI_EXIT_OK;
}

/* Through the manager. */
static int ask_host(struct cli *cli, const struct cli_call *call, const char *host)
{
	BH_FREE char *route = cli_path("/hosts/", host, "/query");
	/* What the daemon itself calls stats goes by another name on the bus. */
	const char *what = strcmp(call->args[0], "stats") ? call->args[0] : "counters";
	BH_JSON json_t *body = NULL;
	struct bh_wbuf path;
	int r;

	bh_wbuf_init(&path, 0);
	bh_wbuf_str(&path, route);
	cli_query_add(&path, "what", what);
	for (unsigned int i = 1; i < call->arg_count; i++) {
		BH_FREE char *key = bh_strdup(call->args[i]);
		char *value = strchr(key, '=');

		if (!value) {
			bh_wbuf_done(&path);
			return cli_fail(cli, CLI_EXIT_USAGE, "\"%s\" is no KEY=VALUE",
					call->args[i]);
		}
		*value++ = '\0';
		cli_query_add(&path, key, value);
	}
	r = cli_get(cli, bh_wbuf_cstr(&path), &body);
	bh_wbuf_done(&path);
	if (!r) {
		json_object_del(body, "ok");
		cli_show_any(&cli->out, body);
	}
	return r;
}

static int debug_host(struct cli *cli, const struct cli_call *call)
{
	const char *host = cli_call_value(call, "host");

	return host ? ask_host(cli, call, host) : ask_socket(cli, call, "hostd");
}

static int debug_manager(struct cli *cli, const struct cli_call *call)
{
	return ask_socket(cli, call, "manager");
}

static const struct cli_option host_options[] = {
	{"socket", 0, "PATH", "control socket (RUN_DIR/hostd.sock)", CLI_WORDS_FILE},
	{"host", 0, "HOST", "a host elsewhere: stats, connections, nics", CLI_WORDS_HOST},
	{},
};

static const struct cli_option manager_options[] = {
	{"socket", 0, "PATH", "control socket (RUN_DIR/manager.sock)", CLI_WORDS_FILE},
	{},
};

#define DETAILS                                                                                    \
	"Operations: ping, version, ops (all that it knows), counters, log LEVEL [MODULE],\n"      \
	"and the daemon's own. Further words are KEY=VALUE members of the question."

const struct cli_command cli_debug_commands[] = {
	{.name = "host",
	 .args = "OPERATION [KEY=VALUE...]",
	 .summary = "ask bulkhead-hostd",
	 .details = DETAILS,
	 .words = "status|vms|nics|stats|connections|rules|verify|counters|log|ping|version|ops",
	 .args_min = 1,
	 .args_max = WORDS_MAX,
	 .options = host_options,
	 .run = debug_host},
	{.name = "manager",
	 .args = "OPERATION [KEY=VALUE...]",
	 .summary = "ask bulkheadd",
	 .details = DETAILS,
	 .words = "status|hosts|bus|memory|counters|log|ping|version|ops",
	 .args_min = 1,
	 .args_max = WORDS_MAX,
	 .options = manager_options,
	 .run = debug_manager},
	{},
};

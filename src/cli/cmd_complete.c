/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead __complete WORDS...: what may stand where the last word is being typed, one a line; for
 * the bash completion. Names come from the manager when it answers within a second, else there are
 * none. "@file" and
 * "@dir" leave the choice to the shell.
 */
#include "cli/cmd.h"

#include "base/json.h"
#include "base/util.h"

#include <string.h>

#define PATIENCE_S 1
/* What a name may hold to stand in a word list of the shell. */
#define NAME_LETTERS                                                                               \
	"abcdefghijklmnopqrstuvwxyz"                                                               \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./"

static const struct source {
	const char *kind;
	const char *path;
	const char *before; /* a member that stands before the name, with a slash; may be NULL */
	const char *name;   /* the member; NULL: "name" */
} sources[] = {
	{CLI_WORDS_HOST, "/v1/hosts"},
	{CLI_WORDS_VM, "/v1/vms"},
	{CLI_WORDS_TENANT, "/v1/tenants"},
	{CLI_WORDS_POLICY, "/v1/policies", .before = "tenant"},
	{CLI_WORDS_MIGRATION, "/v1/migrations", .name = "id"},
};

static const struct source *source_of(const char *kind)
{
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(sources); i++) {
		if (!strcmp(sources[i].kind, kind)) {
			return &sources[i];
		}
	}
	return NULL;
}

static void print_names(struct cli *cli, const struct source *source, const char *word)
{
	struct cli_request request = {.method = "GET", .path = source->path};
	struct cli_response response = {};
	struct cli_client *client;
	BH_JSON json_t *body = NULL;
	const json_t *items;
	struct bh_diag diag = {};
	struct cli_endpoint endpoint = {
		.server = cli->config.server,
		.token = cli->config.token,
		.ca_file = cli->config.ca,
		.fingerprint = cli->config.fingerprint,
		.timeout_s = PATIENCE_S,
	};

	if (cli_client_new(&endpoint, &client, &diag)) {
		return;
	}
	if (!cli_client_send(client, &request, &response, &diag) && response.status == 200 &&
	    !bh_json_load(response.data, response.size, 0, &body, NULL)) {
		items = json_object_get(body, "items");
		for (size_t i = 0; i < json_array_size(items); i++) {
			const json_t *item = json_array_get(items, i);
			BH_FREE char *name = bh_asprintf(
				"%s%s%s",
				source->before ? bh_json_str_or(item, source->before, "") : "",
				source->before ? "/" : "",
				bh_json_str_or(item, source->name ? source->name : "name", ""));

			/* A name with a space or worse is nothing that a shell word list can hold.
			 */
			if (!strncmp(name, word, strlen(word)) &&
			    strspn(name, NAME_LETTERS) == strlen(name)) {
				printf("%s\n", name);
			}
		}
	}
	cli_response_done(&response);
	cli_client_free(client);
}

int cli_cmd_complete(struct cli *cli, const struct cli_call *call)
{
	const char *kind = NULL;
	const char *last = call->arg_count ? call->args[call->arg_count - 1] : "";
	const struct source *source;
	struct bh_wbuf lines;

	bh_wbuf_init(&lines, 0);
	cli_args_complete(cli->root, cli->global, call->args, call->arg_count, &lines, &kind);
	fputs(bh_wbuf_cstr(&lines), stdout);
	bh_wbuf_done(&lines);
	source = kind ? source_of(kind) : NULL;
	if (source) {
		print_names(cli, source, last);
	} else if (kind) {
		printf("%s\n", kind);
	}
	return CLI_EXIT_OK;
}

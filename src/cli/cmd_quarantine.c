/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead vm quarantine, vm release. */
#include "cli/cmd.h"

#include "base/json.h"
#include "base/util.h"

const struct cli_option cli_quarantine_options[] = {
	{"reason", 0, "TEXT", "why, for the event and for `vm show`", NULL},
	{},
};

void cli_cell_quarantine(const struct cli_output *out, const json_t *vm, struct cli_cell *cell)
{
	const json_t *q = json_object_get(vm, "quarantine");
	const json_t *by = json_object_get(q, "by");
	const char *until = bh_json_str_or(q, "until", "");
	struct bh_wbuf w;

	if (!json_is_object(q)) {
		cli_cell_printf(cell, "no");
		return;
	}
	bh_wbuf_init(&w, 0);
	bh_wbuf_printf(&w, "since %s%s%s: %s", bh_json_str_or(q, "since", "?"),
		       *until ? " until " : "", until, bh_json_str_or(q, "why", "?"));
	for (size_t i = 0; i < json_array_size(by); i++) {
		BH_FREE char *text = cli_labels_text(json_array_get(by, i));

		bh_wbuf_printf(&w, "%s%s", i ? "; " : " (by ", text);
	}
	cli_cell_printf(cell, "%s%s", bh_wbuf_cstr(&w), json_array_size(by) ? ")" : "");
	bh_wbuf_done(&w);
	cell->colour = CLI_COLOUR_WARN;
}

static int put(struct cli *cli, const struct cli_call *call, bool on)
{
	const char *vm = call->args[0];
	BH_FREE char *path = cli_path("/vms/", vm, "/quarantine");
	BH_JSON json_t *body = NULL;
	int r = cli_put_switch(cli, call, path, on, &body);

	if (!r && cli->out.format != CLI_FORMAT_JSON) {
		cli_say(stdout, "%s is %sin quarantine.\n", bh_json_str_or(body, "name", vm),
			on ? "" : "not ");
	}
	return r;
}

int cli_cmd_vm_quarantine(struct cli *cli, const struct cli_call *call)
{
	return put(cli, call, true);
}

int cli_cmd_vm_release(struct cli *cli, const struct cli_call *call)
{
	return put(cli, call, false);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The branches of the command tree; main.c puts them together. Each table ends with a NULL name and
 * lives in the cmd_*.c of its noun.
 */
#ifndef BH_CLI_CMD_H
#define BH_CLI_CMD_H

#include "cli/cli.h"

extern const struct cli_command cli_host_commands[];
extern const struct cli_command cli_host_token_commands[];
extern const struct cli_command cli_vm_commands[];
extern const struct cli_command cli_migration_commands[];
extern const struct cli_command cli_snapshot_commands[];
extern const struct cli_command cli_order_commands[];
extern const struct cli_command cli_label_commands[];
extern const struct cli_command cli_tenant_commands[];
extern const struct cli_command cli_network_commands[];
extern const struct cli_command cli_identity_commands[];
extern const struct cli_command cli_policy_commands[];
extern const struct cli_command cli_draft_commands[];
extern const struct cli_command cli_monitor_commands[];
extern const struct cli_command cli_flow_commands[];
extern const struct cli_command cli_event_commands[];
extern const struct cli_command cli_alert_commands[];
extern const struct cli_command cli_channel_commands[];
extern const struct cli_command cli_audit_commands[];
extern const struct cli_command cli_debug_commands[];
extern const struct cli_command cli_user_commands[];
extern const struct cli_command cli_role_commands[];
extern const struct cli_command cli_token_commands[];
extern const struct cli_command cli_session_commands[];
extern const struct cli_command cli_totp_commands[];
extern const struct cli_command cli_key_commands[];
extern const struct cli_command cli_request_commands[];
extern const struct cli_command cli_settings_commands[];
extern const struct cli_option cli_flow_options[];
extern const struct cli_option cli_status_options[];
extern const struct cli_option cli_enroll_options[];
extern const struct cli_option cli_host_maintenance_options[];
extern const struct cli_option cli_quarantine_options[];
extern const struct cli_option cli_power_options[];
extern const struct cli_option cli_destroy_options[];

cli_run_fn cli_cmd_login;
cli_run_fn cli_cmd_logout;
cli_run_fn cli_cmd_whoami;
cli_run_fn cli_cmd_stepup;
cli_run_fn cli_cmd_passwd;
cli_run_fn cli_cmd_flow;
cli_run_fn cli_cmd_status;
cli_run_fn cli_cmd_version;
cli_run_fn cli_cmd_complete;
cli_run_fn cli_cmd_enroll;
cli_run_fn cli_cmd_host_label;
cli_run_fn cli_cmd_host_maintenance;
cli_run_fn cli_cmd_policy_check;
cli_run_fn cli_cmd_policy_format;
cli_run_fn cli_cmd_policy_commit;
cli_run_fn cli_cmd_policy_unconfirmed;
cli_run_fn cli_cmd_policy_confirm;
cli_run_fn cli_cmd_policy_undo;
cli_run_fn cli_cmd_policy_hits;
cli_run_fn cli_cmd_policy_suggest;
cli_run_fn cli_cmd_vm_tree;
cli_run_fn cli_cmd_vm_quarantine;
cli_run_fn cli_cmd_vm_release;
cli_run_fn cli_cmd_vm_power;
cli_run_fn cli_cmd_vm_destroy;
cli_run_fn cli_cmd_vm_migrate;
/* The cell of a VM: since when, why, by whom. */
void cli_cell_quarantine(const struct cli_output *out, const json_t *vm, struct cli_cell *cell);

/* The cell of a user: his roles, where, with number and end when the row has them. */
void cli_cell_roles(const struct cli_output *out, const json_t *row, struct cli_cell *cell);

/* ---- shared between commands ---- */
/* "[tenant/]name" of a VM, policy, ... as the API wants it. */
struct cli_ref {
	char tenant[64];
	char name[64];
};
/* Splits; tenant is "" when the text names none. CLI_EXIT_USAGE (reported) when it is too long. */
[[nodiscard]] int cli_ref_parse(const struct cli *cli, const char *text, struct cli_ref *ret);

/* "--wait[=SECONDS]" of a call: 0 when not given, else 1..60; CLI_EXIT_USAGE when it is no number.
 */
[[nodiscard]] int cli_wait_of(const struct cli *cli, const struct cli_call *call,
			      unsigned int *ret_seconds);
/* Shows an `Applied` of the API: what changed and which hosts have it. */
[[nodiscard]] int cli_show_applied(struct cli *cli, const json_t *applied, bool waited);

/* Puts "KEY=VALUE" into labels; CLI_EXIT_USAGE (reported) when it is none. */
[[nodiscard]] int cli_label_take(const struct cli *cli, const char *text, json_t *labels);

/* PUT {on, reason}: what is on or off, with `--reason` of the call. In JSON the answer is shown,
 * else *ret_body (owned) is for the caller to tell of. */
[[nodiscard]] int cli_put_switch(struct cli *cli, const struct cli_call *call, const char *path,
				 bool on, json_t **ret_body);

/* Columns of hosts, NICs. */
#define CLI_OK	"✓"
#define CLI_BAD "✗"

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every command works with: where the manager is, how to write, how to fail. One struct cli
 * per process, owned by main(); commands borrow it. Single-threaded.
 */
#ifndef BH_CLI_CLI_H
#define BH_CLI_CLI_H

#include "base/diag.h"
#include "cli/args.h"
#include "cli/client.h"
#include "cli/config.h"
#include "cli/table.h"

#include <jansson.h>

/* Documented in bulkhead(1). */
enum cli_exit {
	CLI_EXIT_OK = 0,
	CLI_EXIT_NO = 1,	  /* the thing asked says no */
	CLI_EXIT_USAGE = 2,	  /* the command line is wrong */
	CLI_EXIT_UNREACHABLE = 3, /* nobody answers, or not the right one */
	CLI_EXIT_DENIED = 4,	  /* token missing, wrong, or without the right */
	CLI_EXIT_INVALID = 5,	  /* refused as wrong or in conflict; nothing changed */
	CLI_EXIT_MISSING = 6,	  /* no such host, VM, policy, ... */
	CLI_EXIT_SERVER = 7,	  /* the other side failed */
	CLI_EXIT_LOCAL = 8,	  /* a local file or resource failed */
};

struct cli {
	const struct cli_command *root;
	const struct cli_option *global;
	struct cli_output out;
	struct cli_config config;
	struct cli_client *client; /* made at first use */
};

/* Reads the configuration, then what call and environment say. An enum cli_exit. */
[[nodiscard]] int cli_init(struct cli *cli, const struct cli_call *call);
void cli_done(struct cli *cli);

/* Says what went wrong on stderr (as JSON with --json); returns code. */
int cli_fail(const struct cli *cli, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int cli_fail_diag(const struct cli *cli, int code, const struct bh_diag *diag);

/* The client, connected to nothing yet; NULL after having said why. */
struct cli_client *cli_client_of(struct cli *cli);

/* ---- requests: an enum cli_exit; failures have been reported ---- */
/* path: with query, below /v1. *ret_body is owned, NULL for an empty answer; a list is whole,
 * however many pages it has. */
[[nodiscard]] int cli_get(struct cli *cli, const char *path, json_t **ret_body);
/* body may be NULL; ret_body may be NULL when the answer does not matter. */
[[nodiscard]] int cli_send(struct cli *cli, const char *method, const char *path,
			   const json_t *body, json_t **ret_body);
/* Any request; for texts that are no JSON. request->path is below /v1. */
[[nodiscard]] int cli_exchange(struct cli *cli, const struct cli_request *request,
			       struct cli_response *ret_response);
/* Reports an answer that is no success. Returns its enum cli_exit. */
int cli_refused(const struct cli *cli, const struct cli_response *response);
/* The JSON of a good answer. */
[[nodiscard]] int cli_parse_body(const struct cli *cli, const struct cli_response *response,
				 json_t **ret_body);

/* ---- paths ---- */
/* "/hosts/%s" with the argument escaped as one segment. Owned. */
char *cli_path(const char *before, const char *segment, const char *after);
/* Adds "?key=value" or "&key=value", escaped, when value is not NULL. */
void cli_query_add(struct bh_wbuf *path, const char *key, const char *value);

/* ---- cells that many commands share ---- */
void cli_cell_age(const struct cli_output *out, const json_t *time, struct cli_cell *cell);
void cli_cell_hash(const json_t *hash, struct cli_cell *cell); /* the first 12 digits */
/* "k=v, k2=v2" of an object, keys in order. Owned. */
char *cli_labels_text(const json_t *labels);

#endif

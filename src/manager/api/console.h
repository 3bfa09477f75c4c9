/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The web console's files (`console_dir`), served beside /v1. All of them are read once, at start:
 * a request can only name what stands in that listing, so no path reaches the disk, and an upgrade
 * of the files under a running manager never mixes two versions.
 *
 * Files ending in .br and .gz are the compressed twins of the file without that ending and are
 * never served by their own name. Paths that name no file give index.html (the console routes by
 * itself), unless their last part has a dot: a missing script is 404 and not a page. index.html
 * gets a fresh nonce with each answer, in the place of every CONSOLE_NONCE_MARK, which the
 * Content-Security-Policy of that answer allows for <style>: Ant Design and CodeMirror make their
 * rules at run time. Scripts are files of this origin only. Loop thread only.
 */
#ifndef BH_MANAGER_API_CONSOLE_H
#define BH_MANAGER_API_CONSOLE_H

#include "base/diag.h"

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>

#define CONSOLE_FILES_MAX  2000
#define CONSOLE_BYTES_MAX  (64u << 20)
#define CONSOLE_DEPTH_MAX  4
#define CONSOLE_NONCE_MARK "BULKHEAD-NONCE"

struct manager_console;

enum manager_console_coding {
	CONSOLE_IDENTITY,
	CONSOLE_GZIP,
	CONSOLE_BROTLI,
	CONSOLE_CODINGS,
};

struct manager_console_bytes {
	char *data; /* NULL: not there in this coding */
	size_t size;
	char etag[40]; /* with its quotation marks */
};

struct manager_console_file {
	const char *type;
	bool immutable; /* its name changes with its content */
	bool page;	/* index.html */
	struct manager_console_bytes as[CONSOLE_CODINGS];
};

/* Reads the folder. -ENOENT when there is none; -EINVAL when it has no index.html; -E2BIG over a
 * limit. */
[[nodiscard]] int manager_console_open(const char *dir, struct manager_console **ret,
				       struct bh_diag *diag);
/* As above; a reason for none goes to the log. dir may be NULL. NULL: there is no console. */
struct manager_console *manager_console_load(const char *dir);
void manager_console_free(struct manager_console *console);

/* Is this path the console's to answer? Those of the API and of the monitors are not. */
bool manager_console_owns(const char *path);
/* The file for a path that begins with '/'; borrowed, NULL: none. */
const struct manager_console_file *manager_console_find(const struct manager_console *console,
							const char *path);
/* The best that the file has and Accept-Encoding (may be NULL) takes. */
enum manager_console_coding manager_console_coding(const struct manager_console_file *file,
						   const char *accept_encoding);
/* Does If-None-Match (may be NULL) name this etag? */
bool manager_console_known(const char *if_none_match, const char *etag);

/* The whole answer, with every header; *ret_status is 200, 304, 404 or 405. tls: adds HSTS. NULL
 * with status 500 when libmicrohttpd has no memory. */
struct MHD_Response *manager_console_answer(const struct manager_console *console,
					    struct MHD_Connection *connection, const char *method,
					    const char *path, bool tls, unsigned int *ret_status);

#endif

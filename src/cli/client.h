/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP to the manager: over its unix socket, or HTTPS with a bearer token. Trust on HTTPS is a CA
 * file, the fingerprint of a CA that the server must present, or the system's CAs; with the first
 * two the server may be called by any name when its certificate says "manager" (DNS), because that
 * CA is the manager's own. Blocking; one request at a time. Answers are at most CLI_ANSWER_MAX
 * bytes.
 */
#ifndef BH_CLI_CLIENT_H
#define BH_CLI_CLIENT_H

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLI_ANSWER_MAX (256u * 1024 * 1024)

struct cli_endpoint {
	const char
		*server; /* "https://host:port", or the path of a unix socket (also "unix:PATH") */
	const char *token;	 /* may be NULL */
	const char *ca_file;	 /* may be NULL */
	const char *fingerprint; /* SHA-256 of a CA certificate in hex; may be NULL */
	unsigned int timeout_s;	 /* for one answer; streams have none */
};

struct cli_request {
	const char *method;
	const char *path; /* "/v1/..." with query */
	const char *body; /* may be NULL */
	size_t body_size;
	const char *content_type; /* with body */
	const char *accept;	  /* NULL: application/json */
	unsigned int extra_s;	  /* added to the timeout: the server was asked to wait */
};

struct cli_response {
	long status;
	char *data; /* owned; NUL behind it */
	size_t size;
};
void cli_response_done(struct cli_response *response);

struct cli_client;
/* Copies the endpoint. -EINVAL with words when the address or the fingerprint is none. */
[[nodiscard]] int cli_client_new(const struct cli_endpoint *endpoint, struct cli_client **ret,
				 struct bh_diag *diag);
void cli_client_free(struct cli_client *client); /* NULL is fine */
const char *cli_client_server(const struct cli_client *client);

/* 0 with any HTTP status; -ECONNREFUSED when nobody answers, -EPROTO when trust or talk fails. */
[[nodiscard]] int cli_client_send(struct cli_client *client, const struct cli_request *request,
				  struct cli_response *ret, struct bh_diag *diag);

/* Returns 0 to go on, anything else ends the stream. */
typedef int cli_chunk_fn(const char *data, size_t size, void *arg);
struct cli_stream {
	const char *path;
	const char *last_id; /* may be NULL */
	cli_chunk_fn *fn;
	void *arg;
	unsigned int silence_s; /* after which it counts as broken; 0: 30 */
};
/* GET as text/event-stream. Calls fn for what arrives with status 200; another status's body is in
 * *ret. Returns as cli_client_send when the stream ends; -ECANCELED when fn ended it. */
[[nodiscard]] int cli_client_stream(struct cli_client *client, const struct cli_stream *stream,
				    struct cli_response *ret, struct bh_diag *diag);

#endif

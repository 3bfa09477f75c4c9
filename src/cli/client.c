/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"

#include "base/buf.h"
#include "base/util.h"
#include "cli/trust.h"

#include <curl/curl.h>
#include <errno.h>

#define CONNECT_TIMEOUT_S 10L
#define STREAM_SILENCE_S  30

struct cli_client {
	CURL *curl;
	char *server;
	char *base; /* what stands before the path */
	char *socket;
	char *token;
	unsigned int timeout_s;
	struct cli_trust trust;
	bool own_trust;
};

/* What one transfer collects. */
struct transfer {
	CURL *curl;
	struct bh_wbuf body;
	cli_chunk_fn *fn; /* NULL: collect */
	void *arg;
	unsigned int silence_s;
	bool stopped;
};

void cli_response_done(struct cli_response *response)
{
	free(response->data);
	*response = (struct cli_response){};
}

/* "https://[::1]:7443/x" -> "::1". Owned; NULL when there is none. */
static char *host_of(const char *url)
{
	CURLU *u = curl_url();
	char *part = NULL;
	char *host = NULL;

	if (u && !curl_url_set(u, CURLUPART_URL, url, 0) &&
	    !curl_url_get(u, CURLUPART_HOST, &part, 0)) {
		size_t len = strlen(part);

		host = part[0] == '[' && len > 2 ? strndup(part + 1, len - 2) : bh_strdup(part);
	}
	curl_free(part);
	curl_url_cleanup(u);
	return host;
}

static int init_https(struct cli_client *client, const struct cli_endpoint *endpoint,
		      struct bh_diag *diag)
{
	BH_FREE char *host = host_of(endpoint->server);
	size_t len = strlen(endpoint->server);

	if (!host || !*host) {
		return bh_diag_set(diag, -EINVAL,
				   "\"%s\" is no address of a manager; it looks like "
				   "https://192.0.2.1:7443",
				   endpoint->server);
	}
	while (len && endpoint->server[len - 1] == '/') {
		len--;
	}
	client->base = strndup(endpoint->server, len);
	client->own_trust = endpoint->ca_file || endpoint->fingerprint;
	if (!client->own_trust) {
		return 0;
	}
	return cli_trust_init(&client->trust, endpoint->ca_file, endpoint->fingerprint, host, diag);
}

static int init_server(struct cli_client *client, const struct cli_endpoint *endpoint,
		       struct bh_diag *diag)
{
	const char *server = endpoint->server;

	if (!strncmp(server, "unix:", 5)) {
		server += 5;
	}
	if (server[0] == '/') {
		client->socket = bh_strdup(server);
		client->base = bh_strdup("http://manager");
		return 0;
	}
	if (!strncmp(server, "https://", 8)) {
		return init_https(client, endpoint, diag);
	}
	return bh_diag_set(
		diag, -EINVAL,
		"the server \"%s\" must be https://HOST:PORT or the path of a unix socket",
		endpoint->server);
}

int cli_client_new(const struct cli_endpoint *endpoint, struct cli_client **ret,
		   struct bh_diag *diag)
{
	struct cli_client *client = bh_alloc(sizeof(*client));
	int r;

	if (curl_global_init(CURL_GLOBAL_DEFAULT)) {
		abort();
	}
	client->server = bh_strdup(endpoint->server);
	client->token = endpoint->token ? bh_strdup(endpoint->token) : NULL;
	client->timeout_s = endpoint->timeout_s;
	r = init_server(client, endpoint, diag);
	client->curl = curl_easy_init();
	if (r || !client->curl) {
		cli_client_free(client);
		return r ? r : -ENOMEM;
	}
	*ret = client;
	return 0;
}

void cli_client_free(struct cli_client *client)
{
	if (!client) {
		return;
	}
	curl_easy_cleanup(client->curl);
	cli_trust_done(&client->trust);
	free(client->server);
	free(client->base);
	free(client->socket);
	free(client->token);
	free(client);
	curl_global_cleanup();
}

const char *cli_client_server(const struct cli_client *client)
{
	return client->server;
}

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	size_t bytes = size * count;
	long status = 0;

	curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
	if (t->fn && status == 200) {
		t->stopped = t->fn(data, bytes, t->arg) != 0;
		return t->stopped ? 0 : bytes;
	}
	bh_wbuf_put(&t->body, data, bytes);
	return t->body.err ? 0 : bytes;
}

static CURLcode on_ssl(CURL *curl, void *ssl_ctx, void *arg)
{
	SSL_CTX_set_cert_verify_callback(ssl_ctx, cli_trust_verify, arg);
	return CURLE_OK;
}

static struct curl_slist *add_header(struct curl_slist *list, const char *name, const char *value)
{
	BH_FREE char *line = bh_asprintf("%s: %s", name, value);
	struct curl_slist *longer = curl_slist_append(list, line);

	if (!longer) {
		abort();
	}
	return longer;
}

static struct curl_slist *make_headers(const struct cli_client *client,
				       const struct cli_request *request, const char *last_id)
{
	struct curl_slist *headers = NULL;

	headers = add_header(headers, "Accept",
			     request->accept ? request->accept : "application/json");
	if (client->token) {
		BH_FREE char *value = bh_asprintf("Bearer %s", client->token);

		headers = add_header(headers, "Authorization", value);
	}
	if (request->body) {
		headers = add_header(headers, "Content-Type", request->content_type);
		headers = add_header(headers, "Expect", "");
	}
	if (last_id) {
		headers = add_header(headers, "Last-Event-ID", last_id);
	}
	return headers;
}

static void prepare(struct cli_client *client, const struct cli_request *request, const char *url,
		    struct transfer *t)
{
	CURL *curl = client->curl;

	curl_easy_reset(curl);
	t->curl = curl;
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, client->socket ? "http" : "https");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "bulkhead"); /* sessions belong to it */
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
	if (client->socket) {
		curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->socket);
	}
	if (client->own_trust) {
		/* The name is checked by cli_trust_verify(), the system's CAs don't count: a
		 * machine may have none. */
		curl_easy_setopt(curl, CURLOPT_CAINFO, NULL);
		curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
		curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, on_ssl);
		curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA, &client->trust);
	}
	if (request->body) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_size);
	} else if (!strcmp(request->method, "POST")) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
	}
	if (t->fn) {
		curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
		curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)t->silence_s);
	} else {
		curl_easy_setopt(curl, CURLOPT_TIMEOUT,
				 (long)(client->timeout_s + request->extra_s));
	}
}

static int explain_failure(const struct cli_client *client, CURLcode code, const struct transfer *t,
			   struct bh_diag *diag)
{
	const char *server = client->server;

	if (t->stopped) {
		return -ECANCELED;
	}
	if (t->body.err) {
		return bh_diag_set(diag, -EPROTO, "the answer of %s is over %u MiB", server,
				   CLI_ANSWER_MAX >> 20);
	}
	if (code == CURLE_COULDNT_CONNECT && client->socket) {
		return bh_diag_set(
			diag, -ECONNREFUSED,
			"nobody answers on %s; is bulkheadd running here, and are you root? "
			"(elsewhere: --server https://HOST:7443)",
			server);
	}
	if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST) {
		return bh_diag_set(diag, -ECONNREFUSED,
				   "cannot reach %s (%s); is bulkheadd running there?", server,
				   curl_easy_strerror(code));
	}
	if (code == CURLE_OPERATION_TIMEDOUT) {
		return bh_diag_set(diag, -ETIMEDOUT, "%s did not answer in time (--timeout)",
				   server);
	}
	if (code == CURLE_PEER_FAILED_VERIFICATION && client->own_trust) {
		return bh_diag_set(diag, -EPROTO, "%s is not the manager you asked for: %s", server,
				   client->trust.why);
	}
	if (code == CURLE_PEER_FAILED_VERIFICATION) {
		return bh_diag_set(diag, -EPROTO,
				   "the certificate of %s is not known here; give --ca FILE or "
				   "--fingerprint HEX",
				   server);
	}
	return bh_diag_set(diag, -ECONNREFUSED, "talking to %s failed: %s", server,
			   curl_easy_strerror(code));
}

static int perform(struct cli_client *client, const struct cli_request *request,
		   const char *last_id, struct transfer *t, struct cli_response *ret,
		   struct bh_diag *diag)
{
	BH_FREE char *url = bh_asprintf("%s%s", client->base, request->path);
	struct curl_slist *headers = make_headers(client, request, last_id);
	CURLcode code;
	int r = 0;

	*ret = (struct cli_response){};
	bh_wbuf_init(&t->body, CLI_ANSWER_MAX);
	client->trust.why[0] = '\0';
	prepare(client, request, url, t);
	curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, headers);
	code = curl_easy_perform(client->curl);
	curl_slist_free_all(headers);
	if (code != CURLE_OK) {
		r = explain_failure(client, code, t, diag);
	} else {
		curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &ret->status);
		ret->size = t->body.size;
		ret->data = bh_strdup(bh_wbuf_cstr(&t->body));
	}
	bh_wbuf_done(&t->body);
	return r;
}

int cli_client_send(struct cli_client *client, const struct cli_request *request,
		    struct cli_response *ret, struct bh_diag *diag)
{
	struct transfer t = {};

	return perform(client, request, NULL, &t, ret, diag);
}

int cli_client_stream(struct cli_client *client, const struct cli_stream *stream,
		      struct cli_response *ret, struct bh_diag *diag)
{
	struct cli_request request = {
		.method = "GET",
		.path = stream->path,
		.accept = "text/event-stream",
	};
	struct transfer t = {.fn = stream->fn,
			     .arg = stream->arg,
			     .silence_s = stream->silence_s ? stream->silence_s : STREAM_SILENCE_S};

	return perform(client, &request, stream->last_id, &t, ret, diag);
}

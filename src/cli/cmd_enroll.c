/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead host enroll: makes this machine a host of a manager. The private key is made here and
 * never leaves. Order matters: key, certificates, and host.json last, so that bulkhead-hostd finds
 * all or nothing.
 */
#include "cli/cmd.h"

#include "base/file.h"
#include "base/json.h"
#include "base/util.h"
#include "bus/pki.h"
#include "cli/join.h"
#include "model/id.h"

#include <errno.h>
#include <string.h>

#define STATE_DIR   "/var/lib/bulkhead/host"
#define TOKEN_LIMIT 4096
#define HOOK	    "/etc/libvirt/hooks/qemu.d/10-bulkhead"

struct enrolment {
	struct cli *cli;
	char *url;	/* owned */
	char *token;	/* owned */
	char *name;	/* owned */
	char *key_file; /* owned */
	const char *state_dir;
	char fingerprint[CLI_JOIN_HEX_SIZE];
};

static void enrolment_done(struct enrolment *e)
{
	free(e->url);
	free(e->token);
	free(e->name);
	free(e->key_file);
}

/* The token itself, "-" for standard input, or BULKHEAD_JOIN_TOKEN: an argument is seen by every
 * process. */
static int take_token(struct enrolment *e, const struct cli_call *call)
{
	const char *given = cli_call_value_or(call, "token", getenv("BULKHEAD_JOIN_TOKEN"));
	struct bh_diag diag = {};
	size_t size;

	if (!given) {
		return cli_fail(e->cli, CLI_EXIT_USAGE,
				"a join token is needed: --token TOKEN (`bulkhead host token` on "
				"the manager makes one)");
	}
	if (!strcmp(given, "-")) {
		if (bh_file_read("-", TOKEN_LIMIT, &e->token, &size, &diag)) {
			return cli_fail_diag(e->cli, CLI_EXIT_LOCAL, &diag);
		}
		e->token[strcspn(e->token, " \t\r\n")] = '\0';
	} else {
		e->token = bh_strdup(given);
	}
	if (cli_join_token_parse(e->token, e->fingerprint, &diag)) {
		return cli_fail_diag(e->cli, CLI_EXIT_USAGE, &diag);
	}
	return CLI_EXIT_OK;
}

static int take_name(struct enrolment *e, const struct cli_call *call)
{
	const char *given = cli_call_value(call, "name");
	char host[256] = "";

	if (!given) {
		if (gethostname(host, sizeof(host) - 1)) {
			host[0] = '\0';
		}
		host[strcspn(host, ".")] = '\0';
		for (char *p = host; *p; p++) {
			*p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
		}
		given = host;
	}
	if (!bh_name_valid(given)) {
		return cli_fail(
			e->cli, CLI_EXIT_USAGE,
			"\"%s\" is no name for a host (small letters, digits, - and . inside, at "
			"most %d); give --name",
			given, BH_NAME_MAX);
	}
	e->name = bh_strdup(given);
	return CLI_EXIT_OK;
}

static int take_options(struct enrolment *e, const struct cli_call *call)
{
	const char *manager = cli_call_value_or(call, "manager", cli_call_value(call, "server"));
	BH_FREE char *json = NULL;
	int r;

	e->state_dir = cli_call_value_or(call, "state-dir", STATE_DIR);
	if (!manager) {
		return cli_fail(e->cli, CLI_EXIT_USAGE,
				"which manager? --manager https://HOST:7443");
	}
	e->url = cli_join_url(manager);
	if (!e->url) {
		return cli_fail(
			e->cli, CLI_EXIT_USAGE,
			"\"%s\" is no address of a manager; it looks like https://192.0.2.1:7443",
			manager);
	}
	json = bh_asprintf("%s/host.json", e->state_dir);
	if (!access(json, F_OK) && !cli_call_flag(call, "force")) {
		return cli_fail(e->cli, CLI_EXIT_INVALID,
				"this machine is a host already (%s); --force joins anew", json);
	}
	r = take_token(e, call);
	return r ? r : take_name(e, call);
}

/* The key (made when missing) and a request for it. */
static int make_request(struct enrolment *e, char **ret_csr)
{
	BH_FREE char *pki = bh_asprintf("%s/pki", e->state_dir);
	BH_FREE char *subject = bh_asprintf("host.%s", e->name);
	struct bh_diag diag = {};

	e->key_file = bh_asprintf("%s/key.pem", pki);
	if (bh_mkdirs(e->state_dir, 0700, &diag) || bh_mkdirs(pki, 0700, &diag) ||
	    bh_pki_csr_make(e->key_file, subject, ret_csr, &diag)) {
		return cli_fail_diag(e->cli, CLI_EXIT_LOCAL, &diag);
	}
	return CLI_EXIT_OK;
}

/* Asks the manager that the token's fingerprint names, and nobody else. */
static int ask(struct enrolment *e, const char *csr, json_t **ret_body)
{
	struct cli_endpoint endpoint = {
		.server = e->url,
		.fingerprint = e->fingerprint,
		.timeout_s = (unsigned int)e->cli->config.timeout_s,
	};
	BH_JSON json_t *json =
		json_pack("{s:s, s:s, s:s}", "token", e->token, "name", e->name, "csr", csr);
	BH_FREE char *text = json ? bh_json_dump(json) : NULL;
	struct cli_request request = {.method = "POST",
				      .path = "/v1/enroll",
				      .body = text,
				      .body_size = text ? strlen(text) : 0,
				      .content_type = "application/json"};
	struct cli_response response = {};
	struct cli_client *client = NULL;
	struct bh_diag diag = {};
	int r;

	if (cli_client_new(&endpoint, &client, &diag)) {
		return cli_fail_diag(e->cli, CLI_EXIT_USAGE, &diag);
	}
	if (cli_client_send(client, &request, &response, &diag)) {
		r = cli_fail_diag(e->cli, CLI_EXIT_UNREACHABLE, &diag);
	} else if (response.status == 401) {
		r = cli_fail(
			e->cli, CLI_EXIT_DENIED,
			"the manager does not take this join token: used, expired, or for another "
			"host; `bulkhead host token` there makes a new one");
	} else if (response.status < 200 || response.status > 299) {
		r = cli_refused(e->cli, &response);
	} else {
		r = cli_parse_body(e->cli, &response, ret_body);
	}
	cli_response_done(&response);
	cli_client_free(client);
	return r;
}

/* The CA that came must be the one that the token names; the certificate must be for our key and
 * name. */
static int install(struct enrolment *e, const json_t *body)
{
	BH_FREE char *cert_file = bh_asprintf("%s/pki/cert.pem", e->state_dir);
	BH_FREE char *ca_file = bh_asprintf("%s/pki/ca.pem", e->state_dir);
	BH_FREE char *json_file = bh_asprintf("%s/host.json", e->state_dir);
	BH_FREE char *subject = bh_asprintf("host.%s", e->name);
	BH_JSON json_t *host = NULL;
	BH_FREE char *text = NULL;
	const char *ca = bh_json_str_or(body, "ca", "");
	const char *bus_url = bh_json_str_or(body, "bus_url", "");
	struct bh_pki_info info;
	struct bh_diag diag = {};

	if (bh_pki_info_pem(ca, strlen(ca), &info, &diag)) {
		return cli_fail_diag(e->cli, CLI_EXIT_SERVER, &diag);
	}
	if (strcmp(info.fingerprint, e->fingerprint) != 0) {
		return cli_fail(e->cli, CLI_EXIT_UNREACHABLE,
				"the CA that the manager sent is not the one that the token names");
	}
	if (!*bus_url) {
		return cli_fail(e->cli, CLI_EXIT_SERVER,
				"the manager did not say where its bus is");
	}
	host = json_pack("{s:s, s:s}", "name", e->name, "bus", bus_url);
	text = bh_json_dump(host);
	if (bh_pki_install(ca, bh_json_str_or(body, "cert", ""), e->key_file, subject, ca_file,
			   cert_file, &diag) ||
	    bh_file_replace(json_file, text, strlen(text), 0600, &diag)) {
		return cli_fail_diag(e->cli, CLI_EXIT_LOCAL, &diag);
	}
	return CLI_EXIT_OK;
}

/* Where `meson install` has put it. */
static const char *find_hook(void)
{
	static const char *const places[] = {"/usr/local/libexec/bulkhead/bulkhead-hook",
					     "/usr/libexec/bulkhead/bulkhead-hook"};

	for (unsigned int i = 0; i < BH_ARRAY_SIZE(places); i++) {
		if (!access(places[i], X_OK)) {
			return places[i];
		}
	}
	return "PREFIX/libexec/bulkhead/bulkhead-hook";
}

static void say_what_next(const struct enrolment *e, const json_t *body)
{
	const struct cli_output *out = &e->cli->out;
	bool hook = !access(HOOK, X_OK);
	BH_JSON json_t *result = NULL;

	if (out->format == CLI_FORMAT_JSON) {
		result = json_pack("{s:s, s:s, s:s, s:s, s:b}", "name", e->name, "manager", e->url,
				   "bus_url", bh_json_str_or(body, "bus_url", ""), "state_dir",
				   e->state_dir, "hook_installed", hook);
		cli_show_json(out, result, false);
		return;
	}
	cli_say(out->file, "%s is a host of %s now.\n", e->name, e->url);
	if (!hook) {
		fprintf(out->file,
			"The libvirt hook is missing: VMs would start before they are protected.\n"
			"Link it with\n"
			"  mkdir -p $(dirname " HOOK ") && ln -s %s " HOOK "\n"
			"and restart libvirtd (or virtqemud) once, so that it notices.\n",
			find_hook());
	}
	fprintf(out->file, "Next: systemctl enable --now bulkhead-hostd   (or run bulkhead-hostd)\n"
			   "Then, at the manager: bulkhead status\n");
}

int cli_cmd_enroll(struct cli *cli, const struct cli_call *call)
{
	struct enrolment e = {.cli = cli};
	BH_FREE char *csr = NULL;
	BH_JSON json_t *body = NULL;
	int r = take_options(&e, call);

	r = r ? r : make_request(&e, &csr);
	r = r ? r : ask(&e, csr, &body);
	r = r ? r : install(&e, body);
	if (!r) {
		say_what_next(&e, body);
	}
	enrolment_done(&e);
	return r;
}

const struct cli_option cli_enroll_options[] = {
	{"manager", 'm', "URL", "https://HOST:7443", NULL},
	{"token", 0, "TOKEN", "join token; - reads it from standard input", NULL},
	{"name", 0, "NAME", "name of this host (its host name)", NULL},
	{"state-dir", 0, "DIR", "where to keep it (" STATE_DIR ")", CLI_WORDS_DIR},
	{"force", 0, NULL, "join anew though this machine is a host already", NULL},
	{},
};

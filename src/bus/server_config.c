/* SPDX-License-Identifier: Apache-2.0 */
#include "bus/server_config.h"

#include "base/util.h"
#include "bus/subject.h"
#include "model/id.h"

#include <errno.h>

/* nats-server reads double-quoted strings with backslash escapes. */
static void put_string(struct bh_wbuf *w, const char *s)
{
	bh_wbuf_u8(w, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\') {
			bh_wbuf_u8(w, '\\');
		}
		bh_wbuf_u8(w, (uint8_t)*s);
	}
	bh_wbuf_u8(w, '"');
}

static void put_setting(struct bh_wbuf *w, const char *indent, const char *key, const char *value)
{
	bh_wbuf_printf(w, "%s%s: ", indent, key);
	put_string(w, value);
	bh_wbuf_u8(w, '\n');
}

static void put_path(struct bh_wbuf *w, const char *key, const char *dir, const char *file)
{
	BH_FREE char *path = bh_asprintf("%s/%s", dir, file);

	put_setting(w, "", key, path);
}

void bh_bus_config_static(struct bh_wbuf *w, const struct bh_bus_server_options *options,
			  const char *server_name)
{
	bh_wbuf_str(w, "# Written by bulkheadd; changes are overwritten.\n");
	put_setting(w, "", "server_name", server_name);
	put_setting(w, "", "listen", options->listen);
	put_path(w, "pid_file", options->dir, "nats.pid");
	put_path(w, "log_file", options->dir, "nats.log");
	bh_wbuf_str(w, "logfile_size_limit: 16777216\n"
		       "max_payload: 1048576\n"
		       "max_pending: 67108864\n"
		       "write_deadline: \"10s\"\n"
		       "ping_interval: \"20s\"\n"
		       "ping_max: 2\n"
		       "lame_duck_duration: \"30s\"\n"
		       "tls {\n");
	put_setting(w, "\t", "cert_file", options->cert_file);
	put_setting(w, "\t", "key_file", options->key_file);
	put_setting(w, "\t", "ca_file", options->ca_file);
	bh_wbuf_str(w, "\tverify_and_map: true\n"
		       "\ttimeout: 5\n"
		       "}\n"
		       "jetstream {\n\t");
	put_path(w, "store_dir", options->dir, "jetstream");
	bh_wbuf_printf(w,
		       "\tmax_memory_store: 16777216\n"
		       "\tmax_file_store: %llu\n"
		       "}\n",
		       (unsigned long long)options->store_max_bytes);
}

static void put_host(struct bh_wbuf *w, const char *host)
{
	char req[BH_SUBJECT_SIZE];
	char ev[BH_SUBJECT_SIZE];
	char cmd[BH_SUBJECT_SIZE];
	char peers[BH_SUBJECT_SIZE];
	char inbox[BH_SUBJECT_SIZE];
	const char *self = bh_subject_ev(host, ev) + strlen("bh.ev.");

	bh_wbuf_printf(w,
		       "\t\t{user: \"host.%s\", permissions: {publish: {allow: [\"%s\", \"%s\", "
		       "\"bh.peer.*.%s\"]}, "
		       "subscribe: {allow: [\"%s\", \"%s\", \"%s.>\"]}, "
		       "allow_responses: {max: 1, expires: \"2m\"}}}\n",
		       host, bh_subject_req(host, req), ev, self, bh_subject_cmd(host, cmd),
		       bh_subject_peers(host, peers), bh_subject_inbox(host, inbox));
}

static void put_users(struct bh_wbuf *w, const char *const *hosts, size_t count)
{
	bh_wbuf_str(
		w,
		"\tusers: [\n"
		"\t\t{user: \"manager\", permissions: {publish: {allow: [\"bh.>\", \"_INBOX.>\", "
		"\"$JS.API.>\", \"$JS.ACK.>\"]}, subscribe: {allow: [\"bh.>\", "
		"\"_INBOX.manager.>\"]}, allow_responses: true}}\n");
	for (size_t i = 0; i < count; i++) {
		put_host(w, hosts[i]);
	}
	bh_wbuf_str(w, "\t]\n");
}

void bh_bus_config_users(struct bh_wbuf *w, const char *const *hosts, size_t count)
{
	bh_wbuf_str(w, BH_BUS_CONFIG_USERS "\ttimeout: 5\n");
	put_users(w, hosts, count);
	bh_wbuf_str(w, "}\n");
}

int bh_bus_config_check(const char *const *hosts, size_t count, struct bh_diag *diag)
{
	for (size_t i = 0; i < count; i++) {
		if (!bh_subject_host_valid(hosts[i])) {
			return bh_diag_set(diag, -EINVAL, "\"%s\" can't be the name of a host",
					   hosts[i]);
		}
	}
	return 0;
}

int bh_bus_server_fragment(const char *const *hosts, size_t count, char **ret_text,
			   struct bh_diag *diag)
{
	struct bh_wbuf w;
	int r = bh_bus_config_check(hosts, count, diag);

	if (r) {
		return r;
	}
	bh_wbuf_init(&w, 0);
	bh_wbuf_str(
		&w,
		"# Written by bulkheadd for the nats-servers of an external cluster: include it "
		"there and reload\n"
		"# them whenever it changes. TLS must know Bulkhead's CA and map certificates "
		"to users:\n"
		"#   tls { ca_file: \"ca.crt\", cert_file: ..., key_file: ..., "
		"verify_and_map: true }\n"
		"# An account of its own: who else may publish in it can forge.\n"
		"accounts {\n"
		"BULKHEAD {\n"
		"\tjetstream: enabled\n");
	put_users(&w, hosts, count);
	bh_wbuf_str(&w, "}\n}\n");
	bh_wbuf_cstr(&w);
	*ret_text = (char *)w.data;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/config.h"

#include "base/conf.h"
#include "base/file.h"
#include "base/util.h"

#define TOKEN_LIMIT 4096

#define AT(member) offsetof(struct cli_config, member)

static const struct bh_conf_key keys[] = {
	{.key = "server",
	 .type = BH_CONF_STR,
	 .offset = AT(server),
	 .help = "https://HOST:PORT of the manager, or the path of a unix socket"},
	{.key = "token_file",
	 .type = BH_CONF_STR,
	 .offset = AT(token_file),
	 .help = "file with the API token"},
	{.key = "ca",
	 .type = BH_CONF_STR,
	 .offset = AT(ca),
	 .help = "CA certificate of the manager"},
	{.key = "fingerprint",
	 .type = BH_CONF_STR,
	 .offset = AT(fingerprint),
	 .help = "SHA-256 of the manager's CA certificate, instead of ca"},
	{.key = "run_dir",
	 .type = BH_CONF_STR,
	 .offset = AT(run_dir),
	 .dflt = CLI_RUN_DIR,
	 .help = "where the sockets of this machine's daemons are"},
	{.key = "timeout",
	 .type = BH_CONF_U64,
	 .offset = AT(timeout_s),
	 .dflt = "30",
	 .min = 1,
	 .max = 3600,
	 .help = "seconds to wait for an answer"},
};

int cli_config_load(struct cli_config *config, const char *file, bool must_exist,
		    struct bh_diag *diag)
{
	*config = (struct cli_config){};
	return bh_conf_load(file, must_exist, keys, BH_ARRAY_SIZE(keys), config, diag);
}

void cli_config_done(struct cli_config *config)
{
	bh_conf_done(keys, BH_ARRAY_SIZE(keys), config);
	free(config->token);
	config->token = NULL;
}

void cli_config_set(char **setting, const char *value)
{
	if (value) {
		free(*setting);
		*setting = bh_strdup(value);
	}
}

void cli_config_environment(struct cli_config *config, char *(*getenv_fn)(const char *))
{
	cli_config_set(&config->server, getenv_fn("BULKHEAD_SERVER"));
	cli_config_set(&config->token, getenv_fn("BULKHEAD_TOKEN"));
	cli_config_set(&config->token_file, getenv_fn("BULKHEAD_TOKEN_FILE"));
	cli_config_set(&config->ca, getenv_fn("BULKHEAD_CA"));
	cli_config_set(&config->fingerprint, getenv_fn("BULKHEAD_FINGERPRINT"));
	cli_config_set(&config->run_dir, getenv_fn("BULKHEAD_RUN_DIR"));
}

int cli_config_finish(struct cli_config *config, struct bh_diag *diag)
{
	size_t size = 0;
	int r;

	if (!config->server) {
		config->server = bh_asprintf("%s/api.sock", config->run_dir);
	}
	if (!config->token_file || config->token) {
		return 0;
	}
	r = bh_file_read(config->token_file, TOKEN_LIMIT, &config->token, &size, diag);
	if (r) {
		return r;
	}
	config->token[strcspn(config->token, " \t\r\n")] = '\0';
	return 0;
}

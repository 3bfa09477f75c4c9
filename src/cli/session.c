/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/session.h"

#include "base/file.h"
#include "base/json.h"
#include "base/util.h"

#include <errno.h>
#include <sys/stat.h>
#include <termios.h>

#define SESSION_LIMIT 16384
#define SECRET_MAX    1024

/* Owned; NULL without a home. */
static char *folder(void)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

	if (config && *config == '/') {
		return bh_asprintf("%s/bulkhead", config);
	}
	return home && *home == '/' ? bh_asprintf("%s/.config/bulkhead", home) : NULL;
}

static char *session_path(void)
{
	BH_FREE char *dir = folder();

	return dir ? bh_asprintf("%s/session.json", dir) : NULL;
}

static void fill(char **setting, const json_t *json, const char *key)
{
	const char *value = bh_json_str_or(json, key, "");

	if (!*setting && *value) {
		*setting = bh_strdup(value);
	}
}

int cli_session_load(struct cli_config *config, struct bh_diag *diag)
{
	BH_FREE char *path = session_path();
	BH_FREE char *text = NULL;
	BH_JSON json_t *json = NULL;
	struct stat st;
	size_t size;
	int r;

	if (!path || stat(path, &st) < 0 || config->token || config->token_file) {
		return 0;
	}
	if (st.st_uid != geteuid() || (st.st_mode & 077)) {
		return bh_diag_set(diag, -EACCES,
				   "%s is not yours alone: chmod 600 it, or log in anew", path);
	}
	r = bh_file_read(path, SESSION_LIMIT, &text, &size, diag);
	if (r == 0) {
		r = bh_json_load(text, size, SESSION_LIMIT, &json, diag);
	}
	if (r < 0) {
		return r;
	}
	if (config->server && strcmp(config->server, bh_json_str_or(json, "server", "")) != 0) {
		return 0;
	}
	fill(&config->server, json, "server");
	fill(&config->ca, json, "ca");
	fill(&config->fingerprint, json, "fingerprint");
	fill(&config->token, json, "token");
	return 0;
}

int cli_session_save(const struct cli_config *config, const char *token, struct bh_diag *diag)
{
	BH_FREE char *dir = folder();
	BH_FREE char *path = session_path();
	BH_FREE char *text = NULL;
	BH_JSON json_t *json =
		json_pack("{s:s, s:s, s:s, s:s}", "server", config->server, "ca",
			  config->ca ? config->ca : "", "fingerprint",
			  config->fingerprint ? config->fingerprint : "", "token", token);
	int r;

	if (!dir) {
		return bh_diag_set(diag, -ENOENT, "HOME is not set: nowhere to keep the session");
	}
	text = bh_json_dump(json);
	r = bh_mkdirs(dir, 0700, diag);
	return r < 0 ? r : bh_file_replace(path, text, strlen(text), 0600, diag);
}

void cli_session_remove(void)
{
	BH_FREE char *path = session_path();

	if (path) {
		unlink(path);
	}
}

/* ---- secrets from people ---- */

char *cli_secret_ask(const char *prompt)
{
	struct termios old, quiet;
	bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &old) == 0;
	char *line = bh_alloc(SECRET_MAX);

	if (terminal) {
		quiet = old;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		fprintf(stderr, "%s: ", prompt);
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	}
	if (!fgets(line, SECRET_MAX, stdin)) {
		free(line);
		line = NULL;
	}
	if (terminal) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
		fputc('\n', stderr);
	}
	if (line) {
		line[strcspn(line, "\r\n")] = '\0';
	}
	return line;
}

void cli_secret_free(char *secret)
{
	if (secret) {
		explicit_bzero(secret, SECRET_MAX);
	}
	free(secret);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate's own operations of the control socket. Input: the text of a rule file, a byte 0, and
 * what a client says. The rules are loaded by `reload`, then the client is heard, then `rules` and
 * `stats` are asked for: each line has one answer that is JSON, and every rule that was refused is
 * told.
 */
#include "fuzz_file.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"
#include "gate/engine.h"

#include <assert.h>
#include <jansson.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#define SAY_MAX	  4096 /* a reload per line: what many take is no fault */
#define LINES_MAX 32
#define RULES_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
	struct gate_config config;
	struct gate_engine engine;
	struct gate_live *live;
	char *rules;
};

static int swallow(struct gate_out_sink *sink, const char *lines, size_t size)
{
	return 0;
}

static void nothing(struct gate_out_sink *sink)
{
}

static void put_rules(const struct world *w, const void *data, size_t size)
{
	if (bh_file_replace(w->rules, data, size, 0600, NULL)) {
		abort();
	}
}

/* The program's handlers of signals are not the fuzzer's. */
static void open_live(struct world *w)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction was[BH_ARRAY_SIZE(numbers)];
	struct bh_diag diag = {};

	for (size_t i = 0; i < BH_ARRAY_SIZE(numbers); i++) {
		sigaction(numbers[i], NULL, &was[i]);
	}
	if (gate_live_new(&w->engine, "none", NULL, &w->live, &diag)) {
		fprintf(stderr, "%s\n", diag.text);
		abort();
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(numbers); i++) {
		sigaction(numbers[i], &was[i], NULL);
	}
}

static struct world *world_get(void)
{
	static struct gate_out_sink sink = {swallow, nothing, nothing};
	static struct world *w;
	const char *files[1];
	struct bh_diag diag = {};

	if (w) {
		return w;
	}
	w = bh_alloc(sizeof(*w));
	bh_log_set_level(NULL, BH_LOG_ERROR);
	w->rules = bh_asprintf("%s/rules", fuzz_folder());
	files[0] = w->rules;
	put_rules(w, "", 0);
	if (gate_config_load(NULL, &w->config, &diag)) {
		abort();
	}
	w->config.workers = 0; /* no interface is opened */
	w->config.control_socket = bh_asprintf("%s/sock", fuzz_folder());
	gate_config_settle(&w->config);
	gate_engine_init(&w->engine, &w->config, files, 1, true);
	if (gate_engine_build(&w->engine, NULL, NULL, &w->engine.sets, &diag)) {
		abort();
	}
	w->engine.out = gate_out_new(&w->config, &sink);
	open_live(w);
	return w;
}

static int connect_to(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		abort();
	}
	return fd;
}

/* The next answer; NULL: the client was cut off. */
static json_t *answer(struct world *w, int fd)
{
	struct bh_wbuf line;
	json_t *json = NULL;
	char byte;
	ssize_t n = 1;

	bh_wbuf_init(&line, 0);
	while (n && (!line.size || line.data[line.size - 1] != '\n')) {
		n = recv(fd, &byte, 1, 0);
		if (n > 0) {
			bh_wbuf_put(&line, &byte, 1);
		} else if (n < 0) {
			n = 1;
			uv_run(gate_live_loop(w->live), UV_RUN_ONCE);
		}
	}
	if (n) {
		json = json_loadb((const char *)line.data, line.size - 1, JSON_ALLOW_NUL, NULL);
		assert(json && json_is_boolean(json_object_get(json, "ok")));
	}
	bh_wbuf_done(&line);
	return json;
}

static json_t *ask(struct world *w, int fd, const char *line)
{
	ssize_t size = (ssize_t)strlen(line);
	json_t *reply;

	assert(send(fd, line, (size_t)size, MSG_NOSIGNAL) == size);
	reply = answer(w, fd);
	assert(reply);
	return reply;
}

static void hear(struct world *w, const uint8_t *data, size_t size)
{
	int fd = connect_to(w->config.control_socket);
	unsigned int lines = 0;
	size_t upto = 0;

	for (size_t i = 0; i < size && i < SAY_MAX && lines < LINES_MAX; i++) {
		upto = i + 1;
		lines += data[i] == '\n';
	}
	assert(send(fd, data, upto, MSG_NOSIGNAL) == (ssize_t)upto);
	for (unsigned int i = 0; i < lines; i++) {
		json_decref(answer(w, fd));
	}
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size ? memchr(data, 0, size) : NULL;
	size_t text = end ? (size_t)(end - data) : size;
	struct world *w = world_get();
	json_t *loaded, *rules;
	int fd;

	if (text > RULES_MAX) {
		return 0;
	}
	put_rules(w, data, text);
	fd = connect_to(w->config.control_socket);
	loaded = ask(w, fd, "{\"op\":\"reload\"}\n");
	if (end) {
		hear(w, end + 1, size - text - 1);
	}
	json_decref(ask(w, fd, "{\"op\":\"stats\"}\n"));
	rules = ask(w, fd, "{\"op\":\"rules\"}\n");
	if (json_is_true(json_object_get(loaded, "ok"))) {
		assert(json_array_size(json_object_get(rules, "refused")) ==
		       (size_t)json_integer_value(json_object_get(loaded, "refused")));
	}
	json_decref(loaded);
	json_decref(rules);
	close(fd);
	return 0;
}

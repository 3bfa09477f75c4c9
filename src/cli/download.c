/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/download.h"

#include "base/time.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define SILENCE_S   600 /* the manager may look through much before it finds something */
#define PROGRESS_NS (BH_NS_PER_S / 2)

struct sink {
	const struct cli_download *what;
	int fd;
	int err;
	uint64_t size, lines;
	bool terminal;
	uint64_t shown_ns;
};

static uint64_t count_of(const struct sink *sink)
{
	return sink->lines > sink->what->head_lines ? sink->lines - sink->what->head_lines : 0;
}

static void show_progress(struct sink *sink)
{
	uint64_t now_ns = bh_time_mono_ns();

	if (sink->what->lines && sink->terminal && now_ns >= sink->shown_ns + PROGRESS_NS) {
		sink->shown_ns = now_ns;
		fprintf(stderr, "\r%llu %s, %llu KiB", (unsigned long long)count_of(sink),
			sink->what->lines, (unsigned long long)sink->size >> 10);
	}
}

static int on_chunk(const char *data, size_t size, void *arg)
{
	struct sink *sink = arg;

	while (size) {
		ssize_t n = write(sink->fd, data, size);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			sink->err = errno;
			return -1;
		}
		for (ssize_t i = 0; i < n; i++) {
			sink->lines += data[i] == '\n';
		}
		data += n;
		size -= (size_t)n;
		sink->size += (uint64_t)n;
	}
	show_progress(sink);
	return 0;
}

static int stream(struct cli *cli, struct sink *sink)
{
	BH_FREE char *path = bh_asprintf("/v1%s", sink->what->path);
	struct cli_stream stream = {
		.path = path, .fn = on_chunk, .arg = sink, .silence_s = SILENCE_S};
	struct cli_client *client = cli_client_of(cli);
	struct cli_response response = {};
	struct bh_diag diag = {};
	int r;

	if (!client) {
		return CLI_EXIT_USAGE;
	}
	r = cli_client_stream(client, &stream, &response, &diag);
	if (sink->shown_ns) {
		fputs("\r\033[K", stderr);
	}
	if (r == -ECANCELED) {
		r = cli_fail(cli, CLI_EXIT_LOCAL, "cannot write: %s", strerror(sink->err));
	} else if (r) {
		r = cli_fail_diag(cli, CLI_EXIT_UNREACHABLE, &diag);
	} else if (response.status != 200) {
		r = cli_refused(cli, &response);
	}
	cli_response_done(&response);
	return r;
}

static void say_end(const struct sink *sink, bool whole)
{
	const char *to = sink->what->file ? sink->what->file : "standard output";

	if (!whole) {
		fprintf(stderr, "bulkhead: %s is not complete: cut off after %llu bytes\n", to,
			(unsigned long long)sink->size);
	} else if (sink->what->lines) {
		fprintf(stderr, "%llu %s\n", (unsigned long long)count_of(sink), sink->what->lines);
	}
}

int cli_download(struct cli *cli, const struct cli_download *what)
{
	struct sink sink = {.what = what, .fd = STDOUT_FILENO, .terminal = isatty(STDERR_FILENO)};
	int r;

	/* It goes on byte by byte, so that it can be verified: nothing for a terminal's eyes. */
	if (!what->file && isatty(STDOUT_FILENO)) {
		return cli_fail(cli, CLI_EXIT_USAGE,
				"this is for a file or a program: give --file FILE, or a pipe");
	}
	if (what->file) {
		sink.fd = open(what->file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (sink.fd < 0) {
			return cli_fail(cli, CLI_EXIT_LOCAL, "%s: %s", what->file, strerror(errno));
		}
	}
	r = stream(cli, &sink);
	if (what->file && (fsync(sink.fd) < 0 || close(sink.fd) < 0) && r == CLI_EXIT_OK) {
		r = cli_fail(cli, CLI_EXIT_LOCAL, "%s: %s", what->file, strerror(errno));
	}
	if (what->file && r != CLI_EXIT_OK && !sink.size) {
		unlink(what->file); /* it would only stand in the way of the next try */
	}
	if (r == CLI_EXIT_OK || sink.size) {
		say_end(&sink, r == CLI_EXIT_OK);
	}
	return r;
}

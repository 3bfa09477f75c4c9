/* SPDX-License-Identifier: Apache-2.0 */
#include "intake_world.h"

#include "base/util.h"

#include <sys/stat.h>

static struct bh_producer_options producer_options(const struct host *host)
{
	return (struct bh_producer_options){.spool = {.dir = host->spool,
						      .producer = INTAKE_HOST,
						      .max_bytes = host->max_bytes}};
}

static void on_stop(uv_async_t *async)
{
	struct host *host = async->data;

	hostd_intake_free(host->intake);
	bh_producer_free(host->producer);
	uv_close((uv_handle_t *)async, NULL);
}

static void *serve(void *arg)
{
	struct host *host = arg;

	uv_run(&host->loop, UV_RUN_DEFAULT);
	return NULL;
}

void host_start(struct host *host)
{
	struct bh_producer_options options = producer_options(host);
	struct hostd_intake_options intake = {.path = host->socket,
					      .host = INTAKE_HOST,
					      .users = host->users,
					      .user_count = host->users[0] != NULL};

	assert_int_equal(uv_loop_init(&host->loop), 0);
	assert_int_equal(uv_async_init(&host->loop, &host->stop, on_stop), 0);
	host->stop.data = host;
	assert_int_equal(bh_producer_new(&host->loop, NULL, &options, &host->producer, NULL), 0);
	intake.producer = host->producer;
	assert_int_equal(hostd_intake_new(&host->loop, &intake, &host->intake, NULL), 0);
	assert_int_equal(pthread_create(&host->thread, NULL, serve, host), 0);
}

void host_stop(struct host *host)
{
	uv_async_send(&host->stop);
	pthread_join(host->thread, NULL);
	assert_int_equal(uv_loop_close(&host->loop), 0);
}

int intake_world_setup(void **state)
{
	struct host *host = bh_alloc(sizeof(*host));
	char folder[] = "/tmp/gate-seam-XXXXXX";

	assert_non_null(mkdtemp(folder));
	assert_int_equal(chmod(folder, 0755), 0);
	host->folder = bh_strdup(folder);
	host->spool = bh_asprintf("%s/spool", folder);
	host->socket = bh_asprintf("%s/events.sock", folder);
	*state = host;
	return 0;
}

int intake_world_teardown(void **state)
{
	struct host *host = *state;
	BH_FREE char *sweep = bh_asprintf("rm -rf '%s'", host->folder);

	assert_int_equal(system(sweep), 0);
	free(host->folder);
	free(host->spool);
	free(host->socket);
	free(host);
	return 0;
}

size_t host_events(const struct host *host, struct bh_event *ret, size_t max, char **ret_text)
{
	const struct bh_spool_options options = {.dir = host->spool, .producer = INTAKE_HOST};
	struct bh_spool_batch batch;
	struct bh_spool *spool = NULL;
	size_t count = 0;

	assert_int_equal(bh_spool_open(&options, &spool, NULL), 0);
	assert_int_equal(bh_spool_peek(spool, max, 1 << 24, &batch, NULL), 0);
	*ret_text = bh_memdup(batch.data, batch.size);
	for (size_t at = 0; at < batch.size; count++) {
		const char *end = memchr(*ret_text + at, '\n', batch.size - at);
		size_t size = end ? (size_t)(end - *ret_text) - at : batch.size - at;
		struct bh_diag diag = {};

		if (bh_event_parse(*ret_text + at, size, &ret[count], &diag)) {
			fail_msg("%s", diag.text);
		}
		assert_int_equal(ret[count].seq,
				 count ? ret[count].is_gap ? ret[count].seq : ret[count - 1].seq + 1
				       : ret[count].seq);
		at += size + 1;
	}
	bh_spool_batch_done(&batch);
	bh_spool_close(spool);
	return count;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "gate_app_world.h"
#include "base/util.h"

#include <assert.h>
#include <netinet/in.h>

void app_world_open(struct app_world *w, uint16_t port, const char *const *set)
{
	struct bh_diag diag = {};
	memset(w, 0, sizeof(*w));
	int r = gate_config_load(NULL, &w->config, &diag);
	assert(!r);
	for (; set && *set; set++) {
		r = gate_config_set(&w->config, *set, &diag);
		assert(!r);
	}
	gate_config_settle(&w->config);
	w->apps = gate_apps_new(&w->config, NULL, NULL);
	w->flow.ip_proto = IPPROTO_TCP;
	w->flow.ip_version = 4;
	w->flow.port[0] = 40000;
	w->flow.port[1] = port;
	w->time_us = 1000000;
}

void app_world_close(struct app_world *w)
{
	gate_session_free(w->apps, w->flow.session);
	assert(!gate_apps_stats(w->apps)->memory);
	gate_apps_free(w->apps);
	gate_config_done(&w->config);
	free(w->kept[0].data);
	free(w->kept[1].data);
}

static uint32_t offer(struct app_world *w, enum gate_dir dir, bool eof)
{
	/* an exact copy, so that a checker sees a read past the end */
	size_t size = w->kept[dir].size;
	uint8_t *copy = malloc(size ? size : 1);
	assert(copy);
	if (size) {
		memcpy(copy, w->kept[dir].data, size);
	}
	struct gate_app_input in = {.data = copy,
				    .size = (uint32_t)size,
				    .offset = w->kept[dir].offset,
				    .eof = eof,
				    .time_us = w->time_us};
	uint32_t n = gate_apps_stream(w->apps, &w->flow, dir, &in);
	assert(n <= size);
	free(copy);
	if (n) {
		memmove(w->kept[dir].data, w->kept[dir].data + n, size - n);
		w->kept[dir].size -= n;
		w->kept[dir].offset += n;
	}
	return n;
}

void app_world_feed(struct app_world *w, enum gate_dir dir, const void *data, size_t size, bool eof)
{
	enum gate_dir other = GATE_DIR_OTHER(dir);
	w->kept[dir].data = bh_realloc_array(w->kept[dir].data, w->kept[dir].size + size + 1, 1);
	if (size) {
		memcpy(w->kept[dir].data + w->kept[dir].size, data, size);
	}
	w->kept[dir].size += size;
	w->time_us += 1000;
	uint32_t n = offer(w, dir, eof);
	if (!n && gate_session_wants(w->flow.session, other)) {
		(void)offer(w, other, false);
		(void)offer(w, dir, eof);
	}
	if (!w->keep_txs) {
		gate_apps_sweep(w->apps, &w->flow, false);
	}
}

void app_world_gap(struct app_world *w, enum gate_dir dir, uint32_t size)
{
	struct gate_app_input in = {
		.data = (const uint8_t *)"", .gap = size, .time_us = w->time_us};
	w->kept[dir].size = 0;
	w->kept[dir].offset += size;
	(void)gate_apps_stream(w->apps, &w->flow, dir, &in);
}

void app_world_datagram(struct app_world *w, enum gate_dir dir, const void *data, size_t size)
{
	uint8_t *copy = bh_memdup(data, size);
	struct gate_packet p = {.flow = &w->flow, .dir = (uint8_t)dir, .time_us = w->time_us};
	p.payload = (struct gate_view){.data = copy, .size = (uint32_t)size};
	w->time_us += 1000;
	gate_apps_datagram(w->apps, &w->flow, &p);
	free(copy);
}

void app_world_pieces(struct app_world *w, enum gate_dir dir, const void *data, size_t size,
		      size_t step)
{
	for (size_t at = 0; at < size;) {
		size_t n = !step || size - at < step ? size - at : step;
		app_world_feed(w, dir, (const uint8_t *)data + at, n, false);
		at += n;
	}
}

static void print_bytes(FILE *f, const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (data[i] >= ' ' && data[i] < 0x7f && data[i] != '\\') {
			fputc(data[i], f);
		} else {
			fprintf(f, "\\x%02x", data[i]);
		}
	}
}

static void dump_dir(struct app_world *w, FILE *f, struct gate_tx *tx, enum gate_dir dir)
{
	struct gate_session *session = w->flow.session;
	for (unsigned int b = 1; b < GATE_BUF_COUNT; b++) {
		const struct gate_buffer_desc *desc = gate_buffer_desc((enum gate_buffer)b);
		struct gate_buffer_view v = {};
		uint32_t max = desc->flags & GATE_BUFFER_MULTI ? 64 : 1;
		if (!(desc->dirs & GATE_DIR_BIT(dir)) || (desc->flags & GATE_BUFFER_PACKET) ||
		    tx->progress[dir] < desc->progress[dir]) {
			continue;
		}
		for (uint32_t i = 0; i < max; i++) {
			if (!gate_tx_buffer(session, tx, dir, (enum gate_buffer)b, i, &v)) {
				break;
			}
			fprintf(f, "%c %s[%u]%s %lu \"", dir ? '<' : '>', desc->name, i,
				v.complete ? "" : "..", (unsigned long)v.offset);
			print_bytes(f, v.data, v.size);
			fprintf(f, "\"\n");
		}
	}
	for (unsigned int n = 1; n < GATE_NUM_COUNT; n++) {
		const struct gate_buffer_desc *desc = gate_number_desc((enum gate_number)n);
		const struct gate_app_ops *ops = gate_session_ops(session);
		uint64_t value = 0;
		for (uint32_t i = 0; ops->number && i < 64; i++) {
			if (!(desc->dirs & GATE_DIR_BIT(dir)) ||
			    tx->progress[dir] < desc->progress[dir] ||
			    !ops->number(tx, dir, (enum gate_number)n, i, &value)) {
				break;
			}
			fprintf(f, "%c %s[%u] %lu\n", dir ? '<' : '>', desc->name, i,
				(unsigned long)value);
		}
	}
	for (const struct gate_file *file = tx->files[dir].first; file; file = file->next) {
		fprintf(f, "%c file \"%s\" state %u size %lu\n", dir ? '<' : '>', file->name,
			file->state, (unsigned long)file->size);
	}
}

static int compare_events(const void *a, const void *b)
{
	return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

char *app_world_dump(struct app_world *w)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);
	assert(f);
	fprintf(f, "app %s\n", gate_app_name((enum gate_app)w->flow.app));
	struct gate_tx *tx = w->flow.session ? gate_session_first(w->flow.session) : NULL;
	for (; tx; tx = tx->next) {
		const struct gate_app_ops *ops = gate_session_ops(w->flow.session);
		uint16_t events[GATE_TX_EVENTS_MAX];
		fprintf(f, "tx %lu progress %u %u done %u\n", (unsigned long)tx->id,
			tx->progress[0], tx->progress[1], tx->done_dirs);
		memcpy(events, tx->events, sizeof(events));
		qsort(events, tx->event_count, sizeof(events[0]), compare_events);
		for (unsigned int i = 0; i < tx->event_count; i++) {
			fprintf(f, "event %s\n", ops->events[events[i]].name);
		}
		dump_dir(w, f, tx, GATE_TO_SERVER);
		dump_dir(w, f, tx, GATE_TO_CLIENT);
	}
	fclose(f);
	return text;
}

static struct gate_tx *nth(struct app_world *w, unsigned int n)
{
	struct gate_tx *tx = w->flow.session ? gate_session_first(w->flow.session) : NULL;
	while (tx && n) {
		tx = tx->next;
		n--;
	}
	return tx;
}

bool app_world_has_event(struct app_world *w, unsigned int n, const char *name)
{
	const struct gate_tx *tx = nth(w, n);
	for (unsigned int i = 0; tx && i < tx->event_count; i++) {
		if (!strcmp(gate_session_ops(w->flow.session)->events[tx->events[i]].name, name)) {
			return true;
		}
	}
	return false;
}

char *app_world_buffer(struct app_world *w, unsigned int n, enum gate_dir dir,
		       enum gate_buffer buffer, uint32_t index)
{
	struct gate_tx *tx = nth(w, n);
	struct gate_buffer_view v = {};
	if (!tx || !gate_tx_buffer(w->flow.session, tx, dir, buffer, index, &v)) {
		return bh_strdup("(none)");
	}
	char *text = bh_alloc(v.size + 1);
	if (v.size) {
		memcpy(text, v.data, v.size);
	}
	return text;
}

char *app_world_record(struct app_world *w, unsigned int n)
{
	const struct gate_tx *tx = nth(w, n);
	char *text = NULL;
	struct gate_jw jw;
	gate_jw_init(&jw);
	gate_jw_object(&jw, NULL);
	if (tx && gate_session_ops(w->flow.session)->log_tx(tx, &jw)) {
		gate_jw_end(&jw);
		text = bh_asprintf("%.*s", (int)jw.size, (const char *)jw.data);
	}
	gate_jw_done(&jw);
	return text ? text : bh_strdup("(none)");
}

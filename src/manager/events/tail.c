/* SPDX-License-Identifier: Apache-2.0 */
/* The newest events in memory, so that followers that keep up cost no reading. */
#include "manager/events/events.h"
#include "manager/events/view.h"

void manager_row_of(const struct manager_event_row *event, struct manager_row *ret)
{
	*ret = (struct manager_row){
		.wall_ns = event->wall_ns,
		.src_tenant = event->src_tenant,
		.dst_tenant = event->dst_tenant,
		.severity = (uint8_t)event->severity,
		.vm_end = event->vm_end,
		.type = event->type,
		.host = event->host,
		.vm = event->vm,
		.peer = event->peer,
		.verdict = event->verdict,
		.body = event->body,
		.body_size = strlen(event->body),
	};
}

static void drop_oldest(struct manager_tail *tail)
{
	struct manager_event_row *row = &tail->rows[tail->head];

	tail->bytes -= strlen(row->body);
	free(bh_steal(&row->body));
	tail->head = (tail->head + 1) % MANAGER_TAIL_ROWS;
	tail->count--;
	tail->first_id++;
}

/* Takes over the body. */
void manager_tail_put(struct manager_tail *tail, uint64_t id, struct manager_event_row *row)
{
	size_t size = strlen(row->body);

	if (!tail->rows) {
		tail->rows = bh_alloc_array(MANAGER_TAIL_ROWS, sizeof(*tail->rows));
	}
	while (tail->count == MANAGER_TAIL_ROWS ||
	       (tail->count && tail->bytes + size > MANAGER_TAIL_BYTES)) {
		drop_oldest(tail);
	}
	if (!tail->count) {
		tail->first_id = id;
	}
	tail->rows[(tail->head + tail->count) % MANAGER_TAIL_ROWS] = *row;
	row->body = NULL;
	tail->count++;
	tail->bytes += size;
}

void manager_tail_done(struct manager_tail *tail)
{
	while (tail->count) {
		drop_oldest(tail);
	}
	free(bh_steal(&tail->rows));
}

static bool passes(const struct manager_event_filter *f, const char *text)
{
	struct bh_jtext event;

	return !f->query.count || (bh_jtext_parse(text, strlen(text), &event, NULL) == 0 &&
				   manager_query_matches(&f->query, &event));
}

bool manager_tail_list(const struct manager_tail *tail, const struct manager_event_filter *f,
		       manager_event_fn *fn, void *arg, uint64_t *ret_scanned)
{
	uint32_t found = 0;
	struct bh_wbuf view;

	*ret_scanned = f->after;
	if (!tail->count || f->after + 1 < tail->first_id) {
		return false;
	}
	bh_wbuf_init(&view, 0);
	for (uint64_t id = f->after + 1; id < tail->first_id + tail->count && found < f->limit;
	     id++) {
		size_t at = (tail->head + (size_t)(id - tail->first_id)) % MANAGER_TAIL_ROWS;
		struct manager_row row;
		const char *text;

		manager_row_of(&tail->rows[at], &row);
		*ret_scanned = id;
		if (!manager_filter_passes(f, &row)) {
			continue;
		}
		text = manager_event_view(manager_filter_scope_of(f, &row), &row, &view);
		if (text && passes(f, text)) {
			fn(id, row.type, text, arg);
			found++;
		}
	}
	bh_wbuf_done(&view);
	return true;
}

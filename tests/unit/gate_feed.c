/* SPDX-License-Identifier: Apache-2.0 */
#include "gate_feed.h"
#include "gate_app_world.h"
#include "gate_frame_look.h"
#include "base/util.h"

#include <assert.h>
#include <jansson.h>
#include <netinet/in.h>

static void print_records(struct app_world *w, FILE *f)
{
	struct gate_tx *tx = w->flow.session ? gate_session_first(w->flow.session) : NULL;
	for (; tx; tx = tx->next) {
		const struct gate_app_ops *ops = gate_session_ops(w->flow.session);
		struct gate_jw jw;
		if (!ops->log_tx) {
			continue;
		}
		gate_jw_init(&jw);
		gate_jw_object(&jw, NULL);
		if (ops->log_tx(tx, &jw)) {
			gate_jw_end(&jw);
			json_t *json =
				jw.ok ? json_loadb(jw.data, jw.size, JSON_ALLOW_NUL, NULL) : NULL;
			assert(json || !jw.ok);
			json_decref(json);
			fprintf(f, "record %.*s\n", (int)jw.size, jw.data);
		}
		gate_jw_done(&jw);
	}
}

static void say(struct app_world *w, bool udp, enum gate_dir dir, const struct gate_view *bytes,
		size_t step)
{
	if (udp) {
		app_world_datagram(w, dir, bytes->data, bytes->size);
	} else {
		app_world_pieces(w, dir, bytes->data, bytes->size, step);
	}
}

char *gate_feed(enum gate_app app, const uint8_t *data, size_t size, size_t step)
{
	struct app_world w;
	char *text = NULL;
	size_t text_size = 0, at = 3;
	bool udp = size && (data[0] & 1);
	app_world_open(&w, size >= 3 ? (uint16_t)(data[1] << 8 | data[2]) : 0, NULL);
	w.keep_txs = true;
	gate_frames_want(w.apps, step ? UINT64_MAX : 0); /* what they are is the same with frames */
	w.flow.app_expected = (uint16_t)app;
	if (udp) {
		w.flow.ip_proto = IPPROTO_UDP;
		/* datagrams are asked for their protocol: here it is known */
		w.flow.app_expected = GATE_APP_UNKNOWN;
	}
	while (size > 3 && size - at >= 3) {
		struct gate_view bytes = {.data = data + at + 3};
		bytes.size = (uint32_t)data[at + 1] << 8 | data[at + 2];
		bytes.size = bytes.size < size - at - 3 ? bytes.size : (uint32_t)(size - at - 3);
		say(&w, udp, data[at] & 1 ? GATE_TO_CLIENT : GATE_TO_SERVER, &bytes, step);
		gate_frame_look(w.flow.session);
		at += 3 + bytes.size;
	}
	if (!udp) {
		app_world_feed(&w, GATE_TO_SERVER, "", 0, true);
		app_world_feed(&w, GATE_TO_CLIENT, "", 0, true);
	}
	FILE *f = open_memstream(&text, &text_size);
	assert(f);
	char *dump = app_world_dump(&w);
	fputs(dump, f);
	free(dump);
	print_records(&w, f);
	fclose(f);
	app_world_close(&w);
	return text;
}

int gate_feed_fuzz(enum gate_app app, const uint8_t *data, size_t size)
{
	free(gate_feed(app, data, size, 0));
	/* in pieces only what is short: time goes with the square of it */
	if (size && !(data[0] & 1) && size < 4096) {
		free(gate_feed(app, data, size, 7));
	}
	return 0;
}

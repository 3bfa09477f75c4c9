/* SPDX-License-Identifier: Apache-2.0 */
/* The `stats` record. */
#include "gate/output/eve.h"

#include <time.h>

static void put_time(struct gate_jw *jw, const char *key, uint64_t now_us)
{
	time_t second = (time_t)(now_us / 1000000);
	struct tm tm = {};
	char text[64];
	size_t size;

	gmtime_r(&second, &tm);
	size = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + size, sizeof(text) - size, ".%06u+0000", (unsigned int)(now_us % 1000000));
	gate_jw_text(jw, key, text);
}

void gate_eve_stats(struct gate_out *out, const struct gate_stats *stats, uint64_t now_us)
{
	struct gate_jw jw;

	gate_jw_init(&jw);
	gate_jw_object(&jw, NULL);
	put_time(&jw, "timestamp", now_us);
	gate_jw_text(&jw, "event_type", "stats");
	gate_jw_object(&jw, "stats");
	gate_jw_uint(&jw, "uptime",
		     now_us > stats->start_us ? (now_us - stats->start_us) / 1000000 : 0);
	if (stats->rules_loaded_us) {
		put_time(&jw, "rules_loaded_at", stats->rules_loaded_us);
	}
	gate_stats_write(stats, &jw);
	gate_jw_end(&jw);
	gate_jw_end(&jw);
	if (jw.ok) {
		jw.comma = false;
		gate_jw_raw(&jw, NULL, "\n", 1);
		gate_out_put(out, jw.data, jw.size);
	}
	gate_jw_done(&jw);
}

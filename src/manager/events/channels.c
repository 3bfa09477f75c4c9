/* SPDX-License-Identifier: Apache-2.0 */
/* The list of channels, and where it is kept. */
#include "manager/events/channel_run.h"

#include "base/json.h"
#include "base/log.h"
#include "base/time.h"

#include <errno.h>
#include <utlist.h>

#define RETRY_FIRST_MS 1000u

struct channel {
	char name[BH_NAME_MAX + 1];
	struct channel_run *runner;
	bool run_started;
	struct channel *prev, *next;
};

struct manager_channels {
	struct manager_channels_options o;
	char *path;
	struct manager_db *db;
	struct channel *list;
	struct channel_run *retired;
	char instance[17];
	size_t count;
};

/* ---- runs ---- */

/* Those that have ended are waited for, which takes no time then. */
static void bury(struct manager_channels *all, bool wait)
{
	struct channel_run *run, *tmp;

	DL_FOREACH_SAFE(all->retired, run, tmp)
	{
		if (wait || atomic_load(&run->ended)) {
			DL_DELETE(all->retired, run);
			manager_channel_free(run);
		}
	}
}

static void retire(struct manager_channels *all, struct channel *c)
{
	if (c->run_started) {
		manager_channel_stop(c->runner);
		DL_APPEND(all->retired, c->runner);
	} else if (c->runner) {
		manager_channel_settings_done(&c->runner->settings);
		free(c->runner->db_path);
		free(c->runner->events_path);
		free(c->runner);
	}
	c->runner = NULL;
	c->run_started = false;
}

/* With these settings, which are taken over, from where the report stands. */
static int begin(struct manager_channels *all, struct channel *c,
		 struct manager_channel_settings *settings, const struct channel_report *report,
		 struct bh_diag *diag)
{
	struct channel_run *run = bh_alloc(sizeof(*run));
	int r = 0;

	run->settings = *settings;
	memset(settings, 0, sizeof(*settings));
	run->db_path = bh_strdup(all->path);
	run->events_path = bh_strdup(manager_events_path(all->o.events));
	memcpy(run->instance, all->instance, sizeof(run->instance));
	if (gethostname(run->hostname, sizeof(run->hostname) - 1) < 0) {
		*run->hostname = '\0';
	}
	run->retry_first_ms = all->o.retry_first_ms ? all->o.retry_first_ms : RETRY_FIRST_MS;
	run->report = *report;
	run->last = manager_events_last(all->o.events);
	c->runner = run;
	if (run->settings.enabled) {
		r = manager_channel_start(run, diag);
		c->run_started = r == 0;
	}
	return r;
}

static struct channel *find(const struct manager_channels *all, const char *name)
{
	struct channel *c;

	DL_FOREACH (all->list, c) {
		if (strcmp(c->name, name) == 0) {
			return c;
		}
	}
	return NULL;
}

static struct channel_report report_of(const struct channel *c)
{
	struct channel_report report;

	if (!c->run_started) {
		return c->runner->report;
	}
	pthread_mutex_lock(&c->runner->lock);
	report = c->runner->report;
	pthread_mutex_unlock(&c->runner->lock);
	return report;
}

static void on_commit(void *arg)
{
	struct manager_channels *all = arg;
	struct channel *c;

	bury(all, false);
	DL_FOREACH (all->list, c) {
		if (c->run_started) {
			manager_channel_wake(c->runner, manager_events_last(all->o.events), false);
		}
	}
}

/* ---- what people do ---- */

static int save(struct manager_channels *all, const struct manager_channel_settings *s,
		uint64_t cursor, struct bh_diag *diag)
{
	BH_JSON json_t *json = manager_channel_dump(s, true);
	BH_FREE char *text = bh_json_dump(json);

	return manager_db_run(all->db, diag,
			      "INSERT INTO channels VALUES (?1, ?2, ?3, 0, 0) ON CONFLICT (name)"
			      " DO UPDATE SET settings = ?2",
			      "tti", s->name, text, (int64_t)cursor);
}

int manager_channels_put(struct manager_channels *all, struct manager_channel_settings *settings,
			 bool from_now, struct bh_diag *diag)
{
	struct channel *c = find(all, settings->name);
	struct channel_report report = {};
	int r;

	if (!c && all->count == MANAGER_CHANNELS_MAX) {
		return bh_diag_set(diag, -EINVAL, "there can be %u channels", MANAGER_CHANNELS_MAX);
	}
	if (c) {
		report = report_of(c);
		*report.last_error = '\0';
		report.next_try_ns = 0;
	} else {
		report.cursor = from_now ? manager_events_last(all->o.events) : 0;
	}
	r = save(all, settings, report.cursor, diag);
	if (r < 0) {
		return r;
	}
	if (c) {
		retire(all, c);
	} else {
		c = bh_alloc(sizeof(*c));
		snprintf(c->name, sizeof(c->name), "%s", settings->name);
		DL_APPEND(all->list, c);
		all->count++;
	}
	return begin(all, c, settings, &report, diag);
}

static void drop(struct manager_channels *all, struct channel *c)
{
	retire(all, c);
	DL_DELETE(all->list, c);
	all->count--;
	free(c);
}

int manager_channels_remove(struct manager_channels *all, const char *name, struct bh_diag *diag)
{
	struct channel *c = find(all, name);
	int r;

	if (!c) {
		return bh_diag_set(diag, -ENOENT, "there is no channel '%.80s'", name);
	}
	r = manager_db_run(all->db, diag, "DELETE FROM channels WHERE name = ?1", "t", name);
	if (r == 0) {
		drop(all, c);
	}
	return r;
}

int manager_channels_poke(struct manager_channels *all, const char *name)
{
	struct channel *c = find(all, name);

	if (!c) {
		return -ENOENT;
	}
	if (c->run_started) {
		manager_channel_wake(c->runner, manager_events_last(all->o.events), true);
	}
	return 0;
}

const struct manager_channel_settings *manager_channels_settings(const struct manager_channels *all,
								 const char *name)
{
	const struct channel *c = find(all, name);

	return c ? &c->runner->settings : NULL;
}

/* ---- what people see ---- */

static json_t *show(const struct manager_channels *all, const struct channel *c)
{
	json_t *obj = manager_channel_dump(&c->runner->settings, false);
	struct channel_report report = report_of(c);
	uint64_t last = manager_events_last(all->o.events);
	json_t *error = *report.last_error ? json_string(report.last_error) : json_null();

	json_object_set_new(obj, "state",
			    json_string(!c->run_started	     ? "off"
					: *report.last_error ? "failing"
							     : "up"));
	json_object_set_new(obj, "delivered", json_integer((json_int_t)report.delivered));
	json_object_set_new(
		obj, "queued",
		json_integer((json_int_t)(last > report.cursor ? last - report.cursor : 0)));
	json_object_set_new(obj, "gave_up", json_integer((json_int_t)report.gave_up));
	json_object_set_new(obj, "retries", json_integer((json_int_t)report.retries));
	json_object_set_new(obj, "last_error",
			    error ? error : json_string("(not readable as text)"));
	json_object_set_new(obj, "last_delivery", bh_json_time_or_null(report.last_delivery_ns));
	json_object_set_new(obj, "next_try", bh_json_time_or_null(report.next_try_ns));
	json_object_set_new(obj, "cursor", json_integer((json_int_t)report.cursor));
	return obj;
}

json_t *manager_channels_get(const struct manager_channels *all, const char *name)
{
	const struct channel *c = find(all, name);

	return c ? show(all, c) : NULL;
}

json_t *manager_channels_list(const struct manager_channels *all)
{
	json_t *list = json_array();
	const struct channel *c;

	DL_FOREACH (all->list, c) {
		json_array_append_new(list, show(all, c));
	}
	return list;
}

/* ---- life ---- */

static int load_channel(sqlite3_stmt *row, void *arg)
{
	struct manager_channels *all = arg;
	const char *text = manager_db_text(row, 1);
	struct channel *c = bh_alloc(sizeof(*c));
	struct channel_report report = {.cursor = (uint64_t)sqlite3_column_int64(row, 2),
					.delivered = (uint64_t)sqlite3_column_int64(row, 3),
					.gave_up = (uint64_t)sqlite3_column_int64(row, 4)};
	struct manager_channel_settings settings;
	BH_JSON json_t *json = NULL;
	struct bh_diag diag = {};
	int r = bh_json_load(text, strlen(text), 0, &json, &diag);

	snprintf(c->name, sizeof(c->name), "%s", manager_db_text(row, 0));
	if (r == 0) {
		r = manager_channel_read(json, c->name, NULL, &settings, &diag);
	}
	if (r == 0) {
		r = begin(all, c, &settings, &report, &diag);
	}
	if (r < 0) {
		bh_log(BH_LOG_ERROR, "channels", "%s: %s", c->name, diag.text);
		retire(all, c);
		free(c);
		return 0;
	}
	DL_APPEND(all->list, c);
	all->count++;
	return 0;
}

static int take_instance(sqlite3_stmt *row, void *arg)
{
	struct manager_channels *all = arg;

	snprintf(all->instance, sizeof(all->instance), "%s", manager_db_text(row, 0));
	return 1;
}

/* Tells events of this manager from those of others; made once. */
static int find_instance(struct manager_channels *all, struct bh_diag *diag)
{
	uint8_t uuid[16];
	char text[17];
	int r;

	bh_uuid_random(uuid);
	bh_hex_format(uuid, 8, text);
	r = manager_db_run(all->db, diag, "INSERT OR IGNORE INTO meta VALUES ('instance', ?1)", "t",
			   text);
	if (r == 0) {
		r = manager_db_each(all->db, (struct manager_db_each){take_instance, all}, diag,
				    "SELECT value FROM meta WHERE name = 'instance'", "");
	}
	return r > 0 ? 0 : r;
}

int manager_channels_open(const struct manager_channels_options *options,
			  struct manager_channels **ret, struct bh_diag *diag)
{
	struct manager_channels *all = bh_alloc(sizeof(*all));
	int r;

	all->o = *options;
	all->path = bh_strdup(options->path);
	r = manager_db_open(options->path, manager_channels_migrations, MANAGER_CHANNELS_SCHEMA,
			    &all->db, diag);
	if (r == 0) {
		r = find_instance(all, diag);
	}
	if (r == 0) {
		r = manager_db_each(
			all->db, (struct manager_db_each){load_channel, all}, diag,
			"SELECT name, settings, cursor, delivered, gave_up FROM channels", "");
	}
	if (r < 0) {
		manager_channels_close(all);
		return r;
	}
	manager_events_watch(options->events, on_commit, all);
	*ret = all;
	return 0;
}

void manager_channels_close(struct manager_channels *all)
{
	if (!all) {
		return;
	}
	manager_events_unwatch(all->o.events, on_commit, all);
	while (all->list) {
		drop(all, all->list);
	}
	bury(all, true);
	manager_db_close(all->db);
	free(all->path);
	free(all);
}

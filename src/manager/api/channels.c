/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/channels: where events go to. */
#include "manager/api/request.h"

#include "base/json.h"
#include "base/time.h"
#include "manager/events/channels.h"

static void list_channels(struct manager_request *req)
{
	manager_reply(req, 200,
		      json_pack("{s:o}", "items", manager_channels_list(req->parts->channels)));
}

static void reply_channel(struct manager_request *req, unsigned int status)
{
	const char *name = req->segments[1];
	json_t *channel = manager_channels_get(req->parts->channels, name);

	if (channel) {
		manager_reply(req, status, channel);
	} else {
		manager_reply_errorf(req, 404, "not_found", "there is no channel '%.80s'", name);
	}
}

static void get_channel(struct manager_request *req)
{
	reply_channel(req, 200);
}

/* For the record: what it is set to, without secrets; NULL when there is none. Owned. */
static json_t *channel_state(struct manager_request *req)
{
	const struct manager_channel_settings *s =
		manager_channels_settings(req->parts->channels, req->segments[1]);

	return s ? manager_channel_dump(s, false) : NULL;
}

static void channel_changed(struct manager_request *req, json_t *before)
{
	BH_FREE char *object = bh_asprintf("channel/%s", req->segments[1]);

	manager_request_changed(req, MANAGER_PROVIDER, object, before, channel_state(req));
}

/* A channel takes what happens at all tenants out of here. */
static bool takes_out_all(struct manager_request *req)
{
	if (manager_request_holds_all(req, VERB_EVENT_EXPORT) &&
	    manager_request_holds_all(req, VERB_FLOW_READ)) {
		return true;
	}
	manager_reply_errorf(req, 403, "forbidden",
			     "a channel carries events of all tenants: who sets one has to hold "
			     "event.export and flow.read at all of them (security-officer at *)");
	return false;
}

/* Secrets and keys that the body leaves out stay as they are. `from`: only for a new one. */
static void put_channel(struct manager_request *req)
{
	static const char *const known[] = {"kind",   "format", "enabled", "url",
					    "filter", "secret", "ca",	   "certificate",
					    "key",    "from",	NULL};
	struct manager_channels *channels = req->parts->channels;
	const char *name = req->segments[1];
	const struct manager_channel_settings *old = manager_channels_settings(channels, name);
	BH_JSON json_t *body = manager_request_json(req, known, false);
	BH_JSON json_t *before = channel_state(req);
	struct manager_channel_settings settings;
	struct bh_diag diag = {};
	const char *from;
	int r;

	if (!body || !takes_out_all(req)) {
		return;
	}
	from = bh_json_str_or(body, "from", "now");
	if (strcmp(from, "now") != 0 && strcmp(from, "oldest") != 0) {
		manager_reply_errorf(req, 400, "bad_request", "'from' must be now or oldest");
		return;
	}
	r = manager_channel_read(body, name, old, &settings, &diag);
	if (r == 0) {
		r = manager_channels_put(channels, &settings, *from == 'n', &diag);
		manager_channel_settings_done(&settings);
	}
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
		return;
	}
	channel_changed(req, json_incref(before));
	manager_request_detail(req, "channel %s", name);
	reply_channel(req, old ? 200 : 201);
}

static void delete_channel(struct manager_request *req)
{
	BH_JSON json_t *before = channel_state(req);
	struct bh_diag diag = {};
	int r = manager_channels_remove(req->parts->channels, req->segments[1], &diag);

	if (r < 0) {
		manager_reply_failed(req, r, &diag);
		return;
	}
	channel_changed(req, json_incref(before));
	manager_reply_nothing(req);
}

/* An event of its own goes through all channels whose filter lets it. */
static void test_channel(struct manager_request *req)
{
	const char *name = req->segments[1];

	if (manager_channels_poke(req->parts->channels, name) < 0) {
		manager_reply_errorf(req, 404, "not_found", "there is no channel '%.80s'", name);
		return;
	}
	manager_events_own(req->parts->events, "channel.test", BH_SEVERITY_CRITICAL,
			   json_pack("{s:s, s:s}", "channel", name, "who", req->who));
	reply_channel(req, 200);
}

const struct manager_route manager_routes_channels[] = {
	{"GET", "channels", list_channels, VERB_SETTINGS_READ, OBJECT_SYSTEM, 0, NULL, NULL},
	{"GET", "channels/*", get_channel, VERB_SETTINGS_READ, OBJECT_SYSTEM, 0, NULL, NULL},
	{"PUT", "channels/*", put_channel, VERB_CHANNEL_WRITE, OBJECT_SYSTEM, API_AUDIT,
	 "channel.write", NULL},
	{"DELETE", "channels/*", delete_channel, VERB_CHANNEL_WRITE, OBJECT_SYSTEM, API_AUDIT,
	 "channel.delete", NULL},
	{"POST", "channels/*:test", test_channel, VERB_CHANNEL_WRITE, OBJECT_SYSTEM, API_AUDIT,
	 "channel.test", NULL},
	{},
};

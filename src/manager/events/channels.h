/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channels: events on their way to other systems.
 *
 * Theory of operation
 *   A channel reads the archive from its cursor on, a worker at a time, makes messages of what its
 *   filter lets through, and hands them to its transport: syslog over TLS (RFC 5424, 5425 octet
 *   counting) or a webhook (HTTPS POST of JSON lines, signed with HMAC-SHA256). The cursor moves on
 *   disk after the receiver has taken a batch (webhook: a 2xx answer; syslog: the bytes were taken
 *   by the other end's kernel and the connection still stands a moment later, which is all that
 *   protocol can say). So a kill loses nothing and may repeat a batch; every message has the
 *   event's id, `bulkhead-<instance>-<id>`, by which a receiver can tell. What a receiver does not
 *   take is tried again after 1 s, 2 s, ... 5 minutes for ever; only what is refused for good (a
 *   4xx answer other than 408, 425, 429) is given up and counted after a few tries, as are events
 *   that the archive has dropped meanwhile. Nothing waits in memory but one batch per channel, and
 *   each has a thread of its own, so a dead receiver costs nothing and holds up nobody.
 *
 * Channels have everything in scope: they are the provider's. Loop thread only, threads inside.
 */
#ifndef BH_MANAGER_EVENTS_CHANNELS_H
#define BH_MANAGER_EVENTS_CHANNELS_H

#include "manager/events/events.h"

#define MANAGER_CHANNELS_MAX	    16u
#define MANAGER_CHANNEL_BATCH	    200u
#define MANAGER_CHANNEL_BYTES	    (1u << 20) /* of a batch */
#define MANAGER_CHANNEL_RETRY_MAX_S 300u

enum manager_channel_kind { MANAGER_CHANNEL_SYSLOG, MANAGER_CHANNEL_WEBHOOK };
enum manager_channel_format {
	MANAGER_FORMAT_ECS, /* JSON with names of the Elastic Common Schema */
	MANAGER_FORMAT_CEF, /* ArcSight's Common Event Format */
	MANAGER_FORMAT_RAW, /* the event's own JSON */
};

struct manager_channel_settings {
	char name[BH_NAME_MAX + 1];
	enum manager_channel_kind kind;
	enum manager_channel_format format;
	bool enabled;
	char url[512];	  /* https://...; syslog: tls://host:6514 */
	char secret[129]; /* webhook: of the signature; "" unsigned */
	char *ca;	  /* PEM of who signs the receiver's certificate; NULL: the system's */
	char *cert, *key; /* PEM of ours, when the receiver wants one; NULL none */
	char type[BH_EVENT_TYPE_MAX + 2]; /* of the filter, as in manager_event_filter */
	int severity;
	char query[MANAGER_QUERY_SIZE_MAX + 1];
};
/* From the API's body, and from what is kept. old: what secrets and keys are when the body does not
 * say them; may be NULL. -EINVAL with words. */
[[nodiscard]] int manager_channel_read(const json_t *json, const char *name,
				       const struct manager_channel_settings *old,
				       struct manager_channel_settings *ret, struct bh_diag *diag);
void manager_channel_settings_done(struct manager_channel_settings *settings);
/* What manager_channel_read() takes, or without secrets for people; owned. */
json_t *manager_channel_dump(const struct manager_channel_settings *settings, bool secrets);

struct manager_channels;
struct manager_channels_options {
	uv_loop_t *loop;
	const char *path; /* of channels.db */
	struct manager_events *events;
	unsigned int retry_first_ms; /* 0: 1000 */
};
[[nodiscard]] int manager_channels_open(const struct manager_channels_options *options,
					struct manager_channels **ret, struct bh_diag *diag);
/* Waits for workers (each has an end in time). NULL is fine. */
void manager_channels_close(struct manager_channels *channels);

/* Makes or changes; takes over what settings owns. from_now: a new one begins with the next event,
 * else with the oldest that is there. */
[[nodiscard]] int manager_channels_put(struct manager_channels *channels,
				       struct manager_channel_settings *settings, bool from_now,
				       struct bh_diag *diag);
/* -ENOENT when there is none. */
[[nodiscard]] int manager_channels_remove(struct manager_channels *channels, const char *name,
					  struct bh_diag *diag);
/* {"name", "kind", "format", "enabled", "url", "filter": {}, "signed", "own_ca", "own_certificate",
 * "state": "up" | "failing" | "off", "delivered", "queued", "gave_up", "retries",
 * "last_error", "last_delivery", "next_try", "cursor"}; owned. NULL: no such. No secrets. */
json_t *manager_channels_get(const struct manager_channels *channels, const char *name);
json_t *manager_channels_list(const struct manager_channels *channels);
const struct manager_channel_settings *
manager_channels_settings(const struct manager_channels *channels, const char *name);
/* Tries again at once. -ENOENT. */
[[nodiscard]] int manager_channels_poke(struct manager_channels *channels, const char *name);

/* ---- messages (channel_format.c); pure ---- */
struct manager_message {
	const char *instance; /* of this manager: letters, digits, '-' */
	uint64_t id;
	const struct manager_row *row;
};
void manager_format_ecs(const struct manager_message *m, struct bh_wbuf *w);
void manager_format_cef(const struct manager_message *m, struct bh_wbuf *w);
void manager_format_raw(const struct manager_message *m, struct bh_wbuf *w);
/* RFC 5424 with the length in front; text: the message. */
void manager_format_syslog(const struct manager_message *m, const char *hostname,
			   const struct bh_wbuf *text, struct bh_wbuf *w);

/* ---- transports; blocking, in the channel's thread, with an end in time ---- */
enum { MANAGER_SENT = 0, MANAGER_REFUSED = 1 /* for good: trying again is no use */ };
struct manager_transport {
	const struct manager_channel_settings *settings; /* borrowed, as the others */
	const char *instance;
	const atomic_bool *stop; /* true: sending ends soon with -ECANCELED */
	void *state;		 /* the connection, kept between batches */
};
/* count events from `first` on. MANAGER_SENT, MANAGER_REFUSED, or < 0: try again. */
[[nodiscard]] int manager_syslog_send(struct manager_transport *transport,
				      const struct bh_wbuf *batch, struct bh_diag *diag);
void manager_syslog_drop(struct manager_transport *transport);
[[nodiscard]] int manager_webhook_send(struct manager_transport *transport,
				       const struct bh_wbuf *batch, uint64_t first, uint64_t last,
				       struct bh_diag *diag);
void manager_webhook_drop(struct manager_transport *transport);
/* Hex of HMAC-SHA256 over "<time>.<body>". */
void manager_webhook_sign(const char *secret, uint64_t time_s, const struct bh_wbuf *body,
			  char ret[65]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "host/agent/intake.h"

#include "base/counter.h"
#include "base/ctl.h"
#include "base/jtext.h"
#include "base/time.h"
#include "base/util.h"
#include "model/event.h"

#include <errno.h>
#include <pwd.h>

#define PREFIX	   "gate."
#define LOST_MAX   (1u << 30)
#define EVENTS_MAX 1024
#define STAMP_MAX  256 /* bytes that the spool puts before an event: its members v to seq */
#define OURS_MAX   8   /* members of an event that it or we write */
#define RUN_SIZE   40

BH_COUNTER(intake_events, "events of programs beside hostd");
BH_COUNTER(intake_refused, "events of programs beside hostd that do not read as one");
BH_COUNTER(intake_repeated, "requests of such programs that were there already: answered again");
BH_COUNTER(intake_wrong, "requests of programs beside hostd that are none");
BH_COUNTER(intake_busy, "times such programs had to wait: the spool was more than half full");

/* The last request of a program that was taken, and what it was answered. */
struct answered {
	char run[RUN_SIZE];
	json_int_t number, taken, refused;
};

struct hostd_intake {
	struct bh_ctl_server *ctl;
	struct bh_producer *producer;
	char *host;
	unsigned int *users;
	struct answered answered[HOSTD_INTAKE_RUNS_MAX]; /* the latest first */
	struct bh_wbuf event;
	char text[BH_EVENT_SIZE_MAX];
};

/* What only hostd and the manager say, or what is written anew. */
static bool is_ours(const struct bh_jtext *j, const struct bh_jtext_member *m)
{
	static const char *const ours[] = {"v",	   "producer", "epoch",	   "seq",
					   "time", "type",     "severity", "host",
					   "vm",   "vm_name",  "nic"};

	for (size_t i = 0; i < BH_ARRAY_SIZE(ours); i++) {
		if (bh_jtext_key_is(j, m, ours[i])) {
			return true;
		}
	}
	return false;
}

static bool take(struct hostd_intake *in, const json_t *event)
{
	size_t size = json_dumpb(event, in->text, sizeof(in->text), JSON_COMPACT);
	char type[BH_EVENT_TYPE_MAX + 1], word[16];
	const struct bh_jtext_member *time;
	enum bh_severity severity;
	struct bh_jtext j;
	uint64_t wall_ns;

	if (!size || size > sizeof(in->text) || bh_jtext_parse(in->text, size, &j, NULL) ||
	    !bh_jtext_str(&j, "type", type, sizeof(type)) || !bh_event_type_valid(type) ||
	    strncmp(type, PREFIX, strlen(PREFIX)) != 0 ||
	    !bh_jtext_str(&j, "severity", word, sizeof(word)) ||
	    bh_severity_parse(word, &severity)) {
		return false;
	}
	time = bh_jtext_find(&j, "time");
	if (j.count > BH_JTEXT_MEMBERS_MAX - OURS_MAX || !time || time->kind != BH_JTEXT_STRING ||
	    bh_time_parse(j.text + time->value, time->value_size, &wall_ns)) {
		return false;
	}
	bh_event_text_begin(&in->event, type, severity, wall_ns);
	bh_jtext_add_str(&in->event, "host", in->host);
	for (size_t i = 0; i < j.count; i++) {
		if (!is_ours(&j, &j.members[i])) {
			bh_jtext_add_member(&in->event, &j, &j.members[i]);
		}
	}
	if (in->event.err || in->event.size > BH_EVENT_SIZE_MAX - STAMP_MAX) {
		return false;
	}
	bh_producer_put_text(in->producer, &in->event);
	return true;
}

static struct answered *find_run(struct hostd_intake *in, const char *run)
{
	for (size_t i = 0; *run && i < HOSTD_INTAKE_RUNS_MAX; i++) {
		if (!strcmp(in->answered[i].run, run)) {
			return &in->answered[i];
		}
	}
	return NULL;
}

/* In front; who asked longest ago goes. */
static void remember(struct hostd_intake *in, const struct answered *now)
{
	struct answered *was = find_run(in, now->run);
	size_t before = was ? (size_t)(was - in->answered) : HOSTD_INTAKE_RUNS_MAX - 1;

	if (*now->run) {
		memmove(&in->answered[1], &in->answered[0], before * sizeof(*was));
		in->answered[0] = *now;
	}
}

static void answer(struct bh_ctl_request *req, const struct answered *a)
{
	bh_ctl_reply(req, json_pack("{s:I,s:I}", "taken", a->taken, "refused", a->refused));
}

/* True: it is there already, and was answered. */
static bool is_repeated(struct hostd_intake *in, struct bh_ctl_request *req,
			const struct answered *asked)
{
	const struct answered *was = find_run(in, asked->run);

	if (!was || was->number != asked->number) {
		return false;
	}
	bh_counter_add(&intake_repeated, 1);
	answer(req, was);
	return true;
}

/* False: who it is or its number is no such. None at all: nothing is remembered. */
static bool read_asked(const json_t *request, struct answered *ret)
{
	const json_t *run = json_object_get(request, "run"),
		     *number = json_object_get(request, "n");
	const char *text = json_string_value(run);

	if (!run && !number) {
		return true;
	}
	if (!text || strlen(text) >= sizeof(ret->run) || !json_is_integer(number)) {
		return false;
	}
	snprintf(ret->run, sizeof(ret->run), "%s", text);
	ret->number = json_integer_value(number);
	return true;
}

static void on_events(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	struct hostd_intake *in = arg;
	const json_t *events = json_object_get(request, "events");
	const json_t *told = json_object_get(request, "lost");
	json_int_t lost = json_integer_value(told);
	size_t count = json_array_size(events);
	struct bh_spool_stats spool;
	struct answered now = {};

	if (!json_is_array(events) || (told && !json_is_integer(told)) || lost < 0 ||
	    lost > LOST_MAX || count > EVENTS_MAX || !read_asked(request, &now)) {
		bh_counter_add(&intake_wrong, 1);
		bh_ctl_reply_error(req,
				   "\"events\" is an array of at most %d, \"lost\" and \"n\" "
				   "numbers, \"run\" a short text",
				   EVENTS_MAX);
		return;
	}
	if (is_repeated(in, req, &now)) {
		return;
	}
	bh_producer_stats_get(in->producer, &spool);
	if (spool.bytes > spool.max_bytes / 2) {
		bh_counter_add(&intake_busy, 1);
		bh_ctl_reply_error(req, "the spool of events is more than half full");
		return;
	}
	if (lost) {
		bh_producer_lose(in->producer, (uint64_t)lost, "the gate could not hand them over");
	}
	for (size_t i = 0; i < count; i++) {
		now.taken += take(in, json_array_get(events, i));
	}
	now.refused = (json_int_t)count - now.taken;
	bh_counter_add(&intake_events, (uint64_t)now.taken);
	bh_counter_add(&intake_refused, (uint64_t)now.refused);
	remember(in, &now);
	answer(req, &now);
}

static int find_users(const struct hostd_intake_options *options, unsigned int *ret,
		      struct bh_diag *diag)
{
	for (size_t i = 0; i < options->user_count; i++) {
		const struct passwd *who = getpwnam(options->users[i]);

		if (!who) {
			return bh_diag_set(diag, -ENOENT, "event_users: there is no user '%.60s'",
					   options->users[i]);
		}
		ret[i] = who->pw_uid;
	}
	return 0;
}

int hostd_intake_new(uv_loop_t *loop, const struct hostd_intake_options *options,
		     struct hostd_intake **ret, struct bh_diag *diag)
{
	struct hostd_intake *in = bh_alloc(sizeof(*in));
	struct bh_ctl_options ctl = {.path = options->path,
				     .program = "bulkhead-hostd",
				     /* who may is known by SO_PEERCRED */
				     .mode = options->user_count ? 0666 : 0600,
				     .root_only = true,
				     .bare = true};
	int err;

	in->producer = options->producer;
	in->host = bh_strdup(options->host);
	in->users = bh_alloc_array(options->user_count + 1, sizeof(*in->users));
	bh_wbuf_init(&in->event, BH_EVENT_SIZE_MAX);
	err = find_users(options, in->users, diag);
	ctl.users = in->users;
	ctl.user_count = options->user_count;
	err = err ? err : bh_ctl_server_new(loop, &ctl, &in->ctl, diag);
	if (err) {
		hostd_intake_free(in);
		return err;
	}
	bh_ctl_server_add(in->ctl, "events", on_events, in);
	*ret = in;
	return 0;
}

void hostd_intake_free(struct hostd_intake *intake)
{
	if (!intake) {
		return;
	}
	bh_ctl_server_free(intake->ctl);
	bh_wbuf_done(&intake->event);
	free(intake->users);
	free(intake->host);
	free(intake);
}

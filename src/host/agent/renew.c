/* SPDX-License-Identifier: Apache-2.0 */
#include "host/agent/renew.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "bus/pki.h"

#include <errno.h>
#include <sys/random.h>

#define LOOK_MAX_NS  (3600 * BH_NS_PER_S)
#define RETRY_MIN_NS (60 * BH_NS_PER_S)
#define RETRY_MAX_NS (3600 * BH_NS_PER_S)
#define TELL_NS	     (3600 * BH_NS_PER_S) /* the same trouble again */

BH_COUNTER(renew_done, "certificates that were renewed");
BH_COUNTER(renew_failed, "tries to renew the certificate that failed");

struct hostd_renew {
	struct hostd_renew_options o;
	char *subject; /* host.<name> */
	struct bh_pki_info info;
	bool have; /* info is filled */
	bool asked;
	uint64_t now_ns; /* mono, of the last tick */
	uint64_t look_at_ns;
	uint64_t retry_ns;   /* the last wait, 0: none */
	uint64_t told_at_ns; /* 0: never */
	char told[64];	     /* type of the event told last */
	char problem[BH_DIAG_TEXT_SIZE];
};

static json_t *body_of(const struct hostd_renew *renew)
{
	char ends[BH_TIME_TEXT_SIZE];

	if (!renew->have) {
		return json_object();
	}
	bh_time_format((uint64_t)renew->info.not_after_s * BH_NS_PER_S, ends);
	return json_pack("{s:s, s:s}", "fingerprint", renew->info.fingerprint, "not_after", ends);
}

static void tell(struct hostd_renew *renew, const char *type, const char *severity,
		 const char *error)
{
	json_t *body = body_of(renew);

	if (error) {
		json_object_set_new(body, "error", json_string(error));
	}
	renew->o.tell(type, severity, body, renew->o.arg);
}

/* Once an hour at most, unless it is another trouble than the last. */
static void trouble(struct hostd_renew *renew, const char *type, const char *text, uint64_t mono_ns)
{
	bool expired = !strcmp(type, "certificate.expired");

	snprintf(renew->problem, sizeof(renew->problem), "%s", text);
	if (renew->told_at_ns && !strcmp(renew->told, type) &&
	    mono_ns - renew->told_at_ns < TELL_NS) {
		return;
	}
	snprintf(renew->told, sizeof(renew->told), "%s", type);
	renew->told_at_ns = mono_ns;
	bh_log(expired ? BH_LOG_ERROR : BH_LOG_WARN, "renew", "%s", text);
	tell(renew, type, expired ? "critical" : "warning", text);
}

static void read_info(struct hostd_renew *renew, struct bh_diag *diag)
{
	BH_FREE char *file = bh_asprintf("%s/cert.pem", renew->o.dir);

	renew->have = !bh_pki_info_file(file, &renew->info, diag);
}

/* ---- asking ---- */

static void failed(struct hostd_renew *renew, const char *why)
{
	struct bh_diag diag;

	bh_counter_add(&renew_failed, 1);
	renew->retry_ns = renew->retry_ns ? 2 * renew->retry_ns : RETRY_MIN_NS;
	if (renew->retry_ns > RETRY_MAX_NS) {
		renew->retry_ns = RETRY_MAX_NS;
	}
	renew->look_at_ns = renew->now_ns + renew->retry_ns;
	bh_diag_set(&diag, 0, "this host's certificate can't be renewed: %s", why);
	trouble(renew, "certificate.failed", diag.text, renew->now_ns);
}

static void on_answer(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct hostd_renew *renew = arg;
	const char *cert;
	const char *ca;
	struct bh_diag diag = {};

	renew->asked = false;
	if (err == -ECANCELED) {
		return;
	}
	if (err) {
		failed(renew, bh_bus_reply_text(err, reply));
		return;
	}
	if (bh_json_str(reply->json, "cert", &cert, &diag) ||
	    bh_json_str(reply->json, "ca", &ca, &diag) ||
	    bh_pki_renew_install(renew->o.dir, renew->subject, ca, cert, &diag)) {
		failed(renew, diag.text);
		return;
	}
	bh_counter_add(&renew_done, 1);
	renew->retry_ns = 0;
	renew->told_at_ns = 0;
	renew->problem[0] = '\0';
	renew->look_at_ns = renew->now_ns + RETRY_MIN_NS; /* the bus connects anew first */
	read_info(renew, NULL);
	bh_log(BH_LOG_INFO, "renew", "this host has a new certificate");
	tell(renew, "certificate.renewed", "info", NULL);
	renew->o.renewed(renew->o.arg);
}

static void ask(struct hostd_renew *renew)
{
	BH_FREE char *csr = NULL;
	struct bh_diag diag = {};

	if (bh_pki_renew_csr(renew->o.dir, renew->subject, &csr, &diag)) {
		failed(renew, diag.text);
		return;
	}
	renew->asked = true;
	renew->o.ask(json_pack("{s:s}", "csr", csr), on_answer, renew, renew->o.arg);
}

/* ---- looking ---- */

/* Up to a tenth later, so that hosts that joined together don't renew together. */
static uint64_t spread(uint64_t ns)
{
	uint32_t dice = 0;

	if (getrandom(&dice, sizeof(dice), 0) != sizeof(dice)) {
		dice = 0;
	}
	return ns + ns / 10 * (dice % 1024) / 1024;
}

static void look(struct hostd_renew *renew, bool up, int64_t wall_s, uint64_t mono_ns)
{
	struct bh_diag diag = {};
	uint64_t wait_ns = LOOK_MAX_NS;
	uint64_t life_s;

	read_info(renew, &diag);
	if (!renew->have) {
		renew->look_at_ns = mono_ns + RETRY_MIN_NS;
		trouble(renew, "certificate.failed", diag.text, mono_ns);
		return;
	}
	life_s = (uint64_t)(renew->info.not_after_s - renew->info.not_before_s);
	if (life_s * BH_NS_PER_S / 100 < wait_ns) {
		wait_ns = life_s * BH_NS_PER_S / 100 + BH_NS_PER_S;
	}
	renew->look_at_ns = mono_ns + spread(wait_ns);
	if (!bh_pki_due(&renew->info, wall_s)) {
		renew->problem[0] = '\0';
		return;
	}
	if (up) { /* also when it has ended: connections live on */
		ask(renew);
		return;
	}
	renew->look_at_ns = mono_ns + BH_NS_PER_S; /* as soon as the manager is there */
	if (wall_s > renew->info.not_after_s) {
		trouble(renew, "certificate.expired",
			"this host's certificate has ended, the bus does not let it in: join "
			"again with `bulkhead host enroll --force` and a new token (or set the "
			"clock right)",
			mono_ns);
	}
}

void hostd_renew_tick(struct hostd_renew *renew, bool up, int64_t wall_s, uint64_t mono_ns)
{
	renew->now_ns = mono_ns;
	if (!renew->asked && mono_ns >= renew->look_at_ns) {
		look(renew, up, wall_s, mono_ns);
	}
}

/* ---- being asked ---- */

const char *hostd_renew_fingerprint(const struct hostd_renew *renew)
{
	return renew->have ? renew->info.fingerprint : "";
}

json_t *hostd_renew_json(const struct hostd_renew *renew, int64_t wall_s)
{
	json_t *json = body_of(renew);
	const char *state = !renew->have		       ? "bad"
			    : wall_s > renew->info.not_after_s ? "expired"
			    : bh_pki_due(&renew->info, wall_s) ? "due"
							       : "good";

	json_object_set_new(json, "state", json_string(state));
	json_object_set_new(json, "problem", json_string(renew->problem));
	return json;
}

struct hostd_renew *hostd_renew_new(const struct hostd_renew_options *options)
{
	struct hostd_renew *renew = bh_alloc(sizeof(*renew));
	struct bh_diag diag = {};

	renew->o = *options;
	renew->o.dir = bh_strdup(options->dir);
	renew->o.name = bh_strdup(options->name);
	renew->subject = bh_asprintf("host.%s", options->name);
	if (bh_pki_renew_settle(renew->o.dir, &diag)) {
		trouble(renew, "certificate.failed", diag.text, bh_time_mono_ns());
	}
	read_info(renew, NULL);
	return renew;
}

void hostd_renew_free(struct hostd_renew *renew)
{
	if (!renew) {
		return;
	}
	free((char *)renew->o.dir);
	free((char *)renew->o.name);
	free(renew->subject);
	free(renew);
}

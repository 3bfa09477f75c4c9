/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead-hostd: options, parts, loop, end. See docs/man/bulkhead-hostd.8. */
#include "base/log.h"
#include "base/notify.h"
#include "host/agent/agent.h"
#include "version.h"

#include <cap-ng.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <sys/prctl.h>

struct options {
	const char *config;
	bool config_given, check, verbose, detach, yes;
	const char *dummy;
};

static int usage(FILE *to)
{
	fprintf(to, "usage: bulkhead-hostd [-c FILE] [-n] [-v]\n"
		    "       bulkhead-hostd [-c FILE] --detach --yes\n"
		    "\n"
		    "  -c FILE           configuration (" HOSTD_CONFIG_PATH ")\n"
		    "  -n                check the configuration and exit\n"
		    "  -v                log more\n"
		    "  --detach --yes    take all of Bulkhead out of this host's kernel and exit\n"
		    "  --version\n");
	return to == stdout ? 0 : 2;
}

/* 0 go on, > 0 exit with that less one. */
static int parse_options(int argc, char **argv, struct options *ret)
{
	static const struct option longs[] = {{"config", required_argument, NULL, 'c'},
					      {"check", no_argument, NULL, 'n'},
					      {"verbose", no_argument, NULL, 'v'},
					      {"version", no_argument, NULL, 'V'},
					      {"help", no_argument, NULL, 'h'},
					      {"detach", no_argument, NULL, 'D'},
					      {"yes", no_argument, NULL, 'y'},
					      {"dummy-platform", required_argument, NULL, 'P'},
					      {}};
	int c;

	ret->config = HOSTD_CONFIG_PATH;
	while ((c = getopt_long(argc, argv, "c:nvh", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			ret->config = optarg;
			ret->config_given = true;
			break;
		case 'n':
			ret->check = true;
			break;
		case 'v':
			ret->verbose = true;
			break;
		case 'D':
			ret->detach = true;
			break;
		case 'y':
			ret->yes = true;
			break;
		case 'P':
			ret->dummy = optarg;
			break;
		case 'V':
			puts("bulkhead-hostd " BH_VERSION);
			return 1;
		default:
			return 1 + usage(c == 'h' ? stdout : stderr);
		}
	}
	return optind < argc ? 1 + usage(stderr) : 0;
}

/* Keeps what the kernel's BPF and network calls need; every thread that comes later inherits it. */
static int drop_privileges(struct bh_diag *diag)
{
	static const int keep[] = {CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, CAP_SYS_ADMIN};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
		return bh_diag_set(diag, -errno, "no_new_privs: %s", strerror(errno));
	}
	if (geteuid() != 0) {
		return bh_diag_set(diag, -EPERM, "it has to be started as root");
	}
	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < BH_ARRAY_SIZE(keep); i++) {
		if (capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET,
				 (unsigned int)keep[i])) {
			return bh_diag_set(diag, -EINVAL, "capability %d is not known", keep[i]);
		}
	}
	if (capng_apply(CAPNG_SELECT_BOTH)) {
		return bh_diag_set(diag, -EPERM,
				   "the capabilities that are not needed can't be "
				   "dropped");
	}
	return 0;
}

static int detach(const struct hostd_config *config, bool yes, struct bh_diag *diag)
{
	int err;

	if (!yes) {
		fprintf(stderr, "This takes every rule and program of Bulkhead out of this host's "
				"kernel: all VMs here lose\ntheir protection at once and every "
				"connection is open. Say --yes as well to do it.\n");
		return bh_diag_set(diag, -EINVAL, "nothing was changed");
	}
	err = hostd_dp_remove(config->pin_dir, diag);
	if (err == HOSTD_DP_BUSY) {
		return bh_diag_set(diag, -EBUSY, "bulkhead-hostd runs; stop it first");
	}
	return err;
}

static void on_signal(uv_signal_t *signal, int number)
{
	bh_log(BH_LOG_INFO, "main", "signal %d: ending; the kernel goes on enforcing", number);
	uv_stop(signal->loop);
}

static void close_rest(uv_handle_t *handle, void *arg)
{
	if (!uv_is_closing(handle)) {
		uv_close(handle, NULL);
	}
}

static int serve(const struct hostd_config *config, struct bh_diag *diag)
{
	static const int numbers[] = {SIGTERM, SIGINT};
	uv_signal_t signals[BH_ARRAY_SIZE(numbers)];
	struct hostd_agent *agent = NULL;
	struct bh_notify notify;
	uv_loop_t loop;
	int err = uv_loop_init(&loop);

	if (err) {
		return bh_diag_set(diag, err, "event loop: %s", uv_strerror(err));
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(numbers) && !err; i++) {
		err = uv_signal_init(&loop, &signals[i]);
		if (!err) {
			err = uv_signal_start(&signals[i], on_signal, numbers[i]);
		}
	}
	if (err) {
		return bh_diag_set(diag, err, "signals: %s", uv_strerror(err));
	}
	err = hostd_agent_new(&loop, config, &agent, diag);
	if (!err) {
		bh_log(BH_LOG_INFO, "main", "bulkhead-hostd " BH_VERSION " on %s", agent->name);
		/* Programs and the last state are in the kernel and the hook has somebody to
		 * ask: libvirt, which is ordered after us, may start VMs now. */
		bh_notify_ready(&notify, &loop);
		uv_run(&loop, UV_RUN_DEFAULT);
		bh_notify_send("STOPPING=1");
	}
	hostd_agent_stop(agent);
	for (size_t i = 0; i < BH_ARRAY_SIZE(numbers); i++) {
		uv_close((uv_handle_t *)&signals[i], NULL);
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	hostd_agent_done(agent);
	uv_walk(&loop, close_rest, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&loop);
	return err;
}

int main(int argc, char **argv)
{
	struct options options = {};
	struct hostd_config config;
	struct bh_diag diag = {};
	char text[BH_DIAG_TEXT_SIZE + BH_DIAG_FILE_SIZE + 32];
	int err = parse_options(argc, argv, &options);

	if (err) {
		return err - 1;
	}
	bh_log_init("bulkhead-hostd", options.verbose ? BH_LOG_DEBUG : BH_LOG_INFO);
	signal(SIGPIPE, SIG_IGN);
	err = hostd_config_load(options.config, options.config_given, &config, &diag);
	if (!err && options.dummy) {
		config.dummy_dir = bh_strdup(options.dummy);
	}
	if (!err && !options.check) {
		err = drop_privileges(&diag);
	}
	if (!err && options.detach) {
		err = detach(&config, options.yes, &diag);
	} else if (!err && !options.check) {
		err = serve(&config, &diag);
	}
	if (err) {
		fprintf(stderr, "bulkhead-hostd: %s\n", bh_diag_format(&diag, text, sizeof(text)));
	}
	hostd_config_done(&config);
	return err ? 1 : 0;
}

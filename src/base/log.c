/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/time.h"
#include "base/util.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <time.h>

#define MODULES_MAX	64
#define LIMIT_WINDOW_NS (10 * BH_NS_PER_S)

static const char *const level_names[] = {"error", "warn", "info", "debug"};

/* The one piece of process-wide state that logging cannot do without. */
static struct {
	pthread_mutex_t lock;
	const char *program;
	enum bh_log_level level;
	struct {
		char name[32];
		enum bh_log_level level;
	} modules[MODULES_MAX];
	unsigned int module_count;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .program = "bulkhead", .level = BH_LOG_INFO};

void bh_log_init(const char *program, enum bh_log_level level)
{
	state.program = program;
	bh_log_set_level(NULL, level);
}

void bh_log_set_level(const char *module, enum bh_log_level level)
{
	unsigned int i;

	pthread_mutex_lock(&state.lock);
	if (!module) {
		state.level = level;
		state.module_count = 0;
	} else {
		for (i = 0; i < state.module_count; i++) {
			if (!strcmp(state.modules[i].name, module)) {
				break;
			}
		}
		if (i < MODULES_MAX) {
			snprintf(state.modules[i].name, sizeof(state.modules[i].name), "%s",
				 module);
			state.modules[i].level = level;
			state.module_count += i == state.module_count;
		}
	}
	pthread_mutex_unlock(&state.lock);
}

int bh_log_level_parse(const char *s, enum bh_log_level *ret_level)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(level_names); i++) {
		if (!strcmp(s, level_names[i])) {
			*ret_level = (enum bh_log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *bh_log_level_name(enum bh_log_level level)
{
	return level_names[level];
}

static enum bh_log_level module_level(const char *module)
{
	for (unsigned int i = 0; i < state.module_count; i++) {
		if (!strcmp(state.modules[i].name, module)) {
			return state.modules[i].level;
		}
	}
	return state.level;
}

void bh_log(enum bh_log_level level, const char *module, const char *fmt, ...)
{
	char text[1024], when[BH_TIME_TEXT_SIZE];
	va_list ap;

	pthread_mutex_lock(&state.lock);
	if (level <= module_level(module)) {
		va_start(ap, fmt);
		vsnprintf(text, sizeof(text), fmt, ap);
		va_end(ap);
		bh_time_format(bh_time_wall_ns(), when);
		fprintf(stderr, "%s %s %s %s: %s\n", when, state.program, level_names[level],
			module, text);
	}
	pthread_mutex_unlock(&state.lock);
}

bool bh_log_limit_pass(struct bh_log_limit *limit, unsigned int burst, unsigned int *ret_left_out)
{
	uint64_t now = bh_time_mono_ns();
	bool pass = true;

	pthread_mutex_lock(&state.lock);
	*ret_left_out = 0;
	if (now - limit->window_ns >= LIMIT_WINDOW_NS || !limit->window_ns) {
		*ret_left_out = limit->suppressed;
		*limit = (struct bh_log_limit){.window_ns = now};
	}
	if (limit->passed >= burst) {
		limit->suppressed++;
		pass = false;
	} else {
		limit->passed++;
	}
	pthread_mutex_unlock(&state.lock);
	return pass;
}

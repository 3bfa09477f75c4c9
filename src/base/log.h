/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of a program: one line per message on stderr (or syslog under a service manager), with
 * time, level and module. Programs log; libraries fill a bh_diag instead. The level of each module
 * can be changed at run time (`bulkhead debug log`). Configured once at start; calls are
 * thread-safe.
 *
 * A message that a peer can trigger must be rate-limited: bh_log_limited() passes `burst` messages
 * per ten seconds and call site and says afterwards how many were left out.
 */
#ifndef BH_BASE_LOG_H
#define BH_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum bh_log_level { BH_LOG_ERROR, BH_LOG_WARN, BH_LOG_INFO, BH_LOG_DEBUG };

/* program: shown in each line; borrowed for ever. Also sets the level of all modules. */
void bh_log_init(const char *program, enum bh_log_level level);
/* module NULL: all. Unknown modules are remembered (at most 64). */
void bh_log_set_level(const char *module, enum bh_log_level level);
[[nodiscard]] int bh_log_level_parse(const char *s, enum bh_log_level *ret_level);
const char *bh_log_level_name(enum bh_log_level level);

void bh_log(enum bh_log_level level, const char *module, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

struct bh_log_limit {
	uint64_t window_ns;
	unsigned int passed, suppressed;
};
bool bh_log_limit_pass(struct bh_log_limit *limit, unsigned int burst, unsigned int *ret_left_out);

#define bh_log_limited(level, module, burst, fmt, ...)                                             \
	do {                                                                                       \
		static struct bh_log_limit limit_;                                                 \
		unsigned int left_out_;                                                            \
		if (bh_log_limit_pass(&limit_, burst, &left_out_)) {                               \
			if (left_out_) {                                                           \
				bh_log(level, module, "(%u messages like the next left out)",      \
				       left_out_);                                                 \
			}                                                                          \
			bh_log(level, module, fmt, ##__VA_ARGS__);                                 \
		}                                                                                  \
	} while (0)

#endif

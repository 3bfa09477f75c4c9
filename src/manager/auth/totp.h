/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codes from an authenticator: TOTP of RFC 6238 with HMAC-SHA1, 30 seconds, 6 digits, one step of
 * tolerance to either side. A code is good once: the caller keeps the step that was used and codes
 * of it or earlier ones are refused. Pure.
 */
#ifndef BH_MANAGER_AUTH_TOTP_H
#define BH_MANAGER_AUTH_TOTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MANAGER_TOTP_SECRET_SIZE 20
#define MANAGER_TOTP_STEP_S	 30
#define MANAGER_TOTP_BASE32_SIZE 33 /* of a secret, with its NUL */

/* The code of a step, below 10^digits. */
uint32_t manager_totp_code(const uint8_t *secret, size_t size, uint64_t step, unsigned int digits);
/* text: six digits, blanks allowed between. *ret_step: which step it was of. */
bool manager_totp_check(const uint8_t secret[MANAGER_TOTP_SECRET_SIZE], const char *text,
			uint64_t now_s, uint64_t used_step, uint64_t *ret_step);
/* RFC 4648 without padding, as people type it. */
void manager_totp_base32(const uint8_t secret[MANAGER_TOTP_SECRET_SIZE],
			 char ret[MANAGER_TOTP_BASE32_SIZE]);
/* otpauth://... for an app; owned. user: of letters, digits, "-._@". */
char *manager_totp_uri(const char *user, const char *base32);

#endif

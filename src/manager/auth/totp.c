/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/auth/totp.h"

#include "base/util.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#define DIGITS	  6
#define TOLERANCE 1

uint32_t manager_totp_code(const uint8_t *secret, size_t size, uint64_t step, unsigned int digits)
{
	uint8_t counter[8], mac[EVP_MAX_MD_SIZE];
	unsigned int mac_size = 0, at;
	uint32_t value, modulus = 1;

	for (int i = 7; i >= 0; i--) {
		counter[i] = (uint8_t)step;
		step >>= 8;
	}
	if (!HMAC(EVP_sha1(), secret, (int)size, counter, sizeof(counter), mac, &mac_size)) {
		abort(); /* libcrypto without SHA-1: nobody could log in */
	}
	at = mac[mac_size - 1] & 0xf; /* RFC 4226, section 5.3 */
	value = (uint32_t)(mac[at] & 0x7f) << 24 | (uint32_t)mac[at + 1] << 16 |
		(uint32_t)mac[at + 2] << 8 | mac[at + 3];
	for (unsigned int i = 0; i < digits; i++) {
		modulus *= 10;
	}
	return value % modulus;
}

static bool read_code(const char *text, uint32_t *ret)
{
	unsigned int digits = 0;

	*ret = 0;
	for (const char *p = text; *p; p++) {
		if (*p == ' ') {
			continue;
		}
		if (*p < '0' || *p > '9' || ++digits > DIGITS) {
			return false;
		}
		*ret = *ret * 10 + (uint32_t)(*p - '0');
	}
	return digits == DIGITS;
}

bool manager_totp_check(const uint8_t secret[MANAGER_TOTP_SECRET_SIZE], const char *text,
			uint64_t now_s, uint64_t used_step, uint64_t *ret_step)
{
	uint64_t now = now_s / MANAGER_TOTP_STEP_S;
	bool good = false;
	uint32_t code;

	if (!read_code(text, &code)) {
		return false;
	}
	for (uint64_t step = now - TOLERANCE; step <= now + TOLERANCE; step++) {
		if (step > used_step &&
		    manager_totp_code(secret, MANAGER_TOTP_SECRET_SIZE, step, DIGITS) == code) {
			*ret_step = step;
			good = true;
		}
	}
	return good;
}

void manager_totp_base32(const uint8_t secret[MANAGER_TOTP_SECRET_SIZE],
			 char ret[MANAGER_TOTP_BASE32_SIZE])
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	unsigned int bits = 0, count = 0;
	size_t out = 0;

	for (size_t i = 0; i < MANAGER_TOTP_SECRET_SIZE; i++) {
		bits = bits << 8 | secret[i];
		count += 8;
		while (count >= 5) {
			count -= 5;
			ret[out++] = alphabet[bits >> count & 31];
		}
		bits &= 0xff;
	}
	ret[out] = '\0';
}

char *manager_totp_uri(const char *user, const char *base32)
{
	return bh_asprintf("otpauth://totp/Bulkhead:%s?secret=%s&issuer=Bulkhead&algorithm=SHA1"
			   "&digits=%d&period=%d",
			   user, base32, DIGITS, MANAGER_TOTP_STEP_S);
}

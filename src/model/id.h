/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names, numbers and addresses in their text forms. Parsers accept exactly one form of each and
 * fail with -EINVAL; formatters write that form.
 */
#ifndef BH_MODEL_ID_H
#define BH_MODEL_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BH_UUID_TEXT_SIZE 37
#define BH_MAC_TEXT_SIZE  18
#define BH_ADDR_TEXT_SIZE 46
#define BH_CIDR_TEXT_SIZE 50

#define BH_NAME_MAX	   63 /* tenants, hosts, policies: [a-z0-9]([-a-z0-9.]*[a-z0-9])? */
#define BH_LABEL_KEY_MAX   63 /* [A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])? */
#define BH_LABEL_VALUE_MAX 63 /* as a key, or empty */
#define BH_LABELS_MAX	   32 /* per VM */

bool bh_name_valid(const char *s);
bool bh_label_key_valid(const char *s);
bool bh_label_value_valid(const char *s);

[[nodiscard]] int bh_uuid_parse(const char *s, uint8_t ret_uuid[16]);
void bh_uuid_format(const uint8_t uuid[16], char ret_text[BH_UUID_TEXT_SIZE]);
void bh_uuid_random(uint8_t ret_uuid[16]);

[[nodiscard]] int bh_mac_parse(const char *s, uint8_t ret_mac[6]);
void bh_mac_format(const uint8_t mac[6], char ret_text[BH_MAC_TEXT_SIZE]);

/* IPv4 or IPv6 text; IPv4 becomes ::ffff:a.b.c.d and is written as a.b.c.d. */
[[nodiscard]] int bh_addr_parse(const char *s, uint8_t ret_addr[16]);
void bh_addr_format(const uint8_t addr[16], char ret_text[BH_ADDR_TEXT_SIZE]);
bool bh_addr_is_v4(const uint8_t addr[16]);

/* "10.0.0.0/8", "fd00::/8", or an address alone for the full length. prefix_bits counts over 16
 * bytes. -EINVAL for text that is none, -ERANGE when bits behind the prefix are set. */
[[nodiscard]] int bh_cidr_parse(const char *s, uint8_t ret_addr[16], uint8_t *ret_prefix_bits);
void bh_cidr_format(const uint8_t addr[16], uint8_t prefix_bits, char ret_text[BH_CIDR_TEXT_SIZE]);
bool bh_cidr_contains(const uint8_t net[16], uint8_t prefix_bits, const uint8_t addr[16]);

/* "tcp", "udp", "sctp", "icmp", "icmpv6" or a number 0..255. */
[[nodiscard]] int bh_proto_parse(const char *s, uint8_t *ret_proto);
void bh_proto_format(uint8_t proto, char ret_text[8]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The record of a message: EVE's dns version 3. Data of records is read here, from the message. */
#include "gate/app/dns/dns.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define GROUP_MAX 256 /* records that `grouped` shows */
/* What is shown of a message, of which names that point far make a hundred times as much: its
 * records, again as `grouped`, and what stands around fit into GATE_JW_SIZE_MAX. */
#define SHOWN_MAX (80u << 10)
#define DATA_MAX  4096u /* of one record */

static const struct {
	uint16_t type;
	const char *name;
} types[] = {
	{1, "A"},	{2, "NS"},	  {3, "MD"},	      {4, "MF"},     {5, "CNAME"},
	{6, "SOA"},	{7, "MB"},	  {8, "MG"},	      {9, "MR"},     {10, "NULL"},
	{11, "WKS"},	{12, "PTR"},	  {13, "HINFO"},      {14, "MINFO"}, {15, "MX"},
	{16, "TXT"},	{17, "RP"},	  {18, "AFSDB"},      {19, "X25"},   {20, "ISDN"},
	{21, "RT"},	{22, "NSAP"},	  {23, "NSAPPTR"},    {24, "SIG"},   {25, "KEY"},
	{26, "PX"},	{27, "GPOS"},	  {28, "AAAA"},	      {29, "LOC"},   {30, "NXT"},
	{33, "SRV"},	{34, "ATMA"},	  {35, "NAPTR"},      {36, "KX"},    {37, "CERT"},
	{38, "A6"},	{39, "DNAME"},	  {41, "OPT"},	      {42, "APL"},   {43, "DS"},
	{44, "SSHFP"},	{45, "IPSECKEY"}, {46, "RRSIG"},      {47, "NSEC"},  {48, "DNSKEY"},
	{49, "DHCID"},	{50, "NSEC3"},	  {51, "NSEC3PARAM"}, {52, "TLSA"},  {55, "HIP"},
	{59, "CDS"},	{60, "CDNSKEY"},  {64, "SVCB"},	      {65, "HTTPS"}, {99, "SPF"},
	{249, "TKEY"},	{250, "TSIG"},	  {251, "IXFR"},      {252, "AXFR"}, {253, "MAILB"},
	{254, "MAILA"}, {255, "ANY"},	  {256, "URI"},	      {257, "CAA"},
};

const char *gate_dns_type_name(uint16_t type)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (types[i].type == type) {
			return types[i].name;
		}
	}
	return NULL;
}

const char *gate_dns_rcode_name(uint16_t rcode)
{
	static const char *const names[] = {
		"NOERROR",  "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP",  "REFUSED",
		"YXDOMAIN", "YXRRSET", "NXRRSET",  "NOTAUTH",  "NOTZONE",
	};
	return rcode < sizeof(names) / sizeof(names[0]) ? names[rcode] : NULL;
}

static void log_or_number(struct gate_jw *jw, const char *key, const char *name, unsigned int value)
{
	char text[16];
	if (!name) {
		snprintf(text, sizeof(text), "%u", value);
		name = text;
	}
	gate_jw_text(jw, key, name);
}

static void log_name(const struct gate_dns_message *m, uint32_t at, const char *key,
		     struct gate_jw *jw)
{
	uint8_t name[GATE_DNS_NAME_MAX];
	int size = gate_dns_name(m, at, name);
	gate_jw_bytes(jw, key, name, size > 0 ? (size_t)size : 0);
}

/* Where the name that begins at `at` ends; the end of the message when it is malformed. */
static uint32_t name_end(const struct gate_dns_message *m, uint32_t at)
{
	while (at < m->raw_size) {
		uint8_t len = m->raw[at];
		if (!len) {
			return at + 1;
		}
		if (len & 0xc0) {
			return at + 2;
		}
		at += 1u + len;
	}
	return m->raw_size;
}

static void log_soa(const struct gate_dns_message *m, const struct gate_dns_rr *rr,
		    struct gate_jw *jw)
{
	static const char *const keys[] = {"serial", "refresh", "retry", "expire", "minimum"};
	uint32_t second = name_end(m, rr->data_at), at = name_end(m, second);
	gate_jw_object(jw, "soa");
	log_name(m, rr->data_at, "mname", jw);
	log_name(m, second, "rname", jw);
	for (size_t i = 0; i < 5 && at + 4 <= m->raw_size; i++, at += 4) {
		gate_jw_uint(jw, keys[i], gate_be32(m->raw + at));
	}
	gate_jw_end(jw);
}

static void log_srv(const struct gate_dns_message *m, const struct gate_dns_rr *rr, const char *key,
		    struct gate_jw *jw)
{
	const uint8_t *data = m->raw + rr->data_at;
	gate_jw_object(jw, key);
	gate_jw_uint(jw, "priority", gate_be16(data));
	gate_jw_uint(jw, "weight", gate_be16(data + 2));
	gate_jw_uint(jw, "port", gate_be16(data + 4));
	log_name(m, rr->data_at + 6u, "name", jw);
	gate_jw_end(jw);
}

static void log_sshfp(const uint8_t *data, uint16_t size, const char *key, struct gate_jw *jw)
{
	static const char digits[] = "0123456789abcdef";
	char text[3 * 64];
	size_t n = 0;
	for (uint16_t i = 2; i < size && n + 3 <= sizeof(text); i++) {
		if (n) {
			text[n++] = ':';
		}
		text[n++] = digits[data[i] >> 4];
		text[n++] = digits[data[i] & 15];
	}
	gate_jw_object(jw, key);
	gate_jw_bytes(jw, "fingerprint", text, n);
	gate_jw_uint(jw, "algo", data[0]);
	gate_jw_uint(jw, "type", data[1]);
	gate_jw_end(jw);
}

static void log_opt(const uint8_t *data, uint16_t size, struct gate_jw *jw)
{
	gate_jw_array(jw, "opt");
	for (uint16_t at = 0; size - at >= 4;) {
		uint16_t length = gate_be16(data + at + 2);
		if (length > size - at - 4) {
			break;
		}
		gate_jw_object(jw, NULL);
		gate_jw_uint(jw, "code", gate_be16(data + at));
		gate_jw_hex(jw, "data", data + at + 4, length);
		gate_jw_end(jw);
		at = (uint16_t)(at + 4 + length);
	}
	gate_jw_end(jw);
}

static void log_address(const uint8_t *data, uint16_t size, const char *key, struct gate_jw *jw)
{
	char text[INET6_ADDRSTRLEN] = "";
	if (size == 4 || size == 16) {
		inet_ntop(size == 4 ? AF_INET : AF_INET6, data, text, sizeof(text));
	}
	gate_jw_text(jw, key, text);
}

/* Is its data shown as one value? */
static bool has_data(const struct gate_dns_rr *rr)
{
	switch (rr->type) {
	case GATE_DNS_A:
	case GATE_DNS_AAAA:
	case GATE_DNS_NS:
	case GATE_DNS_CNAME:
	case GATE_DNS_PTR:
	case GATE_DNS_NULL:
	case GATE_DNS_TXT:
		return true;
	case GATE_DNS_MX:
	case GATE_DNS_SSHFP:
		return rr->data_size >= 2;
	case GATE_DNS_SRV:
		return rr->data_size >= 6;
	default:
		return false;
	}
}

/* The string of a TXT record that begins at `at`; what follows it. */
static uint16_t txt_at(const uint8_t *data, uint16_t size, uint16_t at, struct gate_view *ret)
{
	uint16_t left = (uint16_t)(size - at - 1);
	uint16_t length = data[at] < left ? data[at] : left;
	*ret = (struct gate_view){.data = data + at + 1, .size = length};
	return (uint16_t)(at + 1 + length);
}

static void log_data(const struct gate_dns_message *m, const struct gate_dns_rr *rr,
		     const char *key, struct gate_jw *jw)
{
	const uint8_t *data = m->raw + rr->data_at;
	switch (rr->type) {
	case GATE_DNS_A:
	case GATE_DNS_AAAA:
		log_address(data, rr->data_size, key, jw);
		break;
	case GATE_DNS_NS:
	case GATE_DNS_CNAME:
	case GATE_DNS_PTR:
		log_name(m, rr->data_at, key, jw);
		break;
	case GATE_DNS_MX:
		log_name(m, rr->data_at + 2u, key, jw);
		break;
	case GATE_DNS_SRV:
		log_srv(m, rr, key, jw);
		break;
	case GATE_DNS_SSHFP:
		log_sshfp(data, rr->data_size, key, jw);
		break;
	default:
		gate_jw_bytes(jw, key, data, rr->data_size < DATA_MAX ? rr->data_size : DATA_MAX);
		break;
	}
}

static void log_rr_head(const struct gate_dns_message *m, const struct gate_dns_rr *rr, bool query,
			struct gate_jw *jw)
{
	gate_jw_object(jw, NULL);
	gate_jw_bytes(jw, "rrname", m->names + rr->name_at, rr->name_size);
	if (rr->name_size == GATE_DNS_NAME_MAX) {
		gate_jw_bool(jw, "rrname_truncated", true);
	}
	log_or_number(jw, "rrtype", gate_dns_type_name(rr->type), rr->type);
	if (!query) {
		gate_jw_uint(jw, "ttl", rr->ttl);
	}
}

/* False: not all of it is shown, the text is as long as `until`. */
static bool log_rr(const struct gate_dns_message *m, const struct gate_dns_rr *rr, bool query,
		   size_t until, struct gate_jw *jw)
{
	const uint8_t *data = m->raw + rr->data_at;
	if (jw->size >= until) {
		return false;
	}
	if (!query && rr->type == GATE_DNS_TXT && rr->data_size) {
		/* each string is an answer of its own */
		for (uint16_t at = 0; at < rr->data_size;) {
			struct gate_view text;
			if (jw->size >= until) {
				return false;
			}
			at = txt_at(data, rr->data_size, at, &text);
			log_rr_head(m, rr, query, jw);
			gate_jw_bytes(jw, "rdata", text.data, text.size);
			gate_jw_end(jw);
		}
		return true;
	}
	log_rr_head(m, rr, query, jw);
	if (!query && rr->type == GATE_DNS_SOA) {
		log_soa(m, rr, jw);
	} else if (!query && rr->type == GATE_DNS_OPT) {
		log_opt(data, rr->data_size < DATA_MAX ? rr->data_size : DATA_MAX, jw);
	} else if (!query && rr->type == GATE_DNS_SRV && has_data(rr)) {
		log_srv(m, rr, "srv", jw);
	} else if (!query && rr->type == GATE_DNS_SSHFP && has_data(rr)) {
		log_sshfp(data, rr->data_size, "sshfp", jw);
	} else if (!query && has_data(rr)) {
		log_data(m, rr, "rdata", jw);
	}
	if (rr->data_size > DATA_MAX) {
		gate_jw_bool(jw, "rdata_truncated", true);
	}
	gate_jw_end(jw);
	return true;
}

static void log_group(const struct gate_dns_message *m, const struct gate_dns_rr *rrs,
		      uint16_t count, uint16_t type, struct gate_jw *jw)
{
	bool open = false;
	for (uint16_t i = 0; i < count; i++) {
		const struct gate_dns_rr *rr = &rrs[i];
		if (rr->type != type || !has_data(rr)) {
			continue;
		}
		if (!open) {
			gate_jw_array(jw, gate_dns_type_name(type));
			open = true;
		}
		for (uint16_t at = 0; type == GATE_DNS_TXT && at < rr->data_size;) {
			struct gate_view text;
			at = txt_at(m->raw + rr->data_at, rr->data_size, at, &text);
			gate_jw_bytes(jw, NULL, text.data, text.size);
		}
		if (type != GATE_DNS_TXT) {
			log_data(m, rr, NULL, jw);
		}
	}
	if (open) {
		gate_jw_end(jw);
	}
}

static void log_grouped(const struct gate_dns_message *m, struct gate_jw *jw)
{
	static const uint16_t shown[] = {
		GATE_DNS_A,   GATE_DNS_AAAA, GATE_DNS_CNAME, GATE_DNS_NS,  GATE_DNS_MX,
		GATE_DNS_PTR, GATE_DNS_TXT,  GATE_DNS_NULL,  GATE_DNS_SRV, GATE_DNS_SSHFP,
	};
	const struct gate_dns_rr *rrs = m->rrs + m->counts[GATE_DNS_QUERIES];
	uint16_t count = m->counts[GATE_DNS_ANSWERS];
	count = count < GROUP_MAX ? count : GROUP_MAX;
	gate_jw_object(jw, "grouped");
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
		log_group(m, rrs, count, shown[i], jw);
	}
	gate_jw_end(jw);
}

static void log_flags(const struct gate_dns_message *m, struct gate_jw *jw)
{
	static const struct {
		uint16_t flag;
		const char *key;
	} flags[] = {
		{GATE_DNS_QR, "qr"}, {GATE_DNS_AA, "aa"}, {GATE_DNS_TC, "tc"},
		{GATE_DNS_RD, "rd"}, {GATE_DNS_RA, "ra"}, {GATE_DNS_Z, "z"},
	};
	char text[8];
	snprintf(text, sizeof(text), "%x", m->flags);
	gate_jw_text(jw, "flags", text);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (m->flags & flags[i].flag) {
			gate_jw_bool(jw, flags[i].key, true);
		}
	}
}

void gate_dns_log(const struct gate_dns_message *m, uint64_t tx_id, struct gate_jw *jw)
{
	static const char *const keys[] = {"queries", "answers", "authorities", "additionals"};
	uint16_t rcode = m->flags & 0xf;
	const struct gate_dns_rr *rr = m->rrs;
	uint32_t left_out = 0;
	size_t until = jw->size + SHOWN_MAX;
	gate_jw_uint(jw, "version", 3);
	gate_jw_text(jw, "type", m->flags & GATE_DNS_QR ? "response" : "request");
	gate_jw_uint(jw, "tx_id", tx_id);
	gate_jw_uint(jw, "id", m->id);
	log_flags(m, jw);
	gate_jw_uint(jw, "opcode", m->flags >> 11 & 0xf);
	log_or_number(jw, "rcode", gate_dns_rcode_name(rcode), rcode);
	for (unsigned int s = 0; s < GATE_DNS_SECTIONS; s++) {
		if (!m->counts[s]) {
			continue;
		}
		gate_jw_array(jw, keys[s]);
		for (uint16_t i = 0; i < m->counts[s]; i++, rr++) {
			left_out += !log_rr(m, rr, s == GATE_DNS_QUERIES, until, jw);
		}
		gate_jw_end(jw);
	}
	if (left_out) {
		gate_jw_uint(jw, "records_left_out", left_out);
	} else if (m->counts[GATE_DNS_ANSWERS]) {
		log_grouped(m, jw);
	}
}

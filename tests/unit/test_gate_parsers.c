/* SPDX-License-Identifier: Apache-2.0 */
/* TLS, QUIC, SSH, DNS, DHCP, SNMP, SIP: real conversations whole, in pieces and cut off, and what
 * each says of them. */
#include "gate_app_world.h"
#include "gate_feed.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/util.h"
#include "gate/app/dns/dns.h"
#include "gate/app/quic/quic.h"
#include "gate/app/tls/cert.h"
#include "gate/app/tls/hello.h"

#include <dirent.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
	const char *name;
	enum gate_app app;
	bool datagrams; /* only: whatever an input says of its transport, pieces are others */
} corpora[] = {
	{"dns", GATE_APP_DNS},
	{"tls", GATE_APP_TLS},
	{"ssh", GATE_APP_SSH},
	{"quic", GATE_APP_QUIC, .datagrams = true},
	{"dhcp", GATE_APP_DHCP, .datagrams = true},
	{"snmp", GATE_APP_SNMP, .datagrams = true},
	{"sip", GATE_APP_SIP},
};

static uint8_t *load(const char *path, size_t *ret_size)
{
	char *data = NULL;
	assert_int_equal(bh_file_read(path, 1 << 20, &data, ret_size, NULL), 0);
	return (uint8_t *)data;
}

static void in_pieces(unsigned int corpus, const uint8_t *data, size_t size)
{
	enum gate_app app = corpora[corpus].app;
	bool stream = !corpora[corpus].datagrams && !(data[0] & 1);
	static const size_t steps[] = {1, 2, 5, 13, 100};
	BH_FREE char *whole = gate_feed(app, data, size, 0);
	for (size_t i = 0; i < BH_ARRAY_SIZE(steps) && stream; i++) {
		BH_FREE char *pieces = gate_feed(app, data, size, steps[i]);
		assert_string_equal(whole, pieces);
	}
	for (size_t n = 0; n < size && n < 1200; n++) {
		BH_FREE uint8_t *cut = bh_memdup(data, n);
		free(gate_feed(app, cut, n, 0));
	}
}

static unsigned int each_file(unsigned int corpus)
{
	BH_FREE char *folder = bh_asprintf("%s/gate_%s", CORPUS_DIR, corpora[corpus].name);
	DIR *dir = opendir(folder);
	unsigned int count = 0;
	assert_non_null(dir);
	for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
		if (e->d_name[0] == '.') {
			continue;
		}
		BH_FREE char *path = bh_asprintf("%s/%s", folder, e->d_name);
		size_t size = 0;
		BH_FREE uint8_t *data = load(path, &size);
		if (size > 3) {
			in_pieces(corpus, data, size);
			count++;
		}
	}
	closedir(dir);
	return count;
}

static void conversations(void **state)
{
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(corpora); i++) {
		assert_true(each_file(i) > 0);
	}
}

static void says(enum gate_app app, const char *file, const char *const *lines)
{
	BH_FREE char *path = bh_asprintf("%s/%s", CORPUS_DIR, file);
	size_t size = 0;
	BH_FREE uint8_t *data = load(path, &size);
	BH_FREE char *text = gate_feed(app, data, size, 0);
	for (; *lines; lines++) {
		if (!strstr(text, *lines)) {
			fail_msg("%s: no \"%s\" in\n%s", file, *lines, text);
		}
	}
}

static void tls(void **state)
{
	static const char *const zero[] = {
		"app tls\n",
		"> tls.sni[0] 0 \"go.microsoft.com\"\n",
		"CN=Microsoft RSA TL\\x00 CA 01\"\n",
		"< tls.cert_chain_len[0] 2\n",
		"fingerprint[0] 0 \"cd:2e:3e:8e:87:9a:c0:44:99:2b:c4:80:eb:4f:57:fb:96:6e:88:c0\"",
		"\"notbefore\":\"2021-12-15T19:27:42\",\"notafter\":\"2022-12-15T19:27:42\"",
		NULL};
	static const char *const no_issuer[] = {
		"< tls.cert_subject[0] 0 \"C=US, ST=Arizona, L=Scottsdale, street=, "
		"postalCode=6565, CN=localhost\"\n",
		"< tls.subjectaltname[0] 0 \"localhost\"\n", "< tls.alpn[0] 0 \"http/1.1\"\n",
		NULL};
	static const char *const tor[] = {"> tls.version[0] 772\n", "< tls.version[0] 772\n",
					  "\"version\":\"TLS 1.3\"", NULL};
	says(GATE_APP_UNKNOWN, "gate_tls/60bfe5ef-0-t443", zero);
	says(GATE_APP_UNKNOWN, "gate_tls/1c9f303a-0-t443", no_issuer);
	says(GATE_APP_UNKNOWN, "gate_tls/f1dff0e4-0-t9001", tor);
}

static void others(void **state)
{
	static const char *const dns[] = {"dns.opcode[0] 4\n", "\"type\":\"request\"",
					  "\"mname\":\"ns3.bortzmeyer.org\"", NULL};
	static const char *const ssh[] = {
		"> ssh.software[0] 0 \"libssh-0.7.2\"\n",
		"< ssh.hassh.server[0] 0 \"6832f1ce43d4397c2c0a3e2f8c94334e\"\n", "done 3\n", NULL};
	static const char *const sip[] = {"> sip.to[1] 0 \"<sip:12345@voip.brujula.net>\"\n",
					  "\"method\":\"INVITE\"", NULL};
	static const char *const snmp[] = {"> snmp.community[0] 0 \"[R0_C@cti!]\"\n",
					   "> snmp.version[0] 2\n", "\"pdu_type\":\"response\"",
					   NULL};
	static const char *const quic[] = {
		"> quic.sni[0] 0 \"msquic.net\"\n", "< ja3s.string[0] 0 \"771,4866,43-51-41\"\n",
		"{\"name\":\"server_name\",\"type\":0,"
		"\"values\":[\"msquic.net\"]}",
		"\"extensions\":[{\"name\":\"supported_versions\",\"type\":43},"
		"{\"name\":\"key_share\",\"type\":51},",
		NULL};
	static const char *const google[] = {"> quic.sni[0] 0 \"upload.youtube.com\"\n",
					     "\"version\":\"Q039\"", NULL};
	static const char *const dhcp[] = {"\"dhcp_type\":\"", "\"client_mac\":\"", NULL};
	says(GATE_APP_UNKNOWN, "gate_dns/0a9b623e-0-u53", dns);
	says(GATE_APP_UNKNOWN, "gate_ssh/f317be3e-0-t22", ssh);
	says(GATE_APP_UNKNOWN, "gate_sip/8e43102a-0-u5060", sip);
	says(GATE_APP_UNKNOWN, "gate_snmp/219edac5-0-u161", snmp);
	says(GATE_APP_UNKNOWN, "gate_quic/e92b999c-0-u443", quic);
	says(GATE_APP_UNKNOWN, "gate_quic/mixed-110-u443", google);
	says(GATE_APP_UNKNOWN, "gate_dhcp/mixed.pc-396-u67", dhcp);
}

/* RFC 9001, appendix A.1 */
static void quic_keys(void **state)
{
	struct quic_keys keys;
	uint8_t dcid[8], key[16], iv[12], hp[16];
	assert_int_equal(bh_hex_parse("8394c8f03e515708", dcid, sizeof(dcid)), 0);
	struct gate_view view = {.data = dcid, .size = sizeof(dcid)};
	assert_true(quic_keys_derive(&keys, 1, &view));
	assert_int_equal(bh_hex_parse("1f369613dd76d5467730efcbe3b1a22d", key, sizeof(key)), 0);
	assert_int_equal(bh_hex_parse("fa044b2f42a3fd3b46fb255c", iv, sizeof(iv)), 0);
	assert_int_equal(bh_hex_parse("9f50449e04a0e810283a1e9933adedd2", hp, sizeof(hp)), 0);
	assert_memory_equal(keys.side[GATE_TO_SERVER].key, key, sizeof(key));
	assert_memory_equal(keys.side[GATE_TO_SERVER].iv, iv, sizeof(iv));
	assert_memory_equal(keys.side[GATE_TO_SERVER].hp, hp, sizeof(hp));
	assert_int_equal(bh_hex_parse("cf3a5331653c364c88f0f379b6067e37", key, sizeof(key)), 0);
	assert_memory_equal(keys.side[GATE_TO_CLIENT].key, key, sizeof(key));
}

static void put16(struct bh_wbuf *w, unsigned int value)
{
	bh_wbuf_u8(w, (uint8_t)(value >> 8));
	bh_wbuf_u8(w, (uint8_t)value);
}

/* The example of FoxIO's description of JA4. */
static void ja4(void **state)
{
	static const uint16_t ciphers[] = {0x1a1a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f,
					   0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
					   0x009c, 0x009d, 0x002f, 0x0035};
	static const uint16_t extensions[] = {0x3a3a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469,
					      0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012,
					      0x002b, 0xff01, 0x000b, 0x000a, 0x0015};
	static const uint16_t signatures[] = {0x0403, 0x0804, 0x0401, 0x0503,
					      0x0805, 0x0501, 0x0806, 0x0601};
	struct bh_wbuf body, ext;
	struct gate_tls_hello hello;
	char text[GATE_JA4_SIZE];
	bh_wbuf_init(&body, 0);
	bh_wbuf_init(&ext, 0);
	for (size_t i = 0; i < BH_ARRAY_SIZE(extensions); i++) {
		put16(&ext, extensions[i]);
		if (extensions[i] == 0x10) {
			bh_wbuf_put(&ext, "\0\5\0\3\2h2", 7);
		} else if (extensions[i] == 0x2b) {
			bh_wbuf_put(&ext, "\0\7\6\x1a\x1a\3\4\3\3", 9);
		} else if (extensions[i] == 0x0d) {
			put16(&ext, 2 + 2 * BH_ARRAY_SIZE(signatures));
			put16(&ext, 2 * BH_ARRAY_SIZE(signatures));
			for (size_t k = 0; k < BH_ARRAY_SIZE(signatures); k++) {
				put16(&ext, signatures[k]);
			}
		} else {
			put16(&ext, 0);
		}
	}
	put16(&body, 0x0303);
	for (unsigned int i = 0; i < 33; i++) {
		bh_wbuf_u8(&body, 0);
	}
	put16(&body, sizeof(ciphers));
	for (size_t i = 0; i < BH_ARRAY_SIZE(ciphers); i++) {
		put16(&body, ciphers[i]);
	}
	put16(&body, 0x0100);
	put16(&body, (unsigned int)ext.size);
	bh_wbuf_put(&body, ext.data, ext.size);
	assert_true(gate_tls_hello_read(body.data, (uint32_t)body.size, true, &hello));
	assert_false(hello.flags & GATE_TLS_BAD_LENGTH);
	assert_int_equal(hello.version, 0x0304);
	assert_true(gate_ja4(&hello, 't', text));
	assert_string_equal(text, "t13d1516h2_8daaf6152771_e5627efa2ab1");
	bh_wbuf_done(&body);
	bh_wbuf_done(&ext);
}

/* A name that points to itself, one through a chain of pointers, one of too many labels. */
static void dns_names(void **state)
{
	static const uint8_t head[12] = {0, 1, 1, 0, 0, 1};
	uint8_t m[600] = {};
	struct gate_dns_reading r;
	memcpy(m, head, sizeof(head));
	memcpy(m + 12, "\xc0\x0c\0\1\0\1", 6);
	assert_int_not_equal(gate_dns_read(m, 18, &r), 0);
	memcpy(m + 12, "\1a\xc0\x0c\0\1\0\1", 8);
	assert_int_equal(gate_dns_read(m, 20, &r), 0);
	assert_true(r.message.events & (1u << GATE_DNS_TOO_MANY_LABELS));
	memset(m + 12, 0, sizeof(m) - 12);
	for (unsigned int i = 0; i < 256; i++) {
		memcpy(m + 12 + 2 * (size_t)i, "\1a", 2);
	}
	assert_int_not_equal(gate_dns_read(m, sizeof(m), &r), 0);
	/* more records than bytes can hold */
	memset(m + 6, 0xff, 6);
	assert_int_not_equal(gate_dns_read(m, sizeof(m), &r), 0);
}

/* A response of many records: more than fit at once, and no more memory than declared. */
static void dns_many(void **state)
{
	enum { COUNT = 4000 };
	size_t size = 12 + 7 + COUNT * 16ul;
	BH_FREE uint8_t *m = bh_alloc(size);
	struct gate_dns_reading r;
	struct gate_dns_message kept;
	memcpy(m,
	       "\0\1\x81\x80\0\1\x0f\xa0\0\0\0\0"
	       "\1a\0\0\1\0\1",
	       19);
	for (size_t i = 0; i < COUNT; i++) {
		memcpy(m + 19 + i * 16, "\xc0\x0c\0\1\0\1\0\0\0\1\0\4\1\2\3\4", 16);
	}
	assert_int_equal(gate_dns_read(m, size, &r), 0);
	assert_false(r.fits);
	BH_FREE void *memory = bh_alloc(gate_dns_need(&r));
	gate_dns_keep(&r, memory, &kept);
	assert_int_equal(kept.counts[GATE_DNS_ANSWERS], COUNT);
	struct gate_buffer_view v;
	assert_true(gate_dns_buffer(&kept, GATE_BUF_DNS_ANSWERS_RRNAME, COUNT - 1, &v));
	assert_int_equal(v.size, 1);
	assert_false(gate_dns_buffer(&kept, GATE_BUF_DNS_ANSWERS_RRNAME, COUNT, &v));
}

static void dns_sides(void **state)
{
	static const uint8_t query[] = "\0\1\1\0\0\1\0\0\0\0\0\0\1a\2bc\0\0\1\0\1";
	uint8_t response[sizeof(query) - 1];
	struct app_world w;
	memcpy(response, query, sizeof(response));
	response[2] |= 0x80;
	app_world_open(&w, 53, NULL);
	w.keep_txs = true;
	w.flow.ip_proto = IPPROTO_UDP;
	app_world_datagram(&w, GATE_TO_SERVER, query, sizeof(query) - 1);
	BH_FREE char *name = app_world_buffer(&w, 0, GATE_TO_SERVER, GATE_BUF_DNS_QUERY, 0);
	assert_string_equal(name, "a.bc");
	BH_FREE char *none = app_world_buffer(&w, 0, GATE_TO_CLIENT, GATE_BUF_DNS_QUERY_NAME, 0);
	assert_string_equal(none, "(none)");
	/* a response from the client is told by the transaction before */
	app_world_datagram(&w, GATE_TO_SERVER, response, sizeof(response));
	assert_true(app_world_has_event(&w, 0, "not_request"));
	app_world_datagram(&w, GATE_TO_CLIENT, response, sizeof(response));
	BH_FREE char *second = app_world_buffer(&w, 1, GATE_TO_CLIENT, GATE_BUF_DNS_QUERY_NAME, 0);
	assert_string_equal(second, "a.bc");
	app_world_close(&w);
}

static void tls_events(void **state)
{
	static const uint8_t bleed[] =
		"\x16\x03\x02\x00\x02\x01\x00\x18\x03\x02\x00\x03\x01\x40\x00";
	struct app_world w;
	app_world_open(&w, 443, NULL);
	w.keep_txs = true;
	app_world_feed(&w, GATE_TO_SERVER, bleed, sizeof(bleed) - 1, false);
	assert_true(app_world_has_event(&w, 0, "overflow_heartbeat_message"));
	app_world_feed(&w, GATE_TO_SERVER, "\x99\x03\x02\x00\x03", 5, false);
	assert_true(app_world_has_event(&w, 0, "invalid_record_type"));
	app_world_close(&w);
}

/* Lines that end with LF, CR LF or CR alone, and long ones. */
static void ssh_banners(void **state)
{
	static const struct {
		int digits;
		const char *end, *software;
		bool is_long;
	} cases[] = {{3, " b\n", "000", false},	      {3, "\r\n", "000", false},
		     {3, "\rSSH-\r\n", "000", false}, {247, "\r\n", NULL, false},
		     {248, "\r\n", NULL, true},	      {300, "", NULL, true}};
	for (size_t i = 0; i < BH_ARRAY_SIZE(cases); i++) {
		BH_FREE char *said =
			bh_asprintf("SSH-2.0-%0*d%s", cases[i].digits, 0, cases[i].end);
		struct app_world w;
		app_world_open(&w, 22, NULL);
		w.keep_txs = true;
		app_world_feed(&w, GATE_TO_SERVER, said, strlen(said), false);
		BH_FREE char *software =
			app_world_buffer(&w, 0, GATE_TO_SERVER, GATE_BUF_SSH_SOFTWARE, 0);
		if (cases[i].software) {
			assert_string_equal(software, cases[i].software);
		}
		assert_int_equal(app_world_has_event(&w, 0, "long_banner"), cases[i].is_long);
		assert_false(app_world_has_event(&w, 0, "invalid_banner"));
		app_world_close(&w);
	}
}

/* A key exchange that is too long, one whose lists do not fit: neither is an invalid record. */
static void ssh_records(void **state)
{
	static const char said[] = "SSH-2.0-a\r\n"
				   "\0\0\0\x06\4\x14\xff\xff\xff\xff"
				   "\0\1\0\1\x14\x14";
	struct app_world w;
	app_world_open(&w, 22, NULL);
	w.keep_txs = true;
	app_world_feed(&w, GATE_TO_SERVER, said, sizeof(said) - 1 - 6, false);
	assert_false(app_world_has_event(&w, 0, "long_kex_record"));
	app_world_feed(&w, GATE_TO_SERVER, said + sizeof(said) - 1 - 6, 6, false);
	assert_true(app_world_has_event(&w, 0, "long_kex_record"));
	assert_false(app_world_has_event(&w, 0, "invalid_record"));
	app_world_close(&w);
}

/* Options that go on in the field of the server's name; one of a client that has no bytes. */
static void dhcp_options(void **state)
{
	uint8_t m[300] = {2, 1, 6};
	struct app_world w;
	memcpy(m + 44, "\x33\x04\0\0\x0e\x10\xff", 7);
	memcpy(m + 236, "\x63\x82\x53\x63\x35\x01\x05\x34\x01\x02\xff", 11);
	app_world_open(&w, 67, NULL);
	w.keep_txs = true;
	w.flow.ip_proto = IPPROTO_UDP;
	app_world_datagram(&w, GATE_TO_CLIENT, m, sizeof(m));
	BH_FREE char *text = app_world_dump(&w);
	assert_non_null(strstr(text, "< dhcp.leasetime[0] 3600\n"));
	BH_FREE char *record = app_world_record(&w, 0);
	assert_non_null(strstr(record, "\"dhcp_type\":\"ack\",\"lease_time\":3600"));
	assert_false(app_world_has_event(&w, 0, "truncated_options"));
	memcpy(m + 240, "\x3d\x01\x01\xff", 4);
	m[0] = 9; /* no kind of message that there is */
	app_world_datagram(&w, GATE_TO_CLIENT, m, sizeof(m));
	assert_true(app_world_has_event(&w, 1, "truncated_options"));
	app_world_close(&w);
}

/* The flow's first version is what the others are held against. */
static void snmp_versions(void **state)
{
	uint8_t get[] = "\x30\x19\x02\x01\x01\x04\x01x\xa0\x11\x02\x01\x01\x02\x01\x02\x02\x01\x00"
			"\x30\x06\x30\x04\x06\x00\x05\x00";
	struct app_world w;
	app_world_open(&w, 161, NULL);
	w.keep_txs = true;
	w.flow.ip_proto = IPPROTO_UDP;
	get[1] = sizeof(get) - 3;
	get[9] = sizeof(get) - 11;
	app_world_datagram(&w, GATE_TO_SERVER, get, sizeof(get) - 1);
	get[4] = 0;
	app_world_datagram(&w, GATE_TO_SERVER, get, sizeof(get) - 1);
	app_world_datagram(&w, GATE_TO_SERVER, get, sizeof(get) - 1);
	assert_false(app_world_has_event(&w, 0, "version_mismatch"));
	assert_true(app_world_has_event(&w, 1, "version_mismatch"));
	assert_true(app_world_has_event(&w, 2, "version_mismatch"));
	BH_FREE char *record = app_world_record(&w, 2);
	assert_non_null(strstr(record, "\"error\":\"NoSuchName\""));
	app_world_close(&w);
}

/* The longest SNMP and SIP lies: lengths beyond the datagram. */
static void lies(void **state)
{
	static const uint8_t snmp[] = "\x30\x84\xff\xff\xff\xff\x02\x01\x01";
	static const uint8_t dhcp[236] = {1, 1, 6};
	struct app_world w;
	app_world_open(&w, 161, NULL);
	w.flow.ip_proto = IPPROTO_UDP;
	app_world_datagram(&w, GATE_TO_SERVER, snmp, sizeof(snmp) - 1);
	app_world_datagram(&w, GATE_TO_SERVER, dhcp, sizeof(dhcp));
	assert_int_equal(w.flow.app, GATE_APP_UNKNOWN);
	app_world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conversations), cmocka_unit_test(tls),
		cmocka_unit_test(others),	 cmocka_unit_test(quic_keys),
		cmocka_unit_test(ja4),		 cmocka_unit_test(dns_names),
		cmocka_unit_test(dns_many),	 cmocka_unit_test(dns_sides),
		cmocka_unit_test(tls_events),	 cmocka_unit_test(lies),
		cmocka_unit_test(ssh_banners),	 cmocka_unit_test(dhcp_options),
		cmocka_unit_test(snmp_versions), cmocka_unit_test(ssh_records),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

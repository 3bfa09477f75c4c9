/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate/rules: what each kind of rule becomes (in the one spelling that gate_rule_format gives it),
 * where and why bad rules are refused, every truncation, and the rules of Emerging Threats.
 */
#include "base/buf.h"
#include "gate/app/app.h"
#include "gate_rule_world.h"

#include <errno.h>
#include <sys/stat.h>

/* The options of the only rule in normal spelling, without what each has. Owned. */
static char *normal(struct world *w, const char *text)
{
	struct gate_rule_files *files = read_text(w, text);
	struct bh_wbuf out;
	char *s;

	if (files->rules.count != 1) {
		fail_msg("%s: %s", text,
			 files->refusals.count ? files->refusals.items[0].reason : "no rule");
	}
	bh_wbuf_init(&out, 0);
	gate_rule_format(files->rules.items[0], w->names, &out);
	s = bh_strdup(bh_wbuf_cstr(&out));
	bh_wbuf_done(&out);
	gate_rules_free(files);
	return s;
}

#define TAIL "priority:3; gid:1; sid:1; rev:0;)"

/* Options of an http rule, and what they become. */
static const struct {
	const char *options, *normal;
} http_rules[] = {
	{"content:\"a|20 62|c\";", "content:\"a bc\"; "},
	{"content:\"a\\;b\\\"c\\\\d\";", "content:\"a|3b|b|22|c|5c|d\"; "},
	{"content:!\"x\"; nocase; offset:3; depth:9;",
	 "content:!\"x\"; offset:3; depth:9; nocase; "},
	{"content:\"x\"; content:\"y\"; distance:-3; within:5; fast_pattern;",
	 "content:\"x\"; content:\"y\"; distance:-3; within:5; fast_pattern; "},
	{"content:\"abcd\"; fast_pattern:1,2;", "content:\"abcd\"; fast_pattern:1,2; "},
	{"content:\"abcd\"; fast_pattern:only;", "content:\"abcd\"; fast_pattern:only; "},
	{"content:\"abcd\"; startswith; endswith; rawbytes;",
	 "content:\"abcd\"; startswith; endswith; rawbytes; "},
	{"content:\"ab\"; replace:\"cd\";", "content:\"ab\"; replace:\"cd\"; "},
	{"content:\"x\"; isdataat:!1,relative;", "content:\"x\"; endswith; "},
	{"content:\"x\"; isdataat:10,relative; isdataat:!20;",
	 "content:\"x\"; isdataat:10,relative; isdataat:!20; "},
	/* buffers: old spellings, the same list again, several values */
	{"content:\"GET\"; http_method; content:\"/a\"; http_uri; content:\"b\"; http_uri; "
	 "distance:1;",
	 "http.method; content:\"GET\"; http.uri; content:\"/a\"; content:\"b\"; distance:1; "},
	{"content:\"p\"; http.uri; content:\"a\"; http.method; content:\"b\"; http.uri; "
	 "content:\"c\";",
	 "content:\"p\"; http.uri; content:\"a\"; content:\"c\"; http.method; content:\"b\"; "},
	{"http.request_header; content:\"a\"; http.request_header; content:\"b\";",
	 "http.request_header; content:\"a\"; http.request_header; content:\"b\"; "},
	{"http.uri; content:\"a\"; pkt_data; content:\"b\";",
	 "http.uri; content:\"a\"; pkt_data; content:\"b\"; "},
	{"uricontent:\"this\"; uricontent:\"is\"; within:9;",
	 "http.uri; content:\"this\"; content:\"is\"; within:9; "},
	{"uricontent:\"fix\"; isdataat:!10,relative;",
	 "http.uri; content:\"fix\"; isdataat:!10,relative; "},
	{"content:\"a\"; content:\"b\"; http_uri; content:\"c\"; distance:0;",
	 "content:\"a\"; content:\"c\"; distance:0; http.uri; content:\"b\"; "},
	{"content:\"a\"; isdataat:5,relative; http_uri;",
	 "isdataat:5,relative; http.uri; content:\"a\"; "},
	{"file_data; content:\"x\";", "file.data; content:\"x\"; "},
	{"urilen:>20; urilen:17,raw; urilen:5<>10,norm;",
	 "http.uri; bsize:>20; bsize:5<>10; http.uri.raw; bsize:17; "},
	{"http.uri; bsize:<70; content:\"x\";", "http.uri; bsize:<70; content:\"x\"; "},
	{"http.referer; absent; http.uri; content:\"x\";",
	 "http.referer; absent; http.uri; content:\"x\"; "},
	{"http.referer; absent: or_else; content:!\"x\";",
	 "http.referer; absent:or_else; content:!\"x\"; "},
	/* pcre: letters of buffers, captures */
	{"pcre:\"/a\\/b/Ui\";", "http.uri; pcre:\"/a\\/b/i\"; "},
	{"pcre:!\"/x/BRGEAxsmi\";", "pcre:!\"/x/imsxAEGRB\"; "},
	{"pcre:/\\.\\/a/I; content:\"/c/\"; within:5; http_raw_uri;",
	 "http.uri.raw; pcre:\"/\\.\\/a/\"; content:\"/c/\"; within:5; "},
	{"http.uri; pcre:\"/^x/R\";", "http.uri; pcre:\"/^x/R\"; "},
	{"pcre:\"/(a)(b)/i, flow:one, pkt:two\";", "pcre:\"/(a)(b)/i, flow:one, pkt:two\"; "},
	{"file_data; content:\"a\"; pcre:\"/^b/QR\";",
	 "file.data; content:\"a\"; pcre:\"/^b/R\"; "},
	/* transforms */
	{"http.uri; url_decode; to_lowercase; content:\"x\"; http.uri; content:\"y\";",
	 "http.uri; url_decode; to_lowercase; content:\"x\"; http.uri; content:\"y\"; "},
	{"http.uri; content:\"a\"; subslice:1,30,truncate; content:\"b\"; bsize:10;",
	 "http.uri; content:\"a\"; http.uri; subslice:1,30,truncate; content:\"b\"; bsize:10; "},
	{"http.uri; subslice:-20,truncate; content:\"b\";",
	 "http.uri; subslice:-20,truncate; content:\"b\"; "},
	{"http.uri; pcrexform:\"/get\\?data=(.*)\"; xor:\"0d0ac8ff\"; content:\"p=\";",
	 "http.uri; pcrexform:\"/get\\?data=(.*)\"; xor:offset 0, 0d0ac8ff; content:\"p=\"; "},
	{"http.uri; xor:offset   1,  extract 1 0; content:\"p\";",
	 "http.uri; xor:offset 1, extract 1 0; content:\"p\"; "},
	{"http.uri; from_base64: bytes 6, offset 6 ; content:\"t\";",
	 "http.uri; from_base64:offset 6, mode rfc4648, bytes 6; content:\"t\"; "},
	{"http.uri; from_base64; gunzip:max-size 8192; content:\"t\";",
	 "http.uri; from_base64:offset 0, mode rfc4648; gunzip:max-size 8192; content:\"t\"; "},
	{"http.request_body; content:\"|27|\"; base64_decode:bytes 64, offset 1, relative; "
	 "base64_data; content:\"x\"; within:2; content:\"y\"; http.uri; content:\"z\";",
	 "http.request_body; content:\"|27|\"; base64_decode:offset 1, relative, bytes 64; "
	 "base64_data; content:\"x\"; within:2; content:\"y\"; http.uri; content:\"z\"; "},
	/* numbers in bytes, variables */
	{"byte_test:2,!=,0x10,-4,relative,little;", "byte_test:2,!=,16,-4,relative,little; "},
	{"byte_test:0,>=,10,0,string,dec, bitmask 0xf0;",
	 "byte_test:0,>=,10,0,string,dec,bitmask 0xf0; "},
	{"byte_jump:4,0,relative,multiplier 2,align,post_offset -8,from_beginning;",
	 "byte_jump:4,0,relative,from_beginning,align,multiplier 2,post_offset -8; "},
	{"byte_extract:2,1,len,relative; content:\"ab\"; offset:len; depth:len;",
	 "byte_extract:2,1,v0,relative; content:\"ab\"; offset:v0; depth:v0; "},
	{"byte_extract:1,2,n; byte_math:bytes n, offset 1, oper <<, rvalue 2, result r; "
	 "byte_test:1,=,r,1;",
	 "byte_extract:1,2,v0; byte_math:bytes v0, offset 1, oper <<, rvalue 2, result v1; "
	 "byte_test:1,=,v1,1; "},
	/* of flow and transaction */
	{"flow:established,from_client,only_stream;", "flow:to_server,established,only_stream; "},
	{"flowbits:isset,a|b; flowbits:set,c; flowbits:isnotset,d;",
	 "flowbits:isset,a|b; flowbits:isnotset,d; flowbits:set,c; "},
	{"flowint:n,+,1; flowint:n,>=,other; flowint:m,notset;",
	 "flowint:n,>=,other; flowint:m,isnotset; flowint:n,+,1; "},
	{"xbits:set, a.b, track ip_src, expire 360; xbits:isset,c,track ip_pair;",
	 "xbits:isset,c,track ip_pair,expire 30; xbits:set,a.b,track ip_src,expire 360; "},
	{"stream_size:server,<,5; flow.pkts:either,=10; flow.bytes_toclient:>3000; flow.age:>5;",
	 "stream_size:server,<,5; flow.pkts:either,10; flow.bytes:toclient,>3000; flow.age:>5; "},
	{"threshold: type limit, track by_src, seconds 60, count 1;",
	 "threshold:type limit, track by_src, count 1, seconds 60; "},
	{"threshold:type backoff, track by_flow, count 3, multiplier 2;",
	 "threshold:type backoff, track by_flow, count 3, multiplier 2; "},
	{"detection_filter: track by_dst, count 4, seconds 20, unique_on src_port;",
	 "detection_filter:track by_dst, count 4, seconds 20, unique_on src_port; "},
	{"tag:session,5,packets; noalert; target:src_ip; prefilter; bypass;",
	 "tag:session,5,packets; bypass; noalert; prefilter; target:src_ip; "},
	{"http.uri; content:\"a\"; config: logging disable,type  tx , scope tx;",
	 "http.uri; content:\"a\"; config:logging disable, type tx, scope tx; "},
	{"filestore; filename:!\"a.gz\"; fileext:\"mp4\"; filesize:>1kb;",
	 "file.name; content:!\"a.gz\"; nocase; content:\".mp4\"; nocase; endswith; "
	 "filesize:>1024; filestore; "},
	{"pcre:\"/(a)(b)/, alert:one/two\";", "pcre:\"/(a)(b)/, alert:one/two\"; "},
	{"pcre:\"/(?P<alert_x>a)/\";", "pcre:\"/(?P<alert_x>a)/\"; "},
	{"flowvar:one,\"a|20|b\"; pktvar:two,c;", "flowvar:one,\"a b\"; pktvar:two,\"c\"; "},
	{"hostbits:set,bad,dst,60; hostbits:isset,good;",
	 "xbits:isset,good,track ip_src,expire 300; xbits:set,bad,track ip_dst,expire 60; "},
	{"hostbits:set,bad,both,60; hostbits:isnotset,a|b,both;",
	 "hostbits:isnotset,a|b,both,300; hostbits:set,bad,both,60; "},
	{"tag:host; tag:session,10,bytes; alert;",
	 "tag:host,256,packets,dst; tag:session,10,bytes; alert; "},
	{"entropy:value >= 4.5; file.data; entropy:bytes 10, offset 2, value !1-2;",
	 "entropy:bytes 0, offset 0, value >=4.5; "
	 "file.data; entropy:bytes 10, offset 2, value !1-2; "},
	{"filesize:<2MiB; filestore:both,ssn;", "filesize:<2097152; filestore:both,flow; "},
	{"http2.window:>5,all; http2.window:count >3; http2.priority:7,nb>1,1:-1;",
	 "http2.window:>5,all; http2.window:count >3; http2.priority:7,nb>1,1:-1; "},
	{"http2.window:5,-2; http2.window:!5,oob_or 3; http2.size_update:<100,or_absent;",
	 "http2.window:5,-2; http2.window:!5,oob_or 3; http2.size_update:<100,or_absent; "},
	{"http2.settings:SETTINGS_ENABLE_PUSH=0; http2.settings:SETTINGS_MAX_FRAME_SIZE>=9;",
	 "http2.settings:SETTINGS_ENABLE_PUSH=0; http2.settings:SETTINGS_MAX_FRAME_SIZE>8; "},
	{"http2.frametype:goaway; http2.errorcode:!no_error;",
	 "http2.frametype:7; http2.errorcode:!0; "},
};

static void test_options(void **state)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(http_rules); i++) {
		BH_FREE char *text = bh_asprintf("alert http any any -> any any (%s sid:1;)",
						 http_rules[i].options);
		BH_FREE char *want =
			bh_asprintf("alert http any any -> any any (%s" TAIL, http_rules[i].normal);
		BH_FREE char *got = normal(*state, text);
		BH_FREE char *again = normal(*state, got);

		assert_string_equal(got, want);
		assert_string_equal(again, want);
	}
}

/* Whole rules: headers, protocols, packets. */
static const struct {
	const char *text, *normal;
} whole_rules[] = {
	{"drop tcp 10.0.0.0/8 1:5 <> ![10.1.0.0/16,2001:db8::/32] [80,!81,90:] "
	 "(msg:\"a \\; \\\"b\\\"\"; flags:SA,12; ttl:>5; sid:1;)",
	 "drop tcp [10.0.0.0-10.255.255.255] [1:5] <> "
	 "[::-::fffe:ffff:ffff,0.0.0.0-10.0.255.255,10.2.0.0-255.255.255.255,"
	 "::1:0:0:0-2001:db7:ffff:ffff:ffff:ffff:ffff:ffff,"
	 "2001:db9::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff,!10.1.0.0] [80:80,90:65535] "
	 "(msg:\"a \\; \\\"b\\\"\"; flags:SA,21; ttl:>5; " TAIL},
	{"pass ip [1.2.3.0/24,!1.2.3.4,1.2.3.4] any -> 1.1.1.1 any (sid:1;)",
	 "pass ip [1.2.3.0-1.2.3.3,1.2.3.5-1.2.3.255,!::] any -> [1.1.1.1-1.1.1.1] any (" TAIL},
	{"alert udp $HOME_NET any -> [$DNS_SERVERS, ![172.16.0.0/12, 10.0.0.0/8]] $HTTP_PORTS "
	 "(content:\"x\"; sid:1;)",
	 "alert udp [10.0.0.0-10.255.255.255,172.16.0.0-172.31.255.255,"
	 "192.168.0.0-192.168.255.255] any -> [192.168.0.0-192.168.255.255,!::] [80:80] "
	 "(content:\"x\"; " TAIL},
	{"alert icmp any any -> any any (itype:7<>20; icode:!3; icmp_id:\"5\"; icmp_seq:9; sid:1;)",
	 "alert icmp any any -> any any (itype:7<>20; icode:!3; icmp_id:5; icmp_seq:9; " TAIL},
	{"rejectboth tcp-pkt any any -> any !80 (dsize:9<>18; id:3; fragbits:MD+; "
	 "fragoffset:>3; ipopts:rr; tos:!8; ip_proto:!udp; sameip; seq:1; ack:2; window:!3; "
	 "tcp.mss:<536; sid:1;)",
	 "rejectboth tcp-pkt any any -> any [0:79,81:65535] (dsize:9<>18; id:3; fragbits:MD+; "
	 "fragoffset:>3; ipopts:rr; tos:!8; ip_proto:!17; sameip; seq:1; ack:2; window:!3; "
	 "tcp.mss:<536; " TAIL},
	{"alert tls any any => any any (ja3.hash; content:\"AB\"; ja3s.hash; "
	 "content:\"cd\"; sid:1;)",
	 "alert tls any any => any any (ja3.hash; content:\"ab\"; ja3s.hash; "
	 "content:\"cd\"; " TAIL},
	{"alert tls any any -> any any (tls.version:1.2; tls_cert_notafter:<2015-10-21; "
	 "tls_cert_expired; tls.subject:\"CN=x\"; sid:1;)",
	 "alert tls any any -> any any (tls.cert_subject; content:\"CN=x\"; tls.version:771; "
	 "tls_cert_notafter:<1445385600; tls_cert_expired; " TAIL},
	{"alert tls any any -> any any (ssl_version:tls1.0,tls1.1; ssl_version:!tls1.3; sid:1;)",
	 "alert tls any any -> any any (tls.version_bit:&12!=0; tls.version_bit:&32=0; " TAIL},
	{"alert websocket any any -> any any (websocket.flags:fin,!comp; websocket.opcode:!text; "
	 "sid:1;)",
	 "alert websocket any any -> any any (websocket.flags:&192=128; "
	 "websocket.opcode:!1; " TAIL},
	{"alert tls any any -> any any (tls_cert_notafter:<3805-10-21; sid:1;)",
	 "alert tls any any -> any any (tls_cert_notafter:<57932323200; " TAIL},
	{"alert tcp any any -> any any "
	 "(app-layer-event:applayer_mismatch_protocol_both_directions; sid:1;)",
	 "alert tcp any any -> any any "
	 "(app-layer-event:applayer_mismatch_protocol_both_directions; " TAIL},
	{"alert tls any any -> any any (ssl_state:client_hello|server_hello; sid:1;)",
	 "alert tls any any -> any any (tls.state:&3!=0; " TAIL},
	{"alert tcp any any -> any any "
	 "(dce_iface:AFA8bd80-7d8a-11c9-bef4-08002b102989,<1,any_frag; dce_opnum:1,3-5; sid:1;)",
	 "alert tcp any any -> any any (dcerpc.iface:afa8bd80-7d8a-11c9-bef4-08002b102989,<1,"
	 "any_frag; dcerpc.opnum:1-1,3-5; " TAIL},
	{"alert dns any any -> any any (dns.opcode:!query; dns.rcode:NXDOMAIN; "
	 "dns.rrtype:28; sid:1;)",
	 "alert dns any any -> any any (dns.opcode:!0; dns.rcode:3; dns.rrtype:28; " TAIL},
	{"alert tcp any any -> any any (app-layer-protocol:!http1; app-layer-protocol:tls,final; "
	 "asn1:double_overflow, relative_offset 5; rpc:100000,*,3; vlan.id:!300,-1; sid:1;)",
	 "alert tcp any any -> any any (app-layer-protocol:!http1,direction; "
	 "app-layer-protocol:tls,final; rpc:100000,*,3; vlan.id:!300,-1; "
	 "asn1:double_overflow, relative_offset 5; " TAIL},
	{"alert ip any any -> any any (reference:cve,2014-0160; classtype:trojan-activity; "
	 "metadata:a b c, d 1; gid:3; rev:7; sid:9;)",
	 "alert ip any any -> any any (reference:cve,2014-0160; metadata:a b c, d 1; "
	 "classtype:trojan-activity; priority:1; gid:3; sid:9; rev:7;)"},
	{"alert http1:request_line any any -> any any (http.uri; content:\"x\"; sid:1;)",
	 "alert http1:request_line any any -> any any (http.uri; content:\"x\"; " TAIL},
	{"alert tls:server_cert_done any any -> any any (sid:1;)",
	 "alert tls:server_cert_done any any -> any any (" TAIL},
	{"alert smtp:response_complete any any -> any any (sid:1;)",
	 "alert smtp:response_complete any any -> any any (" TAIL},
	{"alert tls any any -> any any (frame:pdu; content:\"x\"; sid:1;)",
	 "alert tls any any -> any any (frame:tls.pdu; content:\"x\"; " TAIL},
	{"alert http1 any any -> any any (frame:request; strip_whitespace; content:\"x\"; sid:1;)",
	 "alert http1 any any -> any any (frame:http1.request; strip_whitespace; "
	 "content:\"x\"; " TAIL},
	{"alert tcp any any -> any any (frame:smb.smb2.hdr; content:\"x\"; sid:1;)",
	 "alert tcp any any -> any any (frame:smb2.hdr; content:\"x\"; " TAIL},
	{"alert sip any any -> any any (frame:request.line; content:\"x\"; sid:1;)",
	 "alert sip any any -> any any (frame:sip.request.line; content:\"x\"; " TAIL},
	{"alert sip any any -> any any (sdp.media.media_info; content:\"x\"; sid:1;)",
	 "alert sip any any -> any any (sdp.media_description.session_info; content:\"x\"; " TAIL},
	{"alert sctp any any -> any any (sctp.vtag:1-4; sctp.chunk_type:!Init_Ack; "
	 "sctp.chunk_cnt:>=2; sctp.hdr; content:\"x\"; sid:1;)",
	 "alert sctp any any -> any any (sctp.vtag:1<>4; sctp.chunk_type:!2; "
	 "sctp.chunk_cnt:>=2; sctp.hdr; content:\"x\"; " TAIL},
	{"alert tcp any any -> any any (tls_store; nfq_set_mark:0x10/0xff; sid:1;)",
	 "alert tcp any any -> any any (tls.store; " TAIL},
	{"alert tcp:flow_start any any -> any any (sid:1;)",
	 "alert tcp:flow_start any any -> any any (" TAIL},
	{"config dns any any -> any any (dns.query; content:\"a\"; config: logging disable, "
	 "type tx, scope tx; sid:1;)",
	 "alert dns any any -> any any (dns.query; content:\"a\"; config:logging disable, type tx, "
	 "scope tx; noalert; " TAIL},
	{"alert http any any -> any any (filestore; sid:1;)",
	 "alert http any any -> any any (filestore; " TAIL},
	{"alert  tcp any any -> any any (msg:\\\n  \"m\"; \\\n content:\"x\"; sid:1 ;) # behind it",
	 "alert tcp any any -> any any (msg:\"m\"; content:\"x\"; " TAIL},
};

static void test_whole(void **state)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(whole_rules); i++) {
		BH_FREE char *got = normal(*state, whole_rules[i].text);
		BH_FREE char *again = normal(*state, got);

		assert_string_equal(got, whole_rules[i].normal);
		assert_string_equal(again, got);
	}
}

/* Where and why. The column counts in the rule of "alert http any any -> any any (" + options. */
static const struct {
	const char *options;
	uint32_t column;
	const char *reason;
} bad_options[] = {
	{"content:\"x\"", 32, "does not end with ;"},
	{"nosuch:1; sid:1;)", 32, "nosuch: no such keyword"},
	{"frame:http1.request; sid:1;)", 32, "nothing is asked of frame:http1.request"},
	{"frame:http2.hdr; content:\"x\"; sid:1;)", 38, "http2.hdr is no frame"},
	{"frame:http1.request; content:\"x\"; http.uri; content:\"y\"; sid:1;)", 66,
	 "goes with no other"},
	{"lua:x.lua; sid:1;)", 32, "lua is not supported"},
	{"content:\"\"; sid:1;)", 41, "it is empty"},
	{"content:x; sid:1;)", 40, "expected in quotes"},
	{"content:\"a|4|\"; sid:1;)", 43, "pairs of hex digits"},
	{"content:\"a|41\"; sid:1;)", 45, "not closed"},
	{"content:\"a\\x\"; sid:1;)", 42, "written with a backslash"},
	{"depth:3; sid:1;)", 32, "a content is expected"},
	{"content:\"abc\"; depth:2; sid:1;)", 53, "less than the content's 3"},
	{"content:\"a\"; depth:9; distance:1; sid:1;)", 54, "don't go with"},
	{"content:\"a\"; startswith; offset:1; sid:1;)", 57, "don't go with"},
	{"content:\"a\"; nocase; nocase; sid:1;)", 53, "has it already"},
	{"content:\"a\"; within:none; sid:1;)", 52, "no variable none"},
	{"content:\"ab\"; replace:\"c\"; sid:1;)", 55, "1 bytes for the content's 2"},
	{"content:\"a\"; fast_pattern; content:\"b\"; fast_pattern; sid:1;)", 72,
	 "one is possible"},
	{"content:\"abc\"; fast_pattern:2,2; sid:1;)", 60, "only 3 bytes"},
	{"http.uri; content:\"x\"; http_uri; sid:1;)", 55, "a buffer is open"},
	{"http.uri; http.method; content:\"x\"; sid:1;)", 42, "nothing is asked of http.uri"},
	{"http.uri; sid:1;)", 32, "nothing is asked of http.uri"},
	{"url_decode; content:\"x\"; sid:1;)", 32, "a transform follows a buffer"},
	{"http.uri; url_decode; sid:1;)", 32, "nothing uses the last transforms"},
	{"bsize:3; sid:1;)", 32, "a buffer is expected"},
	{"http.uri; bsize:2; content:\"abc\"; sid:1;)", 32, "its size allows 2"},
	{"http.uri; absent; content:\"a\"; sid:1;)", 32, "can't be absent and match"},
	{"base64_data; content:\"x\"; sid:1;)", 32, "base64_decode is expected"},
	{"pcre:\"/(/\"; sid:1;)", 40, "pcre: missing closing parenthesis"},
	{"pcre:\"x\"; sid:1;)", 38, "/pattern/options"},
	{"pcre:\"/x/1\"; sid:1;)", 38, "no option 1"},
	{"byte_test:9,>,1,0; sid:1;)", 42, "at most 8"},
	{"byte_test:1,?,1,0; sid:1;)", 42, "no comparison"},
	{"byte_jump:1; sid:1;)", 42, "the offset is expected"},
	{"byte_math:bytes 1, offset 0, oper /, rvalue 0, result r; sid:1;)", 42, "zero"},
	{"flow:to_server,to_client; sid:1;)", 37, "contradicts"},
	{"flow:established,established; sid:1;)", 37, "there twice"},
	{"flow:sideways; sid:1;)", 37, "sideways is not known"},
	{"flow:to_client; http.uri; content:\"x\"; sid:1;)", 48, "of the other"},
	{"http.uri; content:\"x\"; http.stat_code; content:\"2\"; sid:1;)", 55, "of the other"},
	{"dns.query; content:\"x\"; sid:1;)", 32, "of another protocol"},
	{"http.uri; content:\"x\"; dsize:5; sid:1;)", 55, "about one packet"},
	{"dsize:2; content:\"abc\"; sid:1;)", 41, "dsize allows 2"},
	{"flowbits:set,a|b; sid:1;)", 41, "for isset and isnotset"},
	{"flowbits:have,a; sid:1;)", 41, "and a name"},
	{"flowint:a,~,1; sid:1;)", 40, "value are expected"},
	{"xbits:set,a; sid:1;)", 38, "track is expected"},
	{"threshold:type limit, track by_src, count 1; sid:1;)", 42, "seconds is expected"},
	{"threshold:type never, track by_src, count 1, seconds 1; sid:1;)", 42, "type is not"},
	{"filemd5:/nonexistent; sid:1;)", 40, "there is no file"},
	{"dataset:isset,x; sid:1;)", 32, "a buffer is expected"},
	{"app-layer-event:http.nosuch; sid:1;)", 48, "no event"},
	{"decode-event:nosuch; sid:1;)", 45, "no event"},
	{"geoip:any,DE; sid:1;)", 32, "geoip is not supported"},
	{"msg:\"x\"; msg:\"y\"; sid:1;)", 41, "there twice"},
	{"priority:300; sid:1;)", 41, "1 to 255"},
	{"requires:version < 7; sid:1;)", 41, "another version"},
	{"http.host; content:\"Abc\"; sid:1;)", 32, "never matches"},
	{"msg:\"x\";)", 1, "sid is missing"},
	{"sid:0;)", 36, "no number from 1"},
	{"sid:1;) x", 40, "behind the rule"},
	{"sid:1;", 38, ") is expected"},
};

static const struct {
	const char *text;
	uint32_t column;
	const char *reason;
} bad_headers[] = {
	{"say tcp any any -> any any (sid:1;)", 1, "say is no action"},
	{"config dns any any -> any any (content:\"a\"; config: logging disable, type tx, "
	 "scope tx; sid:1;)",
	 1, "nothing here is about a transaction"},
	{"config tcp any any -> any any (config: tracking disable, type flow, scope packet; "
	 "sid:1;)",
	 40, "of Suricata's firewall mode"},
	{"alert enip any any -> any any (sid:1;)", 7, "no such protocol"},
	{"alert tcp any any <- any any (sid:1;)", 19, "no direction"},
	{"alert tcp any any -> any (sid:1;)", 26, "not complete"},
	{"alert tcp $NONE any -> any any (sid:1;)", 11, "no variable NONE"},
	{"alert tcp 1.2.3.4/33 any -> any any (sid:1;)", 11, "no address"},
	{"alert tcp 1.2.3 any -> any any (sid:1;)", 11, "no address"},
	{"alert tcp [1.2.3.4,!1.2.3.0/24] any -> any any (sid:1;)", 11, "nothing is left"},
	{"alert tcp [1.2.3.4 any -> any any (sid:1;)", 11, "not complete"},
	{"alert tcp any 70000 -> any any (sid:1;)", 15, "no port"},
	{"alert tcp any 9:1 -> any any (sid:1;)", 15, "no port"},
	{"alert tcp any any -> any any", 29, "( is expected"},
	{"alert tls:response_headers any any -> any any (sid:1;)", 11, "has no such state"},
	{"alert tcp:pre_stream any any -> any any (sid:1;)", 11, "firewall mode"},
	{"alert tls:client_hello_done any any -> any any (flow:to_client; sid:1;)", 1,
	 "of one direction"},
	{"alert icmp any any -> any any (http.uri; content:\"x\"; sid:1;)", 1, "no transactions"},
};

static void expect_refusal(struct world *w, const char *text, uint32_t column, const char *reason)
{
	struct gate_rule_files *files = read_text(w, text);
	const struct gate_rule_refusal *r = files->refusals.items;

	if (files->rules.count || files->refusals.count != 1) {
		fail_msg("%s: it is loaded", text);
	}
	if (r->line != 1 || r->column != column || !strstr(r->reason, reason)) {
		fail_msg("%s: %u:%u: %s", text, r->line, r->column, r->reason);
	}
	assert_string_equal(r->file, "t.rules");
	gate_rules_free(files);
}

static void test_bad(void **state)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(bad_options); i++) {
		BH_FREE char *text =
			bh_asprintf("alert http any any -> any any (%s", bad_options[i].options);

		expect_refusal(*state, text, bad_options[i].column, bad_options[i].reason);
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(bad_headers); i++) {
		expect_refusal(*state, bad_headers[i].text, bad_headers[i].column,
			       bad_headers[i].reason);
	}
}

/* A rule cut anywhere is refused, or is a rule. */
static void test_truncated(void **state)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(http_rules) + BH_ARRAY_SIZE(whole_rules); i++) {
		size_t whole = i - BH_ARRAY_SIZE(http_rules);
		BH_FREE char *text =
			i < BH_ARRAY_SIZE(http_rules)
				? bh_asprintf("alert http any any -> any any (%s sid:1;)",
					      http_rules[i].options)
				: bh_strdup(whole_rules[whole].text);

		for (size_t len = strlen(text); len--;) {
			text[len] = '\0';
			struct gate_rule_files *files = read_text(*state, text);

			assert_true(files->rules.count + files->refusals.count <= 1);
			gate_rules_free(files);
		}
	}
}

static void test_places(void **state)
{
	struct gate_rule_files *files =
		read_text(*state, "# a comment\n\n"
				  "#alert tcp any any -> any any (sid:5;)\n"
				  "# drop it (if you can)\r\n"
				  "alert tcp any any -> any any (sid:1;)\r\n"
				  "alert tcp any any -> any any (msg:\"x\"; \\\n"
				  "    nosuch; \\\n"
				  "  sid:2;)\n"
				  "alert tcp any any -> any any (sid:3;)");

	assert_int_equal(files->rules.count, 2);
	assert_int_equal(files->rules.items[0]->line, 5);
	assert_int_equal(files->rules.items[1]->line, 9);
	assert_int_equal(files->refusals.count, 1);
	assert_int_equal(files->refusals.items[0].line, 7);
	assert_int_equal(files->refusals.items[0].column, 5);
	assert_int_equal(files->refusals.items[0].sid, 2);
	assert_int_equal(files->disabled, 1);
	gate_rules_free(files);
}

/* The same number twice: the higher revision, or the first. */
static void test_same_number(void **state)
{
	struct gate_rule_files *files =
		read_text(*state, "alert tcp any any -> any any (msg:\"a\"; sid:1; rev:1;)\n"
				  "alert tcp any any -> any any (msg:\"b\"; sid:1; rev:2;)\n"
				  "alert tcp any any -> any any (msg:\"c\"; sid:1; rev:2;)\n"
				  "alert tcp any any -> any any (msg:\"d\"; sid:1; gid:2;)\n");

	assert_int_equal(files->rules.count, 2);
	assert_string_equal(files->rules.items[0]->msg, "b");
	assert_string_equal(files->rules.items[1]->msg, "d");
	assert_int_equal(files->refusals.count, 1);
	assert_non_null(strstr(files->refusals.items[0].reason, "sid 1 is taken"));
	gate_rules_free(files);
}

static const struct gate_rule *only(struct gate_rule_files *files)
{
	assert_int_equal(files->rules.count, 1);
	return files->rules.items[0];
}

/* What follows from a rule. */
static void test_derived(void **state)
{
	static const struct {
		const char *text;
		uint8_t dirs;
		bool ip_only;
		uint32_t apps;
	} rules[] = {
		{"alert ip any any -> 1.2.3.4 any (sid:1;)", GATE_BOTH_DIRS, true, 0},
		{"alert tcp any any -> 1.2.3.4 80 (sid:1;)", GATE_BOTH_DIRS, true, 0},
		{"alert tcp any any -> !1.2.3.4 any (sid:1;)", GATE_BOTH_DIRS, false, 0},
		{"alert ip any any -> any any (flowint:x,=,1; sid:1;)", 3, false, 0},
		{"alert ip any any -> any any (xbits:isset,x,track ip_src; sid:1;)", 3, true, 0},
		{"alert tcp any any -> any any (flow:to_server; sid:1;)", 1, false, 0},
		{"alert tcp any any -> any any (flowbits:isset,x; sid:1;)", 3, false, 0},
		{"alert tcp any any -> any any (http.uri; content:\"x\"; sid:1;)", 1, false,
		 1u << GATE_APP_HTTP1 | 1u << GATE_APP_HTTP2 | 1u << GATE_APP_DOH2},
		{"alert http1 any any -> any any (http.stat_code; content:\"x\"; sid:1;)", 2, false,
		 1u << GATE_APP_HTTP1},
		{"alert dns any any -> any any (sid:1;)", 3, false,
		 1u << GATE_APP_DNS | 1u << GATE_APP_DOH2},
		{"alert doh2 any any -> any any (dns.query; content:\"x\"; sid:1;)", 1, false,
		 1u << GATE_APP_DOH2},
		{"alert smb any any -> any any (dcerpc.opnum:1; sid:1;)", 3, false,
		 1u << GATE_APP_SMB},
		{"alert arp any any -> any any (sid:1;)", 3, false, 0},
	};

	for (size_t i = 0; i < BH_ARRAY_SIZE(rules); i++) {
		struct gate_rule_files *files = read_text(*state, rules[i].text);
		const struct gate_rule *rule = only(files);

		assert_int_equal(rule->dirs, rules[i].dirs);
		assert_int_equal(!!(rule->flags & GATE_RULE_IP_ONLY), rules[i].ip_only);
		assert_int_equal(rule->apps, rules[i].apps);
		gate_rules_free(files);
	}
}

static struct gate_addr v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	return (struct gate_addr){.bytes = {[10] = 0xff, 0xff, a, b, c, d}};
}

static void test_sets(void **state)
{
	struct gate_rule_files *files =
		read_text(*state, "alert tcp $EXTERNAL_NET [1:9,!5] -> any any (sid:1;)\n"
				  "alert tcp $EXTERNAL_NET any -> !any any (sid:2;)\n");
	const struct gate_rule *rule = only(files);
	struct gate_addr inside = v4(10, 3, 2, 1), outside = v4(11, 0, 0, 0), v6 = {{0x20, 1}};

	assert_false(gate_addr_set_has(rule->src, &inside));
	assert_true(gate_addr_set_has(rule->src, &outside));
	assert_true(gate_addr_set_has(rule->src, &v6));
	assert_true(rule->dst->any);
	assert_true(gate_port_set_has(rule->sport, 4));
	assert_false(gate_port_set_has(rule->sport, 5));
	assert_false(gate_port_set_has(rule->sport, 10));
	assert_non_null(strstr(files->refusals.items[0].reason, "nothing is left"));
	gate_rules_free(files);
}

static void test_tests(void **state)
{
	static const struct {
		struct gate_test test;
		uint64_t yes, no;
	} tests[] = {
		{{GATE_EQ, 5, 0}, 5, 4},
		{{GATE_NE, 5, 0}, 4, 5},
		{{GATE_LT, 5, 0}, 4, 5},
		{{GATE_LE, 5, 0}, 5, 6},
		{{GATE_GT, 5, 0}, 6, 5},
		{{GATE_GE, 5, 0}, 5, 4},
		{{GATE_RANGE, 5, 8}, 6, 5},
		{{GATE_RANGE, 5, 8}, 7, 8},
		{{GATE_NOT_RANGE, 5, 8}, 5, 6},
		{{GATE_MASK, 0xf0, 0x10}, 0x1f, 0x2f},
		{{GATE_NOT_MASK, 0xf0, 0x10}, 0x2f, 0x1f},
	};

	for (size_t i = 0; i < BH_ARRAY_SIZE(tests); i++) {
		assert_true(gate_test_holds(&tests[i].test, tests[i].yes));
		assert_false(gate_test_holds(&tests[i].test, tests[i].no));
	}
}

/* Every rule of a file loads and comes back from its normal spelling. */
static void expect_all(struct world *w, const char *path, size_t count)
{
	struct gate_rule_files *files = gate_rules_new(), *again = gate_rules_new();
	struct bh_wbuf all, out;
	struct bh_diag diag;

	assert_int_equal(gate_rules_read(files, &w->config, w->names, path, &diag), 0);
	bh_vec_foreach (refusal, &files->refusals) {
		print_message("%s:%u:%u: %s\n", refusal->file, refusal->line, refusal->column,
			      refusal->reason);
	}
	assert_int_equal(files->refusals.count, 0);
	assert_int_equal(files->rules.count, count);
	bh_wbuf_init(&all, 0);
	bh_vec_foreach (rule, &files->rules) {
		gate_rule_format(*rule, w->names, &all);
		bh_wbuf_u8(&all, '\n');
	}
	assert_int_equal(gate_rules_read_text(again, &w->config, w->names, "again",
					      (struct gate_view){all.data, (uint32_t)all.size},
					      &diag),
			 0);
	assert_int_equal(again->rules.count, count);
	bh_wbuf_init(&out, 0);
	bh_vec_foreach (rule, &again->rules) {
		gate_rule_format(*rule, w->names, &out);
		bh_wbuf_u8(&out, '\n');
	}
	assert_string_equal(bh_wbuf_cstr(&out), bh_wbuf_cstr(&all));
	bh_wbuf_done(&all);
	bh_wbuf_done(&out);
	gate_rules_free(files);
	gate_rules_free(again);
}

static void test_sample(void **state)
{
	expect_all(*state, RULES_DIR "/sample.rules", 200);
}

static void test_emerging_threats(void **state)
{
	struct stat st;

	if (stat(ET_RULES, &st)) {
		print_message("no " ET_RULES "\n");
		skip();
	}
	expect_all(*state, ET_RULES, 18290);
}

/* Lengths, bit strings, numbers; nested; every truncation. */
static void test_asn1(void **state)
{
	static const struct {
		uint32_t args[4];
		uint8_t data[16];
		uint32_t size, last;
		bool matches;
	} cases[] = {
		{{GATE_ASN1_OVERSIZE, 100}, {0x30, 0x82, 0x01, 0x00}, 4, 0, true},
		{{GATE_ASN1_OVERSIZE, 300}, {0x30, 0x82, 0x01, 0x00}, 4, 0, false},
		{{GATE_ASN1_BITSTRING}, {0x03, 0x02, 0x20, 0x00}, 4, 0, true},
		{{GATE_ASN1_BITSTRING}, {0x03, 0x02, 0x07, 0x00}, 4, 0, false},
		{{GATE_ASN1_BITSTRING}, {0x30, 0x80, 0x30, 0x04, 0x03, 0x02, 0x20}, 7, 0, true},
		{{GATE_ASN1_DOUBLE}, {0x09, 0x82, 0x01, 0x01, 0x03}, 5, 0, true},
		{{GATE_ASN1_DOUBLE}, {0x09, 0x82, 0x01, 0x01, 0x80}, 5, 0, false},
		{{GATE_ASN1_DOUBLE | GATE_ASN1_RELATIVE, 0, 2},
		 {0, 0, 0, 0x09, 0x82, 0x01, 0x01, 0x03},
		 8,
		 1,
		 true},
		{{GATE_ASN1_DOUBLE | GATE_ASN1_ABSOLUTE, 0, 9}, {0x09}, 8, 1, false},
		{{GATE_ASN1_OVERSIZE | GATE_ASN1_RELATIVE, 1, (uint32_t)-5},
		 {0x09, 9},
		 2,
		 1,
		 false},
		{{GATE_ASN1_OVERSIZE, 1}, {0x1f, 0x81, 0x01, 0x05}, 4, 0, true},
		{{GATE_ASN1_OVERSIZE, 1}, {0x30, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 11, 0, false},
	};

	for (size_t i = 0; i < BH_ARRAY_SIZE(cases); i++) {
		assert_int_equal(gate_asn1_matches(cases[i].args, cases[i].data, cases[i].size,
						   cases[i].last),
				 cases[i].matches);
		for (uint32_t n = 0; n < cases[i].size; n++) {
			BH_FREE uint8_t *cut = bh_memdup(cases[i].data, n);

			(void)gate_asn1_matches(cases[i].args, cut, n, cases[i].last);
		}
	}
}

static void test_manual(void **state)
{
	size_t count;
	const struct gate_keyword *keywords = gate_keywords(&count);

	assert_true(count > 250);
	for (size_t i = 0; i < count; i++) {
		assert_non_null(keywords[i].name);
		assert_true(*keywords[i].help);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_same_number),
		cmocka_unit_test(test_derived),
		cmocka_unit_test(test_sets),
		cmocka_unit_test(test_tests),
		cmocka_unit_test(test_sample),
		cmocka_unit_test(test_emerging_threats),
		cmocka_unit_test(test_manual),
		cmocka_unit_test(test_asn1),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

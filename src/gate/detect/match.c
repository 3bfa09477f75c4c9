/* SPDX-License-Identifier: Apache-2.0 */
/* Keywords of packet and flow, one function each for those that are more than a comparison. */
#include "gate/detect/detector.h"

#include <arpa/inet.h>

#define IP6_EXTS_MAX	 16 /* extension headers that are gone through */
#define ICMP4_ECHO_REPLY 0
#define ICMP4_ECHO	 8

static bool holds(const struct gate_match *m, uint64_t value)
{
	return gate_test_holds(&m->num.test, value) != m->num.negated;
}

static bool match_ipopts(const struct gate_packet *p, const struct gate_match *m)
{
	const uint8_t *at, *end;

	if (!p->ip4 || p->l3_size <= sizeof(struct iphdr)) {
		return false;
	}
	at = (const uint8_t *)(p->ip4 + 1);
	end = (const uint8_t *)p->ip4 + p->l3_size;
	if (m->other.args[0] == GATE_IPOPT_ANY) {
		return true;
	}
	while (at < end) {
		if (*at == m->other.args[0]) {
			return true;
		}
		if (*at == 0) {
			return false;
		}
		if (*at == 1) {
			at++;
			continue;
		}
		if (end - at < 2 || at[1] < 2) {
			return false;
		}
		at += at[1];
	}
	return false;
}

static bool match_fragbits(const struct gate_packet *p, const struct gate_match *m)
{
	uint32_t want = m->other.args[0], bits;

	if (!p->ip4) {
		return false;
	}
	bits = ntohs(p->ip4->frag_off) & 0xe000u;
	switch (m->other.args[1]) {
	case '+':
		return (bits & want) == want;
	case '*':
		return (bits & want) != 0;
	case '!':
		return (bits & want) != want;
	default:
		return bits == want;
	}
}

/* The offset that the fragment header of IPv6 says, in units of 8 bytes; -1 without one. */
static int fragment_offset6(const struct gate_packet *p)
{
	const uint8_t *data = p->l3.data;
	uint32_t at = sizeof(*p->ip6);
	uint8_t next = p->ip6->ip6_nxt;

	for (unsigned int i = 0; i < IP6_EXTS_MAX && at + 8 <= p->l3.size; i++) {
		switch (next) {
		case IPPROTO_FRAGMENT:
			return (data[at + 2] << 8 | data[at + 3]) >> 3;
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
			next = data[at];
			at += (data[at + 1] + 1u) * 8;
			break;
		default:
			return -1;
		}
	}
	return -1;
}

static bool match_fragoffset(const struct gate_packet *p, const struct gate_match *m)
{
	int offset6;

	if (p->ip4) {
		return holds(m, ntohs(p->ip4->frag_off) & 0x1fffu);
	}
	offset6 = p->ip6 && p->l3.data == (const uint8_t *)p->ip6 ? fragment_offset6(p) : -1;
	return offset6 >= 0 && holds(m, (uint64_t)offset6);
}

static bool match_tcp_flags(const struct gate_packet *p, const struct gate_match *m)
{
	uint8_t flags, set = m->tcp_flags.set;

	if (!p->tcp) {
		return false;
	}
	flags = ((const uint8_t *)p->tcp)[13] & m->tcp_flags.mask;
	switch (m->tcp_flags.op) {
	case '+':
		return (flags & set) == set;
	case '*':
		return (flags & set) != 0;
	case '!':
		return (flags & set) != set;
	default:
		return flags == set;
	}
}

static bool match_tcp(const struct gate_packet *p, const struct gate_match *m)
{
	if (!p->tcp) {
		return false;
	}
	switch (m->kind) {
	case GATE_M_TCP_SEQ:
		return holds(m, ntohl(p->tcp->seq));
	case GATE_M_TCP_ACK:
		return holds(m, ntohl(p->tcp->ack_seq));
	case GATE_M_TCP_WINDOW:
		return holds(m, ntohs(p->tcp->window));
	case GATE_M_TCP_MSS:
		return p->tcp_opts.has_mss && holds(m, p->tcp_opts.mss);
	case GATE_M_TCP_WSCALE:
		return p->tcp_opts.has_wscale && holds(m, p->tcp_opts.wscale);
	default:
		return match_tcp_flags(p, m);
	}
}

static bool is_echo(const struct gate_packet *p)
{
	if (p->icmp4) {
		return p->icmp4->type == ICMP4_ECHO || p->icmp4->type == ICMP4_ECHO_REPLY ||
		       (p->icmp4->type >= 13 && p->icmp4->type <= 18);
	}
	return p->icmp6 && (p->icmp6->icmp6_type == ICMP6_ECHO_REQUEST ||
			    p->icmp6->icmp6_type == ICMP6_ECHO_REPLY);
}

static bool match_icmp(const struct gate_packet *p, const struct gate_match *m)
{
	if (!p->icmp4 && !p->icmp6) {
		return false;
	}
	switch (m->kind) {
	case GATE_M_ITYPE:
		return holds(m, p->icmp4 ? p->icmp4->type : p->icmp6->icmp6_type);
	case GATE_M_ICODE:
		return holds(m, p->icmp4 ? p->icmp4->code : p->icmp6->icmp6_code);
	case GATE_M_ICMP_ID:
		return is_echo(p) &&
		       holds(m, ntohs(p->icmp4 ? p->icmp4->un.echo.id : p->icmp6->icmp6_id));
	case GATE_M_ICMP_SEQ:
		return is_echo(p) &&
		       holds(m, ntohs(p->icmp4 ? p->icmp4->un.echo.sequence : p->icmp6->icmp6_seq));
	default:
		return p->icmp6 && p->icmp6->icmp6_type == ICMP6_PACKET_TOO_BIG &&
		       holds(m, ntohl(p->icmp6->icmp6_mtu));
	}
}

struct tags {
	const struct gate_packet *p;
	const struct gate_match *m;
};

static bool tag_holds(void *arg, uint32_t index)
{
	const struct tags *t = arg;

	return holds(t->m, t->p->vlan[index] & 0xfffu);
}

static bool match_vlan(const struct gate_packet *p, const struct gate_match *m)
{
	struct tags tags = {p, m};

	return m->kind == GATE_M_VLAN_LAYERS
		       ? holds(m, p->vlan_count)
		       : gate_multi_holds(&m->num.multi, p->vlan_count, tag_holds, &tags);
}

/* Sun RPC: over TCP there is a record mark before the call (RFC 5531). */
static bool match_rpc(const struct gate_packet *p, const struct gate_match *m)
{
	uint32_t words[6], skip = p->tcp ? 4 : 0;

	if (p->payload.size < skip + sizeof(words)) {
		return false;
	}
	memcpy(words, p->payload.data + skip, sizeof(words));
	if (ntohl(words[1]) != 0 || ntohl(words[2]) != 2 || ntohl(words[3]) != m->other.args[0]) {
		return false;
	}
	if ((m->other.args[1] & GATE_RPC_VERSION) && ntohl(words[4]) != m->other.args[2]) {
		return false;
	}
	return !(m->other.args[1] & GATE_RPC_PROCEDURE) || ntohl(words[5]) == m->other.args[3];
}

/* The value of both sides: that of one, of each, of any. */
static bool sides_hold(const struct gate_match *m, uint64_t server, uint64_t client)
{
	switch (m->num.dir) {
	case GATE_SIDE_SERVER:
		return holds(m, server);
	case GATE_SIDE_CLIENT:
		return holds(m, client);
	case GATE_SIDE_BOTH:
		return holds(m, server) && holds(m, client);
	default:
		return holds(m, server) || holds(m, client);
	}
}

static bool match_stream_size(const struct gate_flow *flow, const struct gate_match *m)
{
	if (!flow || !flow->stream) {
		return false;
	}
	return sides_hold(m, gate_stream_size(flow->stream, GATE_TO_CLIENT),
			  gate_stream_size(flow->stream, GATE_TO_SERVER));
}

static bool match_flow(const struct gate_packet *p, const struct gate_match *m)
{
	const struct gate_flow *flow = p->flow;

	if (!flow) {
		return false;
	}
	switch (m->kind) {
	case GATE_M_FLOW_AGE:
		return holds(m, (flow->last_us - flow->first_us) / 1000000);
	case GATE_M_FLOW_PKTS:
		return sides_hold(m, flow->packets[GATE_TO_SERVER], flow->packets[GATE_TO_CLIENT]);
	default:
		return sides_hold(m, flow->bytes[GATE_TO_SERVER], flow->bytes[GATE_TO_CLIENT]);
	}
}

static bool is_app(const struct gate_match *m, uint16_t app)
{
	return app < 32 && (m->app_proto.apps & (1u << app));
}

static bool match_app(const struct gate_packet *p, const struct gate_match *m)
{
	const struct gate_flow *flow = p->flow;
	uint16_t known[2];
	unsigned int count = 1;
	bool is = false;

	if (!flow) {
		return false;
	}
	switch (m->app_proto.dir) {
	case GATE_APP_FINAL:
		known[0] = flow->app;
		break;
	case GATE_APP_ORIGINAL:
		known[0] = flow->session ? (uint16_t)gate_session_original(flow->session)
					 : GATE_APP_UNKNOWN;
		break;
	case GATE_APP_EITHER:
		known[0] = flow->app_to[GATE_TO_SERVER];
		known[1] = flow->app_to[GATE_TO_CLIENT];
		count = 2;
		break;
	case GATE_APP_OF_SERVER:
		known[0] = flow->app_to[GATE_TO_SERVER];
		break;
	case GATE_APP_OF_CLIENT:
		known[0] = flow->app_to[GATE_TO_CLIENT];
		break;
	default:
		known[0] = flow->app_to[p->dir];
		break;
	}
	if (count == 1 && known[0] == GATE_APP_UNKNOWN && !is_app(m, GATE_APP_UNKNOWN)) {
		return false;
	}
	for (unsigned int i = 0; i < count; i++) {
		is = is || is_app(m, known[i]);
	}
	return is != m->app_proto.negated;
}

static bool reputation_holds(const struct gate_detector *d, const struct gate_match *m,
			     const struct gate_addr *addr)
{
	int value = gate_reputation(d->shared, addr, m->iprep.category);

	return m->iprep.unset ? value < 0
			      : value >= 0 && gate_test_holds(&m->iprep.test, (uint64_t)value);
}

static bool match_iprep(const struct gate_detector *d, const struct gate_match *m)
{
	bool by_src = reputation_holds(d, m, &d->p->src);
	bool by_dst = reputation_holds(d, m, &d->p->dst);

	switch (m->iprep.side) {
	case GATE_REP_SRC:
		return by_src;
	case GATE_REP_DST:
		return by_dst;
	case GATE_REP_BOTH:
		return by_src && by_dst;
	default:
		return by_src || by_dst;
	}
}

/* PORT a,b,c,d,x,y with an address that is not the client's. */
static bool match_ftpbounce(const struct gate_packet *p)
{
	uint8_t addr[4];
	uint32_t i = 5, value = 0, part = 0;

	if (!p->ip4 || p->payload.size < 6 ||
	    strncasecmp((const char *)p->payload.data, "PORT ", 5)) {
		return false;
	}
	for (; i < p->payload.size && part < 4; i++) {
		uint8_t c = p->payload.data[i];

		if (c >= '0' && c <= '9') {
			value = value * 10 + (c - '0');
			if (value > 255) {
				return false;
			}
		} else if (c == ',') {
			addr[part++] = (uint8_t)value;
			value = 0;
		} else {
			return false;
		}
	}
	return part == 4 && memcmp(addr, &p->src.bytes[12], 4) != 0;
}

/* For any of those that it is kept for. */
static bool xbit_isset(struct gate_detector *d, const struct gate_flowbits *bits, uint32_t name)
{
	struct gate_key key;

	for (unsigned int i = 0; gate_key_of_bits(d->p, bits, name, i, &key); i++) {
		if (gate_xbit_isset(d->shared, &key, d->p->time_us)) {
			return true;
		}
	}
	return false;
}

static bool match_bits(struct gate_detector *d, const struct gate_match *m)
{
	const struct gate_flowbits *bits = &m->bits;

	if (bits->track == GATE_BITS_FLOW || bits->track == GATE_BITS_TX) {
		const struct gate_vars *vars = d->p->flow ? d->p->flow->vars : NULL;

		return d->p->flow && gate_vars_test_bits(vars, bits, d->tx ? d->tx->id : 0);
	}
	for (size_t i = 0; i < bits->names.count; i++) {
		bool is = xbit_isset(d, bits, bits->names.items[i]);
		bool holds_here = is == (bits->cmd == GATE_BITS_ISSET);

		if (holds_here == bits->any) {
			return holds_here;
		}
	}
	return !bits->any;
}

static bool match_ip(const struct gate_packet *p, const struct gate_match *m)
{
	switch (m->kind) {
	case GATE_M_TTL:
		return p->ip_version && !(p->flags & GATE_PKT_PSEUDO) && holds(m, p->ttl);
	case GATE_M_TOS:
		return p->ip4 && holds(m, p->ip4->tos);
	case GATE_M_IP_ID:
		return p->ip4 && holds(m, ntohs(p->ip4->id));
	case GATE_M_IP_PROTO:
		return p->ip_version && holds(m, p->ip_proto);
	case GATE_M_IPOPTS:
		return match_ipopts(p, m);
	case GATE_M_FRAGBITS:
		return match_fragbits(p, m);
	case GATE_M_FRAGOFFSET:
		return match_fragoffset(p, m);
	default:
		return p->ip_version && !memcmp(&p->src, &p->dst, sizeof(p->src));
	}
}

/* `all`, or the first packet of its side. */
static bool match_hook(const struct gate_packet *p, const struct gate_match *m)
{
	return !(p->flags & GATE_PKT_PSEUDO) &&
	       (!m->other.args[0] || (p->flow && p->flow->packets[p->dir] == 1));
}

static bool match_chunks(const struct gate_packet *p, const struct gate_match *m)
{
	struct gate_sctp_chunk chunk;
	uint32_t at = 0, count = 0;

	for (; gate_sctp_next(p, &at, &chunk); count++) {
		if (m->kind == GATE_M_SCTP_CHUNK_TYPE && holds(m, chunk.type)) {
			return true;
		}
	}
	return m->kind == GATE_M_SCTP_CHUNK_CNT && holds(m, count);
}

static bool match_igmp_sctp(const struct gate_packet *p, const struct gate_match *m)
{
	switch (m->kind) {
	case GATE_M_IGMP_TYPE:
		return p->igmp && holds(m, p->igmp[0]);
	case GATE_M_SCTP_VTAG:
		return p->sctp && holds(m, gate_be32(p->sctp + 4));
	default:
		return p->sctp && match_chunks(p, m);
	}
}

bool gate_packet_keyword(struct gate_detector *d, const struct gate_match *m)
{
	const struct gate_packet *p = d->p;

	switch (m->kind) {
	case GATE_M_DSIZE:
		return !(p->flags & GATE_PKT_PSEUDO) && holds(m, gate_payload_size(p));
	case GATE_M_TTL ... GATE_M_FRAGOFFSET:
	case GATE_M_SAMEIP:
		return match_ip(p, m);
	case GATE_M_TCP_FLAGS ... GATE_M_TCP_WSCALE:
		return match_tcp(p, m);
	case GATE_M_ITYPE ... GATE_M_ICMP6_MTU:
		return match_icmp(p, m);
	case GATE_M_IGMP_TYPE ... GATE_M_SCTP_CHUNK_CNT:
		return match_igmp_sctp(p, m);
	case GATE_M_DECODE_EVENT:
	case GATE_M_STREAM_EVENT:
		return gate_packet_has_event(p, (enum gate_event)m->event.event);
	case GATE_M_VLAN_ID:
	case GATE_M_VLAN_LAYERS:
		return match_vlan(p, m);
	case GATE_M_CSUM:
		return gate_checksum_matches(p, m);
	case GATE_M_RPC:
		return match_rpc(p, m);
	case GATE_M_HOOK:
		return match_hook(p, m);
	case GATE_M_STREAM_SIZE:
		return match_stream_size(p->flow, m);
	case GATE_M_FLOW_AGE ... GATE_M_FLOW_BYTES:
		return match_flow(p, m);
	case GATE_M_APP_PROTO:
		return match_app(p, m);
	case GATE_M_IPREP:
		return match_iprep(d, m);
	case GATE_M_FTPBOUNCE:
		return match_ftpbounce(p);
	case GATE_M_FLOWBITS:
		return match_bits(d, m);
	case GATE_M_FLOWVAR:
		return gate_vars_test_text(p->flow ? p->flow->vars : NULL, &d->captures,
					   &m->textvar);
	case GATE_M_FLOWINT:
		return p->flow && gate_vars_test_int(p->flow->vars, &m->flowint);
	default:
		return false;
	}
}

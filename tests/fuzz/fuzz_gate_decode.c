/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames as a hostile network could send them, several in a row, so that fragments meet: settings
 * (1 byte), then link type (2), size (2), 10 ms to the next (1) and the frame of each. What comes
 * out points only into the packet it says it does.
 */
#include "gate/decode/checksum.h"
#include "gate/decode/decode.h"
#include "gate/verdict/verdict.h"

#include "base/util.h"
#include "gate/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_be_within(const struct gate_packet *p, const void *part, size_t size)
{
	const uint8_t *at = part;

	if (at &&
	    (at < p->data || at > p->data + p->size || size > (size_t)(p->data + p->size - at))) {
		abort();
	}
}

static void on_packet(struct gate_packet *p, void *arg)
{
	must_be_within(p, p->l3.data, p->l3.size);
	must_be_within(p, p->payload.data, p->payload.size);
	must_be_within(p, p->icmp_inner.data, p->icmp_inner.size);
	must_be_within(p, p->tcp, p->tcp ? p->l4_size : 0);
	must_be_within(p, p->tcp_opts.sacks, p->tcp_opts.sack_count * 8u);
	must_be_within(p, p->udp, sizeof(*p->udp));
	must_be_within(p, p->icmp4, sizeof(*p->icmp4));
	must_be_within(p, p->icmp6, sizeof(*p->icmp6));
	must_be_within(p, p->sctp, 12);
	must_be_within(p, p->arp, 28);
	must_be_within(p, p->ip4, p->ip4 ? p->l3_size : 0);
	must_be_within(p, p->ip6, p->ip6 ? p->l3_size : 0);
	if (p->event_count > GATE_PACKET_EVENTS_MAX || p->vlan_count > GATE_VLANS_MAX ||
	    p->depth > GATE_TUNNEL_DEPTH_MAX || (p->ip_version != 4 && p->ip4) ||
	    (p->ip_version != 6 && p->ip6)) {
		abort();
	}
	for (unsigned int i = 0; i < p->event_count; i++) {
		if (!p->events[i] || p->events[i] >= GATE_EVENT_COUNT) {
			abort();
		}
	}
	if (!(p->flags & GATE_PKT_INVALID)) {
		uint8_t frame[GATE_REJECT_SIZE_MAX];

		gate_checksum_redo(p);
		(void)gate_reject_frame(p, true, frame, sizeof(frame));
		(void)gate_reject_frame(p, false, frame, sizeof(frame));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const policies[] = {"bsd",	  "bsd-right", "linux", "windows",
					       "solaris", "macos",     "bsd",	"linux"};
	struct gate_config config = {
		.defrag_memcap = 1 << 18,
		.defrag_timeout_s = 1,
		.defrag_max_frags = 64,
		.vxlan_enabled = true,
		.geneve_enabled = true,
		.teredo_enabled = true,
		.vxlan_ports = (char *)"4789",
		.geneve_ports = (char *)"[6081, 6082]",
		.teredo_ports = (char *)"3544",
	};
	struct gate_decoder *decoder;
	struct gate_packet p = {};

	if (!size) {
		return 0;
	}
	config.check_checksums = data[0] & 8;
	bh_vec_push(&config.os_policies)->policy = (char *)(uintptr_t)policies[data[0] & 7];
	config.os_policies.items[0].network = (char *)"0.0.0.0/0";
	decoder = gate_decoder_new(&config);
	data++;
	size--;
	while (size >= 5) {
		uint32_t want = (uint32_t)(data[2] << 8 | data[3]);

		p.link = (uint16_t)(data[0] << 8 | data[1]);
		p.time_us += data[4] * 10000u;
		data += 5;
		size -= 5;
		p.size = want < size ? want : (uint32_t)size;
		p.wire_size = want;
		/* exactly as long: a checker sees a read behind it */
		p.data = bh_memdup(data, p.size);
		data += p.size;
		size -= p.size;
		gate_decode(decoder, &p, on_packet, NULL);
		free(p.data);
	}
	gate_decoder_tick(decoder, p.time_us);
	gate_decoder_free(decoder);
	bh_vec_done(&config.os_policies);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "host/platform/vm.h"

const char *hostd_nic_kind_name(enum hostd_nic_kind kind)
{
	static const char *const names[] = {
		[HOSTD_NIC_BRIDGE] = "bridge",	     [HOSTD_NIC_NETWORK] = "network",
		[HOSTD_NIC_ETHERNET] = "ethernet",   [HOSTD_NIC_DIRECT] = "direct",
		[HOSTD_NIC_HOSTDEV] = "hostdev",     [HOSTD_NIC_USER] = "user",
		[HOSTD_NIC_VHOSTUSER] = "vhostuser", [HOSTD_NIC_OTHER] = "other",
	};

	return (size_t)kind < BH_ARRAY_SIZE(names) ? names[kind] : "other";
}

/* Bytes of the character at s, 0 when it is none. Overlong forms and surrogates are none. */
static size_t utf8_char(const unsigned char *s)
{
	size_t n = 0;

	if (s[0] < 0x80) {
		n = 1;
	} else if (s[0] >= 0xc2 && s[0] <= 0xf4) {
		n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	}
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80) {
			return 0;
		}
	}
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) {
		return 0;
	}
	return n;
}

char *hostd_text_mend(char *text)
{
	for (char *at = text; *at;) {
		size_t n = utf8_char((const unsigned char *)at);

		if (!n) {
			*at = '?';
			n = 1;
		}
		at += n;
	}
	return text;
}

void hostd_vm_done(struct hostd_vm *vm)
{
	bh_vec_foreach (nic, &vm->nics) {
		bh_vec_done(&nic->addrs);
		bh_vec_done(&nic->vlans);
	}
	bh_vec_done(&vm->nics);
	bh_vec_done(&vm->labels);
}

void hostd_network_done(struct hostd_network *net)
{
	bh_vec_done(&net->hosts);
}

void hostd_vm_list_free(struct hostd_vm_list *list)
{
	if (!list) {
		return;
	}
	bh_vec_foreach (vm, &list->vms) {
		hostd_vm_done(vm);
	}
	bh_vec_done(&list->vms);
	bh_vec_done(&list->unread);
	free(list);
}

void hostd_network_list_free(struct hostd_network_list *list)
{
	if (!list) {
		return;
	}
	bh_vec_foreach (net, &list->nets) {
		hostd_network_done(net);
	}
	bh_vec_done(&list->nets);
	bh_vec_done(&list->unread);
	free(list);
}

bool hostd_nic_add_addr(struct hostd_nic *nic, const uint8_t addr[16])
{
	bh_vec_foreach (a, &nic->addrs) {
		if (!memcmp(a->bytes, addr, 16)) {
			return true;
		}
	}
	if (nic->addrs.count >= HOSTD_NIC_ADDRS_MAX) {
		return false;
	}
	memcpy(bh_vec_push(&nic->addrs)->bytes, addr, 16);
	return true;
}

bool hostd_nic_add_vlan(struct hostd_nic *nic, uint32_t vlan)
{
	bh_vec_foreach (v, &nic->vlans) {
		if (*v == vlan) {
			return true;
		}
	}
	if (nic->vlans.count >= HOSTD_NIC_VLANS_MAX) {
		return false;
	}
	*bh_vec_push(&nic->vlans) = vlan;
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads libvirt's domain and network XML into plain values. The bytes are foreign (a tenant may
 * write parts of a domain's XML): bounded in size, no document type, no entities, no network. What
 * is wrong in our own metadata is left out and told in vm->problem; what is wrong in the rest fails
 * the document. Pure: no libvirt calls, usable on any thread.
 */
#ifndef BH_HOST_PLATFORM_DOMXML_H
#define BH_HOST_PLATFORM_DOMXML_H

#include "base/diag.h"
#include "host/platform/vm.h"

#define HOSTD_XML_MAX (4u << 20)
#define HOSTD_XML_NS  "https://bulkhead.dev/xml/1"
/* The mark of the VM's memory, which only hostd writes: <state generation="7" live="yes"/>. */
#define HOSTD_XML_STATE_NS   "https://bulkhead.dev/xml/state/1"
#define HOSTD_GENERATION_MAX (1ull << 48)

/* The caller frees the result with hostd_vm_done(), also after an error. -EBADMSG, -EMSGSIZE. state
 * and running are left for the caller. */
[[nodiscard]] int hostd_domxml_parse(const char *xml, size_t size, struct hostd_vm *ret_vm,
				     struct bh_diag *diag);
/* The parts of a domain's XML that hostd_domxml_parse() reads, and nothing else: what the hook
 * sends. *ret_xml is owned. */
[[nodiscard]] int hostd_domxml_reduce(const char *xml, size_t size, char **ret_xml,
				      struct bh_diag *diag);
/* Our element of the domain's metadata as `virsh metadata --set` takes it, on one line and without
 * an apostrophe, with everything that is in it now and birth="open". *ret is owned, NULL when it
 * holds something that can't be said so (elements of others). */
[[nodiscard]] int hostd_domxml_open(const char *xml, size_t size, char **ret, struct bh_diag *diag);
/* The caller frees the result with hostd_network_done(), also after an error. */
[[nodiscard]] int hostd_netxml_parse(const char *xml, size_t size, struct hostd_network *ret_net,
				     struct bh_diag *diag);

#endif

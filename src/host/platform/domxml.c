/* SPDX-License-Identifier: Apache-2.0 */
#include "host/platform/domxml.h"

#include "base/buf.h"
#include "bpf/abi.h"
#include "policy/policy.h"

#include <errno.h>
#include <libxml/parser.h>
#include <libxml/tree.h>

static void cleanup_doc(xmlDoc **doc)
{
	xmlFreeDoc(*doc);
}
static void cleanup_xml(xmlChar **s)
{
	xmlFree(*s);
}
#define XML_DOC BH_CLEANUP(cleanup_doc)
#define XML_STR BH_CLEANUP(cleanup_xml)

static int load(const char *xml, size_t size, const char *root, xmlDoc **ret, struct bh_diag *diag)
{
	XML_DOC xmlDoc *doc = NULL;

	if (size > HOSTD_XML_MAX) {
		return bh_diag_set(diag, -EMSGSIZE, "the XML has %zu bytes; at most %u are read",
				   size, HOSTD_XML_MAX);
	}
	/* Before the parser sees it: libxml2 expands internal entities in attributes on its own. */
	if (memmem(xml, size, "<!DOCTYPE", 9) || memmem(xml, size, "<!ENTITY", 8)) {
		return bh_diag_set(diag, -EBADMSG, "the XML has a document type declaration");
	}
	doc = xmlReadMemory(xml, (int)size, NULL, NULL,
			    XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING |
				    XML_PARSE_COMPACT);
	if (!doc) {
		const xmlError *e = xmlGetLastError();

		return bh_diag_set(diag, -EBADMSG, "the XML does not parse (line %d)",
				   e ? e->line : 0);
	}
	if (doc->intSubset || !xmlDocGetRootElement(doc) ||
	    strcmp((const char *)xmlDocGetRootElement(doc)->name, root) != 0) {
		return bh_diag_set(diag, -EBADMSG, "the XML is not a <%s> document", root);
	}
	*ret = bh_steal(&doc);
	return 0;
}

static bool is(const xmlNode *node, const char *name)
{
	return node->type == XML_ELEMENT_NODE && !strcmp((const char *)node->name, name);
}

static bool is_ours(const xmlNode *node, const char *name)
{
	return is(node, name) && node->ns && node->ns->href &&
	       !strcmp((const char *)node->ns->href, HOSTD_XML_NS);
}

static xmlNode *child(const xmlNode *parent, const char *name)
{
	for (xmlNode *n = parent ? parent->children : NULL; n; n = n->next) {
		if (is(n, name)) {
			return n;
		}
	}
	return NULL;
}

/* Copies text for people and machines: no control characters, cut between characters. False when
 * cut. */
static bool copy_text(char *ret, size_t size, const char *s, size_t len)
{
	size_t n = len < size ? len : size - 1;

	while (n < len && n && ((unsigned char)s[n] & 0xc0) == 0x80) {
		n--;
	}
	for (size_t i = 0; i < n; i++) {
		ret[i] = (unsigned char)s[i] < 0x20 || s[i] == 0x7f ? '?' : s[i];
	}
	ret[n] = '\0';
	return n == len;
}

/* Copies an attribute, "" when absent; false when it did not fit (then it is cut). */
static bool attr(const xmlNode *node, const char *name, char *ret, size_t size)
{
	XML_STR xmlChar *value = node ? xmlGetNoNsProp(node, (const xmlChar *)name) : NULL;
	const char *s = value ? (const char *)value : "";

	return copy_text(ret, size, s, strlen(s));
}

static bool attr_is(const xmlNode *node, const char *name, const char *value)
{
	char text[64];

	return attr(node, name, text, sizeof(text)) && !strcmp(text, value);
}

/* The text of an element without the white space around it. */
static bool text_of(const xmlNode *node, char *ret, size_t size)
{
	XML_STR xmlChar *content = node ? xmlNodeGetContent(node) : NULL;
	const char *s = content ? (const char *)content : "";
	size_t n;

	s += strspn(s, " \t\r\n");
	n = strlen(s);
	while (n && strchr(" \t\r\n", s[n - 1])) {
		n--;
	}
	return copy_text(ret, size, s, n);
}

static void problem(struct hostd_vm *vm, const char *fmt, const char *what)
{
	if (!*vm->problem) {
		snprintf(vm->problem, sizeof(vm->problem), fmt, what);
		hostd_text_mend(vm->problem);
	}
}

/* What is wrong with the settings of one NIC; the VM's problem names the first of them too. */
static void nic_problem(struct hostd_vm *vm, struct hostd_nic *nic, const char *fmt,
			const char *what)
{
	if (!*nic->problem) {
		snprintf(nic->problem, sizeof(nic->problem), fmt, what);
		hostd_text_mend(nic->problem);
	}
	problem(vm, fmt, what);
}

/* "10, 20.30, *": a tag, outer.inner, or every tag. */
static void read_vlans(struct hostd_vm *vm, struct hostd_nic *nic, char *list)
{
	char *save = NULL;

	for (char *t = strtok_r(list, ", ", &save); t; t = strtok_r(NULL, ", ", &save)) {
		char *dot = strchr(t, '.');
		uint64_t outer, inner = 0;

		if (!strcmp(t, "*")) {
			nic->any_vlan = true;
			continue;
		}
		if (dot) {
			*dot++ = '\0';
		}
		if (bh_parse_u64(t, 1, 4094, &outer) < 0 ||
		    (dot && bh_parse_u64(dot, 1, 4094, &inner) < 0)) {
			nic_problem(vm, nic, "vlans: '%.60s' is not a VLAN tag (1 to 4094)", t);
		} else if (!hostd_nic_add_vlan(nic, (uint32_t)(outer << 16 | inner))) {
			nic_problem(vm, nic, "vlans: more than %.60s tags", "64");
		}
	}
}

/* An address that one machine can have. */
static bool usable(const uint8_t addr[16])
{
	static const uint8_t zero[16];

	if (bh_addr_is_v4(addr)) {
		return addr[12] != 0 && addr[12] != 127 && addr[12] < 224;
	}
	return addr[0] != 0xff && memcmp(addr, zero, 15) != 0;
}

static void add_addr_text(struct hostd_vm *vm, struct hostd_nic *nic, const char *text)
{
	uint8_t addr[16];

	if (bh_addr_parse(text, addr) < 0 || !usable(addr)) {
		nic_problem(vm, nic, "'%.60s' is no address of a NIC", text);
	} else if (!hostd_nic_add_addr(nic, addr)) {
		nic_problem(vm, nic, "address %.60s is one too many for its NIC", text);
	}
}

static void read_meta_nic(struct hostd_vm *vm, const xmlNode *node)
{
	static const struct {
		const char *name;
		uint32_t flag;
	} flags[] = {{"dhcp-server", BH_NIC_DHCP_SERVER},
		     {"router", BH_NIC_ROUTER},
		     {"any-source", BH_NIC_ANY_SOURCE}};
	char text[1024];
	uint8_t mac[6];
	struct hostd_nic *nic = NULL;

	if (!attr(node, "mac", text, sizeof(text)) || bh_mac_parse(text, mac) < 0) {
		problem(vm, "nic: '%.60s' is not a MAC", text);
		return;
	}
	bh_vec_foreach (n, &vm->nics) {
		if (!memcmp(n->mac, mac, 6)) {
			nic = n;
		}
	}
	if (!nic) {
		problem(vm, "nic: the VM has no NIC %.60s", text);
		return;
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(flags); i++) {
		if (attr_is(node, flags[i].name, "yes")) {
			nic->flags |= flags[i].flag;
		} else if (!attr_is(node, flags[i].name, "no") &&
			   !attr_is(node, flags[i].name, "")) {
			nic_problem(vm, nic, "%.60s is neither yes nor no", flags[i].name);
		}
	}
	if (!attr(node, "vlans", text, sizeof(text))) {
		nic_problem(vm, nic, "vlans: more than %.60s characters", "1023");
	} else {
		read_vlans(vm, nic, text);
	}
	for (xmlNode *n = node->children; n; n = n->next) {
		if (is_ours(n, "address")) {
			text_of(n, text, sizeof(text)); /* cut, it is no address either */
			add_addr_text(vm, nic, text);
		}
	}
}

static void read_label(struct hostd_vm *vm, const xmlNode *node)
{
	char key[256], value[256];

	attr(node, "key", key, sizeof(key));
	attr(node, "value", value, sizeof(value));
	if (!bh_label_key_valid(key) || !bh_label_value_valid(value) ||
	    !strncmp(key, BH_POLICY_CLASS_PREFIX, strlen(BH_POLICY_CLASS_PREFIX))) {
		problem(vm, "label '%.60s' has no valid key or value", key);
		return;
	}
	bh_vec_foreach (l, &vm->labels) {
		if (!strcmp(l->key, key)) {
			problem(vm, "label '%.60s' stands there twice", key);
			return;
		}
	}
	if (vm->labels.count >= BH_LABELS_MAX) {
		problem(vm, "label '%.60s' is one too many", key);
		return;
	}
	struct hostd_label *l = bh_vec_push(&vm->labels);

	memcpy(l->key, key, strlen(key) + 1);
	memcpy(l->value, value, strlen(value) + 1);
}

static bool is_mark(const xmlNode *node)
{
	return is(node, "state") && node->ns && node->ns->href &&
	       !strcmp((const char *)node->ns->href, HOSTD_XML_STATE_NS);
}

static xmlNode *find_metadata(const xmlNode *root, bool mark)
{
	const xmlNode *meta = child(root, "metadata");

	for (xmlNode *n = meta ? meta->children : NULL; n; n = n->next) {
		if (mark ? is_mark(n) : is_ours(n, "vm")) {
			return n;
		}
	}
	return NULL;
}

/* One that makes no sense is none: who can write it can also take it away. */
static void read_mark(struct hostd_vm *vm, const xmlNode *root)
{
	const xmlNode *mark = find_metadata(root, true);
	char text[32];

	if (mark && attr(mark, "generation", text, sizeof(text)) &&
	    bh_parse_u64(text, 1, HOSTD_GENERATION_MAX, &vm->generation) == 0) {
		vm->mark_live = attr_is(mark, "live", "yes");
	}
}

static void read_metadata(struct hostd_vm *vm, const xmlNode *root)
{
	const xmlNode *ours = find_metadata(root, false);
	char text[256];

	if (!ours) {
		return;
	}
	if (!attr(ours, "tenant", text, sizeof(text)) || (*text && !bh_name_valid(text))) {
		problem(vm, "tenant '%.60s' is not a valid name", text);
	} else {
		memcpy(vm->tenant, text, strlen(text) + 1);
	}
	vm->birth_open = attr_is(ours, "birth", "open");
	for (xmlNode *n = ours->children; n; n = n->next) {
		if (is_ours(n, "label")) {
			read_label(vm, n);
		} else if (is_ours(n, "nic")) {
			read_meta_nic(vm, n);
		}
	}
}

static enum hostd_nic_kind kind_of(const char *type)
{
	static const struct {
		const char *type;
		enum hostd_nic_kind kind;
	} kinds[] = {{"bridge", HOSTD_NIC_BRIDGE},     {"network", HOSTD_NIC_NETWORK},
		     {"ethernet", HOSTD_NIC_ETHERNET}, {"direct", HOSTD_NIC_DIRECT},
		     {"hostdev", HOSTD_NIC_HOSTDEV},   {"vdpa", HOSTD_NIC_HOSTDEV},
		     {"user", HOSTD_NIC_USER},	       {"vhostuser", HOSTD_NIC_VHOSTUSER}};

	for (size_t i = 0; i < BH_ARRAY_SIZE(kinds); i++) {
		if (!strcmp(kinds[i].type, type)) {
			return kinds[i].kind;
		}
	}
	return HOSTD_NIC_OTHER;
}

static void read_source(struct hostd_nic *nic, const xmlNode *node)
{
	const xmlNode *source = child(node, "source");
	static const char *const attrs[] = {
		[HOSTD_NIC_BRIDGE] = "bridge",	[HOSTD_NIC_NETWORK] = "network",
		[HOSTD_NIC_ETHERNET] = "dev",	[HOSTD_NIC_DIRECT] = "dev",
		[HOSTD_NIC_HOSTDEV] = "dev",	[HOSTD_NIC_USER] = "dev",
		[HOSTD_NIC_VHOSTUSER] = "path", [HOSTD_NIC_OTHER] = "dev",
	};

	attr(source, attrs[nic->kind], nic->source, sizeof(nic->source));
	/* a name that does not fit is no interface */
	if (!attr(source, "bridge", nic->bridge, sizeof(nic->bridge))) {
		*nic->bridge = '\0';
	}
	/* a network of forward mode bridge with a pool of devices becomes a macvtap when it starts
	 */
	if (nic->kind == HOSTD_NIC_NETWORK && !*nic->bridge && !attr_is(source, "dev", "") &&
	    !attr_is(source, "mode", "")) {
		nic->kind = HOSTD_NIC_DIRECT;
	}
}

static int read_interface(struct hostd_vm *vm, const xmlNode *node, struct bh_diag *diag)
{
	char text[256];
	uint8_t mac[6];
	struct hostd_nic *nic;

	attr(child(node, "mac"), "address", text, sizeof(text));
	if (bh_mac_parse(text, mac) < 0 || (mac[0] & 1)) {
		return bh_diag_set(diag, -EBADMSG, "an interface of %s has no MAC ('%.40s')",
				   vm->name, text);
	}
	if (vm->nics.count >= HOSTD_NICS_MAX) {
		return bh_diag_set(diag, -EBADMSG, "%s has more than %d NICs", vm->name,
				   HOSTD_NICS_MAX);
	}
	bh_vec_foreach (other, &vm->nics) {
		if (!memcmp(other->mac, mac, 6)) {
			nic_problem(vm, other,
				    "MAC %.60s stands on two NICs; the second one stays closed",
				    text);
			return 0;
		}
	}
	nic = bh_vec_push(&vm->nics);
	memcpy(nic->mac, mac, 6);
	attr(node, "type", text, sizeof(text));
	nic->kind = kind_of(text);
	nic->openvswitch = attr_is(child(node, "virtualport"), "type", "openvswitch");
	read_source(nic, node);
	if (!attr(child(node, "target"), "dev", nic->dev, sizeof(nic->dev))) {
		*nic->dev = '\0';
	}
	/* libvirt-lxc 9.0 names only the container's end at `start begin` */
	if (!attr(child(node, "guest"), "actual", nic->guest_dev, sizeof(nic->guest_dev))) {
		*nic->guest_dev = '\0';
	}
	for (xmlNode *n = node->children; n; n = n->next) {
		if (is(n, "ip") && attr(n, "address", text, sizeof(text))) {
			add_addr_text(vm, nic, text);
		} else if (is(n, "filterref")) {
			nic->filtered = true;
			for (xmlNode *p = n->children; p; p = p->next) {
				if (is(p, "parameter") && attr_is(p, "name", "IP") &&
				    attr(p, "value", text, sizeof(text))) {
					add_addr_text(vm, nic, text);
				}
			}
		} else if (is(n, "vlan")) {
			for (xmlNode *t = n->children; t; t = t->next) {
				if (is(t, "tag") && attr(t, "id", text, sizeof(text))) {
					read_vlans(vm, nic, text);
				}
			}
		}
	}
	return 0;
}

int hostd_domxml_parse(const char *xml, size_t size, struct hostd_vm *ret_vm, struct bh_diag *diag)
{
	XML_DOC xmlDoc *doc = NULL;
	xmlNode *root, *devices;
	char text[256];
	int err;

	memset(ret_vm, 0, sizeof(*ret_vm));
	err = load(xml, size, "domain", &doc, diag);
	if (err) {
		return err;
	}
	root = xmlDocGetRootElement(doc);
	text_of(child(root, "name"), ret_vm->name, sizeof(ret_vm->name));
	attr(root, "type", ret_vm->type, sizeof(ret_vm->type));
	if (!*ret_vm->name) {
		return bh_diag_set(diag, -EBADMSG, "the domain has no name");
	}
	if (!text_of(child(root, "uuid"), text, sizeof(text)) ||
	    bh_uuid_parse(text, ret_vm->uuid) < 0) {
		return bh_diag_set(diag, -EBADMSG, "the domain %s has no UUID", ret_vm->name);
	}
	devices = child(root, "devices");
	for (xmlNode *n = devices ? devices->children : NULL; n; n = n->next) {
		if (is(n, "interface")) {
			err = read_interface(ret_vm, n, diag);
			if (err) {
				return err;
			}
		}
	}
	read_metadata(ret_vm, root);
	read_mark(ret_vm, root);
	return 0;
}

/* Drops the children whose names are not in the list. */
static void keep_only(xmlNode *parent, const char *const *names)
{
	xmlNode *n = parent ? parent->children : NULL;

	while (n) {
		xmlNode *next = n->next;
		bool keep = false;

		for (const char *const *name = names; *name; name++) {
			keep |= is(n, *name);
		}
		if (!keep) {
			xmlUnlinkNode(n);
			xmlFreeNode(n);
		}
		n = next;
	}
}

int hostd_domxml_reduce(const char *xml, size_t size, char **ret_xml, struct bh_diag *diag)
{
	static const char *const top[] = {"name", "uuid", "metadata", "devices", NULL};
	static const char *const devices[] = {"interface", NULL};
	XML_DOC xmlDoc *doc = NULL;
	XML_STR xmlChar *text = NULL;
	xmlNode *meta, *next;
	int len = 0;
	int err = load(xml, size, "domain", &doc, diag);

	if (err) {
		return err;
	}
	keep_only(xmlDocGetRootElement(doc), top);
	keep_only(child(xmlDocGetRootElement(doc), "devices"), devices);
	meta = child(xmlDocGetRootElement(doc), "metadata");
	for (xmlNode *n = meta ? meta->children : NULL; n; n = next) {
		next = n->next;
		if (!is_ours(n, "vm") && !is_mark(n)) {
			xmlUnlinkNode(n);
			xmlFreeNode(n);
		}
	}
	xmlDocDumpMemory(doc, &text, &len);
	if (!text) {
		return bh_diag_set(diag, -EBADMSG, "the XML can't be written again");
	}
	*ret_xml = bh_strdup((const char *)text);
	return 0;
}

/* Copies what is ours without its name space, which `virsh metadata` adds. False when there is
 * something of others among it. */
static bool copy_plain(const xmlNode *from, xmlNode *to)
{
	for (const xmlAttr *a = from->properties; a; a = a->next) {
		XML_STR xmlChar *value = xmlNodeListGetString(from->doc, a->children, 1);

		if (a->ns || !xmlNewProp(to, a->name, value ? value : (const xmlChar *)"")) {
			return false;
		}
	}
	for (const xmlNode *n = from->children; n; n = n->next) {
		char text[1024];

		if (n->type == XML_ELEMENT_NODE) {
			if (!is_ours(n, (const char *)n->name) ||
			    !copy_plain(n, xmlNewChild(to, NULL, n->name, NULL))) {
				return false;
			}
		} else if (n->type == XML_TEXT_NODE || n->type == XML_CDATA_SECTION_NODE) {
			if (!text_of(n, text, sizeof(text))) {
				return false;
			}
			xmlNodeAddContent(to, (const xmlChar *)text);
		} else if (n->type != XML_COMMENT_NODE) {
			return false;
		}
	}
	return true;
}

/* For a shell's apostrophes, on one line. */
static char *quotable(const char *text)
{
	struct bh_wbuf w;
	char *ret;

	bh_wbuf_init(&w, 0);
	for (; *text; text++) {
		if (*text == '\'') {
			bh_wbuf_str(&w, "&apos;");
		} else if ((unsigned char)*text < 0x20) {
			bh_wbuf_printf(&w, "&#%d;", *text);
		} else {
			bh_wbuf_put(&w, text, 1);
		}
	}
	ret = bh_strdup(bh_wbuf_cstr(&w));
	bh_wbuf_done(&w);
	return ret;
}

int hostd_domxml_open(const char *xml, size_t size, char **ret, struct bh_diag *diag)
{
	XML_DOC xmlDoc *doc = NULL;
	XML_DOC xmlDoc *plain = xmlNewDoc((const xmlChar *)"1.0");
	xmlNode *root = xmlNewDocNode(plain, NULL, (const xmlChar *)"vm", NULL);
	xmlBuffer *buffer;
	const xmlNode *ours;
	int err = load(xml, size, "domain", &doc, diag);

	*ret = NULL;
	xmlDocSetRootElement(plain, root);
	if (err) {
		return err;
	}
	ours = find_metadata(xmlDocGetRootElement(doc), false);
	if (ours && !copy_plain(ours, root)) {
		return 0;
	}
	xmlSetProp(root, (const xmlChar *)"birth", (const xmlChar *)"open");
	buffer = xmlBufferCreate();
	if (xmlNodeDump(buffer, plain, root, 0, 0) > 0) {
		*ret = quotable((const char *)xmlBufferContent(buffer));
	}
	xmlBufferFree(buffer);
	return 0;
}

static void read_dhcp_hosts(struct hostd_network *net, const xmlNode *root)
{
	for (xmlNode *ip = root->children; ip; ip = ip->next) {
		const xmlNode *dhcp = is(ip, "ip") ? child(ip, "dhcp") : NULL;

		for (xmlNode *h = dhcp ? dhcp->children : NULL; h; h = h->next) {
			struct hostd_net_host entry;
			char mac[64], addr[64];

			/* DHCPv6 hosts are named by DUID, not MAC: those are left to snooping */
			if (is(h, "host") && attr(h, "mac", mac, sizeof(mac)) &&
			    attr(h, "ip", addr, sizeof(addr)) &&
			    bh_mac_parse(mac, entry.mac) == 0 &&
			    bh_addr_parse(addr, entry.addr) == 0 &&
			    net->hosts.count < HOSTD_NET_HOSTS_MAX) {
				*bh_vec_push(&net->hosts) = entry;
			}
		}
	}
}

int hostd_netxml_parse(const char *xml, size_t size, struct hostd_network *ret_net,
		       struct bh_diag *diag)
{
	static const char *const managed[] = {"nat", "route", "open", ""};
	XML_DOC xmlDoc *doc = NULL;
	xmlNode *root, *forward;
	char mode[32];
	int err;

	memset(ret_net, 0, sizeof(*ret_net));
	err = load(xml, size, "network", &doc, diag);
	if (err) {
		return err;
	}
	root = xmlDocGetRootElement(doc);
	if (!text_of(child(root, "name"), ret_net->name, sizeof(ret_net->name)) ||
	    !*ret_net->name) {
		return bh_diag_set(diag, -EBADMSG, "the network has no name");
	}
	forward = child(root, "forward");
	attr(forward, "mode", mode, sizeof(mode));
	if (forward && !*mode) {
		snprintf(mode, sizeof(mode), "nat"); /* libvirt's default of <forward/> */
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(managed); i++) {
		if (!strcmp(mode, managed[i])) {
			ret_net->managed = true;
		}
	}
	if (!attr(child(root, "bridge"), "name", ret_net->bridge, sizeof(ret_net->bridge))) {
		*ret_net->bridge = '\0';
	}
	ret_net->openvswitch = attr_is(child(root, "virtualport"), "type", "openvswitch");
	read_dhcp_hosts(ret_net, root);
	return 0;
}

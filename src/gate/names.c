/* SPDX-License-Identifier: Apache-2.0 */
/* Names of protocols, the one list for settings, rules and records. */
#include "gate/gate.h"

#include <string.h>

static const char *const app_names[GATE_APP_COUNT] = {
	[GATE_APP_UNKNOWN] = "unknown",
	[GATE_APP_FAILED] = "failed",
	[GATE_APP_HTTP1] = "http",
	[GATE_APP_HTTP2] = "http2",
	[GATE_APP_TLS] = "tls",
	[GATE_APP_QUIC] = "quic",
	[GATE_APP_DNS] = "dns",
	[GATE_APP_SMTP] = "smtp",
	[GATE_APP_FTP] = "ftp",
	[GATE_APP_FTP_DATA] = "ftp-data",
	[GATE_APP_SMB] = "smb",
	[GATE_APP_DCERPC] = "dcerpc",
	[GATE_APP_SSH] = "ssh",
	[GATE_APP_DHCP] = "dhcp",
	[GATE_APP_SIP] = "sip",
	[GATE_APP_SNMP] = "snmp",
	[GATE_APP_MYSQL] = "mysql",
	[GATE_APP_PGSQL] = "pgsql",
	[GATE_APP_WEBSOCKET] = "websocket",
	[GATE_APP_DOH2] = "doh2",
	[GATE_APP_MDNS] = "mdns",
	[GATE_APP_LLMNR] = "llmnr",
};

const char *gate_app_name(enum gate_app app)
{
	return (unsigned int)app < GATE_APP_COUNT ? app_names[app] : "unknown";
}

enum gate_app gate_app_find(const char *name)
{
	for (unsigned int i = 0; i < GATE_APP_COUNT; i++) {
		if (!strcmp(app_names[i], name)) {
			return (enum gate_app)i;
		}
	}
	return !strcmp(name, "http1") ? GATE_APP_HTTP1 : GATE_APP_UNKNOWN;
}

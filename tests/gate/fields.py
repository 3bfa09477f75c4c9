#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Members of records against Suricata's documentation: tests/gate/fields.py PROGRAM

The conversations are those that the fuzz targets begin with (tests/fuzz/corpus, taken from captures and real programs),
played to bulkhead-gated as packets. For each protocol DOCUMENTED has what Suricata 8's user guide ("Eve JSON Format") says
its record may hold; OURS what else ours hold, each with its reason. A record may hold nothing that stands in neither, and
over its conversations each member of NEEDED must be seen.
"""
import glob
import json
import os
import subprocess
import sys
import tempfile

import make

PROGRAM = os.path.abspath(sys.argv[1])
CORPUS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fuzz/corpus")

DCERPC = {"request", "response", "opnum", "call_id", "req.frag_cnt", "req.stub_data_size", "res.frag_cnt", "res.stub_data_size",
          "interfaces[].uuid", "interfaces[].version", "interfaces[].ack_result", "interfaces[].ack_reason"}
CERTIFICATE = {"subject", "issuerdn", "serial", "fingerprint", "notbefore", "notafter"}
DOCUMENTED = {
    "http": {"hostname", "http_port", "url", "http_user_agent", "http_content_type", "cookie", "length", "status", "protocol",
             "http_method", "http_refer", "request_headers[].name", "request_headers[].value", "response_headers[].name",
             "response_headers[].value"},
    "http2": {f"{side}.{what}" for side in ("request", "response") for what in
              ("settings[].settings_id", "settings[].settings_value", "headers[].name", "headers[].value", "error_code", "priority")},
    "ftp": {"command", "command_data", "reply[]", "completion_code[]", "dynamic_port", "mode", "reply_received"},
    "ftp_data": {"command", "filename"},
    "tls": CERTIFICATE | {"session_resumed", "sni", "version", "ja3.hash", "ja3.string", "ja3s.hash", "ja3s.string"},
    "smb": {"id", "dialect", "command", "status", "status_code", "session_id", "tree_id", "filename", "disposition", "access",
            "created", "accessed", "modified", "changed", "size", "fuid", "share", "share_type", "client_dialects[]", "client_guid",
            "server_guid", "request.native_os", "request.native_lm", "response.native_os", "response.native_lm", "ntlmssp.domain",
            "ntlmssp.user", "ntlmssp.host"} | {f"dcerpc.{key}" for key in DCERPC},
    "ssh": {f"{side}.{what}" for side in ("client", "server") for what in
            ("proto_version", "software_version", "hassh.hash", "hassh.string")},
    "pgsql": {"tx_id", "request.protocol_version", "request.startup_parameters.user", "request.startup_parameters.database",
              "request.startup_parameters.optional_parameters[].*", "request.simple_query", "request.message", "response.message",
              "response.authentication_md5_password", "response.parameter_status[].*", "response.field_count", "response.data_rows",
              "response.data_size", "response.command_completed", "response.ssl_accepted"},
    "quic": {"version", "cyu[].hash", "cyu[].string"},
}
# Members of Suricata's records that its guide does not list, and members of our own.
OURS = {
    "http": {"version", "status_string", "http2.stream_id", "redirect", "content_range.raw", "content_range.start", "content_range.end",
             "content_range.size"} | {f"http2.{key}" for key in DOCUMENTED["http2"]},
    "ftp": {"command_truncated", "reply_truncated"},
    "tls": {"subjectaltname[]", "ja4", "client_alpns[]", "server_alpns[]", "from_proto"} | {f"client.{key}" for key in CERTIFICATE},
    "smb": {"max_read_size", "max_write_size", "named_pipe", "service.request", "service.response", "directory", "rename.from",
            "rename.to", "ntlmssp.version", "dcerpc.req.opnum"},
    "pgsql": {"request.password_redacted", "response.authentication_sasl_mechanism", "response.login",  # whether it worked
              "response.severity_non_localizable", "response.code", "response.error_message"},
    "quic": {"sni", "ua", "ja3.hash", "ja3.string", "ja3s.hash", "ja3s.string", "ja4", "extensions[].name", "extensions[].type",
             "extensions[].values[]"},
}
# Records that the guide does not describe: what ours hold.
ALONE = {
    "snmp": {"version", "pdu_type", "vars[]", "community", "usm", "error", "trap_type", "trap_oid", "trap_address"},
    "dhcp": {"type", "id", "client_mac", "assigned_ip", "client_ip", "relay_ip", "next_server_ip", "dhcp_type", "client_id",
             "hostname", "vendor_class_identifier", "requested_ip", "lease_time", "renewal_time", "rebinding_time", "subnet_mask",
             "routers[]", "dns_servers[]", "params[]"},
    "websocket": {"fin", "mask", "opcode"},
    "mysql": {"tx_id", "version", "tls", "user", "database", "auth_plugin", "login", "command_name", "command", "error_code",
              "error_message"},
}
NEEDED = {
    "ftp": {"command", "command_data", "reply[]", "completion_code[]", "dynamic_port", "mode", "reply_received"},
    "tls": CERTIFICATE | {"sni", "version", "ja3.hash", "ja3s.string", "from_proto"},
    "smb": {"id", "dialect", "command", "status", "status_code", "session_id", "tree_id", "share", "client_dialects[]",
            "ntlmssp.user", "dcerpc.request", "dcerpc.response", "dcerpc.opnum", "dcerpc.call_id", "dcerpc.req.stub_data_size",
            "dcerpc.res.frag_cnt"},
    "ssh": {"client.proto_version", "client.software_version", "client.hassh.hash", "client.hassh.string", "server.proto_version",
            "server.hassh.string"},
    "pgsql": {"tx_id", "request.protocol_version", "request.startup_parameters.user", "request.startup_parameters.database",
              "request.simple_query", "response.parameter_status[].*", "response.command_completed", "response.data_rows",
              "response.ssl_accepted"},
    "quic": {"version", "cyu[].hash", "cyu[].string", "sni", "extensions[].name", "extensions[].type", "extensions[].values[]"},
    "http": {"hostname", "url", "http_user_agent", "length", "status", "protocol", "http_method",
             "request_headers[].name", "response_headers[].value", "http2.stream_id", "http2.request.settings[].settings_id"},
    "snmp": {"version", "pdu_type", "vars[]", "community"},
    "dhcp": {"type", "id", "client_mac", "dhcp_type", "assigned_ip"},
    "websocket": {"fin", "opcode"},
    "mysql": {"tx_id", "version", "user", "login", "command"},
}


UPGRADE = (b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n",
           b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
# Corpora of gate_conversation.h: the server's port, and what the client (and the server) say first.
TALKS = {"http1": (80, ()), "ftp": (21, ()), "smb": (445, ()), "pgsql": (5432, ()), "mysql": (3306, ()), "websocket": (80, UPGRADE),
         "http2": (80, (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",))}


def said_in_talk(data):
    """Of gate_conversation.h: a head, a size, so many bytes. One that has gaps is played without them."""
    at = 0
    while len(data) - at >= 2:
        size = data[at + 1] + 256 * (data[at] & 7)
        if not data[at] & 0x20:
            yield data[at] >> 7, data[at + 2:at + 2 + size]
        at += 2 + size


def said_in_feed(data):
    """Of gate_feed.h: whether UDP, the port, then side, size and bytes."""
    at = 3
    while len(data) - at >= 3:
        size = int.from_bytes(data[at + 1:at + 3], "big")
        yield data[at] & 1, data[at + 3:at + 3 + size]
        at += 3 + size


def tcp(sport, port, said):
    link = make.Connection(sport, port).open()
    for side, text in said:
        link.send(side, text)
    return link.close().packets


def udp(sport, port, said):
    ends = ((make.CLIENT, sport), (make.SERVER, port))
    return [make.udp(ends[side][0], ends[1 - side][0], ends[side][1], ends[1 - side][1], text) for side, text in said]


def packets(protocol, data, sport):
    if protocol in TALKS:
        port, first = TALKS[protocol]
        return tcp(sport, port, [*enumerate(first), *said_in_talk(data)])
    return (udp if data[0] & 1 else tcp)(sport, int.from_bytes(data[1:3], "big"), said_in_feed(data))


def upgraded_to_tls():
    """STARTTLS, then a client's hello out of the corpus."""
    with open(f"{CORPUS}/gate_tls/60bfe5ef-0-t443", "rb") as file:
        hello = next(said_in_feed(file.read()))
    return tcp(39999, 25, [(1, b"220 mail ESMTP\r\n"), (0, b"EHLO a\r\n"), (1, b"250-mail\r\n250 STARTTLS\r\n"), (0, b"STARTTLS\r\n"),
                           (1, b"220 go on\r\n"), hello])


def conversations(protocol):
    found = upgraded_to_tls() if protocol == "tls" else []
    for number, path in enumerate(sorted(glob.glob(f"{CORPUS}/gate_{protocol}/*"))):
        with open(path, "rb") as file:
            data = file.read()
        if len(data) > 3:
            found += packets(protocol, data, 20000 + number)
    return found


def members(value, path=""):
    """Paths of all that is no object; names that a peer chose (optional parameters) are `*`."""
    if isinstance(value, dict):
        free = path.endswith(("optional_parameters[]", "parameter_status[]"))
        for key, one in value.items():
            yield from members(one, f"{path}.{'*' if free else key}" if path else key)
    elif isinstance(value, list):
        for one in value:
            yield from members(one, f"{path}[]")
    else:
        yield path


def records(folder, found):
    with open(f"{folder}/t.pcap", "wb") as file:
        file.write(make.pcap(found))
    with open(f"{folder}/t.rules", "w", encoding="utf-8") as file:
        file.write("")
    subprocess.run([PROGRAM, "-q", "-r", f"{folder}/t.pcap", "-S", f"{folder}/t.rules", "-l", f"{folder}/out", "-k", "none"],
                   check=True, timeout=120)
    with open(f"{folder}/out/eve.json", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def check(folder, kind, protocols):
    seen = set()
    for protocol in protocols:
        for record in records(folder, conversations(protocol)):
            if record["event_type"] == kind:
                seen |= set(members(record[kind]))
    known = DOCUMENTED.get(kind, set()) | OURS.get(kind, set()) | ALONE.get(kind, set())
    assert seen <= known, f"{kind}: neither documented nor ours: {sorted(seen - known)}"
    missing = NEEDED[kind] - seen
    assert not missing, f"{kind}: not seen: {sorted(missing)}"
    print(f"{kind}: {len(seen)} members, {len(seen & DOCUMENTED.get(kind, set()))} of them documented")


def main():
    with tempfile.TemporaryDirectory(prefix="gate-fields-") as folder:
        os.chmod(folder, 0o755)
        for kind in NEEDED:
            check(folder, kind, ("http1", "http2") if kind == "http" else (kind,))


if __name__ == "__main__":
    main()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Records of bulkhead-gated: tests/gate/records.py PROGRAM

What tools for Suricata's eve.json read must be there: members of alert, drop, anomaly, flow, stats, payloads of streams and
packets. Then what becomes of records when they can't be written: a full disk, a reader that is slow or goes away, datagrams.
"""
import base64
import contextlib
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading

import make

PROGRAM = os.path.abspath(sys.argv[1])
RULE = 'alert tcp any any -> any any (msg:"split"; content:"SPLIT-OVER-SEGMENTS"; ' \
       'classtype:trojan-activity; reference:cve,2021-1; reference:url,a.example/x; metadata:a one, a two, b three; target:dest_ip; sid:1; rev:4;)\n'


def gate(folder, capture, rules, *options, ok=True):
    with open(f"{folder}/t.pcap", "wb") as file:
        file.write(capture)
    with open(f"{folder}/t.rules", "w", encoding="utf-8") as file:
        file.write(rules)
    done = subprocess.run([PROGRAM, "-r", f"{folder}/t.pcap", "-S", f"{folder}/t.rules", "-l", f"{folder}/out", "-k", "none", *options],
                          capture_output=True, text=True, timeout=60, check=False)
    assert not ok or done.returncode == 0, done.stderr
    return done


def records(folder, *args):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{folder}/out/eve.json")
    gate(folder, *args)
    with open(f"{folder}/out/eve.json", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def of(found, kind):
    return [r for r in found if r["event_type"] == kind]


def options(**settings):
    return [w for key, value in settings.items() for w in ("--set", f"eve.{key.replace('_', '-')}={value}")]


def check_alert(folder):
    found = records(folder, make.stream_split(), RULE, *options(payload="yes", payload_printable="yes", packet="yes", community_id="yes",
                                                                verdict="yes"))
    (alert,) = of(found, "alert")
    rule = alert["alert"]
    assert (rule["action"], rule["gid"], rule["signature_id"], rule["rev"]) == ("allowed", 1, 1, 4), rule
    assert (rule["signature"], rule["severity"]) == ("split", 1) and rule["category"] == "A Network Trojan was detected", rule
    assert rule["metadata"] == {"a": ["one", "two"], "b": ["three"]}, rule
    assert len(rule["references"]) == 2 and rule["references"][1].endswith("a.example/x"), rule
    assert rule["target"] == {"ip": make.SERVER, "port": 4444} and rule["source"]["ip"] == make.CLIENT, rule
    assert alert["verdict"] == {"action": "alert"}, alert
    # the pattern came in pieces of three bytes: only the stream has it
    assert alert["stream"] == 1, alert
    payload = base64.b64decode(alert["payload"])
    assert b"SPLIT-OVER-SEGMENTS" in payload and alert["payload_printable"] == payload.decode(), alert
    assert alert["packet_info"] == {"linktype": 1} and len(base64.b64decode(alert["packet"])) >= 54
    for member in ("timestamp", "flow_id", "pcap_cnt", "src_ip", "src_port", "dest_ip", "dest_port", "proto", "ip_v", "pkt_src", "community_id"):
        assert member in alert, member
    assert alert["proto"] == "TCP" and alert["direction"] == "to_server" and re.fullmatch(r"1:\S{28}", alert["community_id"]), alert
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+0000", alert["timestamp"]), alert
    flow = alert["flow"]
    assert flow["src_ip"] == make.CLIENT and flow["dest_port"] == 4444 and flow["pkts_toserver"] > 1 and "start" in flow, flow
    # less may be wanted
    (alert,) = of(records(folder, make.stream_split(), RULE, *options(metadata="no", payload="yes", payload_buffer_size="5")), "alert")
    assert "metadata" not in alert["alert"] and len(base64.b64decode(alert["payload"])) == 5, alert
    # of a packet
    packet = 'alert udp any any -> any 53 (msg:"d"; content:"|01|"; sid:2;)\n'
    (alert,) = of(records(folder, make.dns_query(), packet, *options(payload="yes")), "alert")[:1]
    assert alert["stream"] == 0 and b"\x01" in base64.b64decode(alert["payload"]), alert


def check_app(folder):
    found = records(folder, make.http_pipelined(),
                    'alert http any any -> any any (msg:"u"; http.uri; content:"/evil/1"; sid:3;)\n', *options(community_id="yes"))
    (alert,) = of(found, "alert")
    assert alert["app_proto"] == "http" and alert["tx_id"] == 1 and alert["http"]["url"] == "/evil/1", alert
    assert alert["stream"] == 1, alert
    https = of(found, "http")
    assert [h["tx_id"] for h in https] == [0, 1, 2] and all(h["http"]["status"] == 200 for h in https), https
    (flow,) = of(found, "flow")
    assert flow["app_proto"] == "http" and flow["flow"]["alerted"] is True and flow["flow"]["state"] == "closed", flow
    assert flow["tcp"]["syn"] and flow["tcp"]["fin"] and flow["flow"]["reason"], flow
    assert len({r["flow_id"] for r in found if "flow_id" in r}) == 1
    assert len({r["community_id"] for r in found if "flow_id" in r}) == 1
    assert found[-1]["event_type"] == "stats", found[-1]
    stats = found[-1]["stats"]
    assert stats["app_layer"]["flow"]["http"] == 1 and stats["app_layer"]["tx"]["http"] == 3, stats["app_layer"]
    assert stats["detect"]["alert"] == 1 and stats["detect"]["rules_loaded"] == 1, stats["detect"]
    assert stats["tcp"]["sessions"] == 1 and stats["tcp"]["syn"] == 1 and stats["decoder"]["pkts"] == stats["decoder"]["tcp"], stats
    assert "dns" not in stats["app_layer"]["flow"] and {"dns_tcp", "dns_udp"} <= set(stats["app_layer"]["tx"]), stats["app_layer"]
    assert stats["flow"]["total"] == 1 and stats["capture"]["kernel_packets"] == stats["decoder"]["pkts"], stats


def check_bodies(folder):
    rule = 'alert http any any -> any any (http.response_body; content:"ok"; sid:3;)\n'
    found = of(records(folder, make.http_pipelined(), rule, *options(http_body="yes", http_body_printable="yes")), "alert")
    assert len(found) == 3 and all(a["http"]["http_response_body_printable"] == "ok" for a in found), found
    assert base64.b64decode(found[0]["http"]["http_response_body"]) == b"ok" and "http_request_body" not in found[0]["http"], found
    found = of(records(folder, make.http_pipelined(), rule, *options(http_body_printable="yes", payload_buffer_size="1")), "alert")
    assert found[0]["http"]["http_response_body_printable"] == "k" and "http_response_body" not in found[0]["http"], found


def check_config(folder):
    found = records(folder, make.http_pipelined(),
                    'config http any any -> any any (http.uri; content:"/evil/1"; config: logging disable, type tx, scope tx; sid:3;)\n')
    assert [h["tx_id"] for h in of(found, "http")] == [0, 2] and not of(found, "alert"), found


def check_drop(folder):
    rule = 'drop tcp any any -> any any (msg:"shout"; flow:established,to_server; content:"SHOUT"; sid:7;)\n'
    found = records(folder, make.two_shouts(), rule, "--simulate-ips", *options(verdict="yes"))
    (alert,), (drop,) = of(found, "alert"), of(found, "drop")
    assert alert["alert"]["action"] == "blocked" and alert["verdict"]["action"] == "drop", alert
    assert drop["drop"]["reason"] == "rules" and drop["drop"]["len"] > 40 and drop["drop"]["psh"] is True, drop
    assert drop["alert"]["signature_id"] == 7 and drop["verdict"]["action"] == "drop" and drop["direction"] == "to_server", drop
    stats = found[-1]["stats"]["ips"]
    assert stats["drop_reason"]["rules"] == 1 and stats["drop_reason"]["flow_drop"] >= 1, stats
    assert stats["blocked"] == sum(stats["drop_reason"].values()), stats
    # a sensor drops nothing
    found = records(folder, make.two_shouts(), rule)
    assert of(found, "alert")[0]["alert"]["action"] == "allowed" and not of(found, "drop"), found
    reject = 'reject tcp any any -> any any (msg:"shout"; flow:established,to_server; content:"SHOUT"; sid:7;)\n'
    alert = of(records(folder, make.two_shouts(), reject, "--simulate-ips", *options(verdict="yes")), "alert")[0]
    assert alert["verdict"] == {"action": "drop", "reject-target": "to_client", "reject": ["tcp-reset"]}, alert


def check_packets(folder):
    """Members that only some packets have."""
    echo = b"\0\7\0\1" + b"x" * 8
    rules = 'drop icmp any any -> any any (itype:128; sid:1;)\nalert icmp any any -> any any (content:"xxx"; sid:2;)\n'
    packets = [make.icmp(make.CLIENT, make.SERVER, 8, 0, echo), make.icmp(make.SERVER, make.CLIENT, 0, 0, echo),
               make.icmp6(128, 0, echo), make.ip(make.CLIENT, make.SERVER, 4, make.icmp("10.7.0.1", "10.7.0.2", 8, 0, echo)),
               make.ip(make.CLIENT, make.SERVER, 47, b"\0\0\x08\0" + make.icmp("10.8.0.1", "10.8.0.2", 8, 0, echo))]
    found = records(folder, make.pcap(packets), rules, "--simulate-ips", "--runmode", "single")
    (drop,) = of(found, "drop")
    assert {key: drop["drop"][key] for key in ("hoplimit", "tc", "flowlbl", "icmp_id", "icmp_seq")} == {
        "hoplimit": 64, "tc": 0, "flowlbl": 0, "icmp_id": 7, "icmp_seq": 1}, drop
    sources = [r["pkt_src"] for r in of(found, "alert") if r["alert"]["signature_id"] == 2]
    assert sources == ["wire/pcap", "wire/pcap", "wire/pcap", "ipv4 tunnel", "gre tunnel"], sources
    answered = [r for r in of(found, "flow") if "response_icmp_type" in r]
    assert [(r["icmp_type"], r["response_icmp_type"], r["response_icmp_code"]) for r in answered] == [(8, 0, 0)], answered


def check_anomaly(folder):
    found = records(folder, make.snaplen_cut(), RULE, *options(packet_anomalies="yes"))
    kinds = {(a["anomaly"]["type"], a["anomaly"]["event"]) for a in of(found, "anomaly")}
    assert ("decode", "decoder.ipv4.trunc_pkt") in kinds, kinds
    stats = found[-1]["stats"]
    assert stats["decoder"]["event"]["ipv4"]["trunc_pkt"] >= 1, stats["decoder"]["event"]["ipv4"]
    assert not of(records(folder, make.snaplen_cut(), RULE), "anomaly")


def check_types(folder):
    kinds = {r["event_type"] for r in records(folder, make.http_pipelined(), RULE, "--set", "eve.types.0=http", "--set", "eve.types.1=stats")}
    assert kinds == {"http", "stats"}, kinds


def check_files(folder):
    """What is asked of files: which rules wanted them kept, all files of a transaction, hashes of all, few open at once."""
    rules = ('alert http any any -> any any (msg:"all"; flow:established,to_client; filestore; sid:11;)\n'
             'alert http any any -> any any (msg:"two"; flow:established,to_server; http.uri; content:"/two"; filestore:both,tx; sid:12;)\n')
    found = records(folder, make.two_downloads(), rules, "--set", "file-store.force-hash.0=md5", "--set", "file-store.max-open-files=1")
    files = {r["fileinfo"]["filename"]: r["fileinfo"] for r in of(found, "fileinfo")}
    assert sorted(files["/two"]["sid"]) == [11, 12] and files["/one"]["sid"] == [11], files
    for name, content in (("/one", b"1" * 3000), ("/two", b"2" * 3000)):
        sha256 = hashlib.sha256(content).hexdigest()
        assert files[name]["stored"] and files[name]["sha256"] == sha256 and files[name]["size"] == 3000, files
        assert files[name]["md5"] == hashlib.md5(content).hexdigest() and "sha1" not in files[name], files
        with open(f"{folder}/out/filestore/{sha256[:2]}/{sha256}", "rb") as file:
            assert file.read() == content
    assert found[-1]["stats"]["counters"]["gate_filestore_not_open"] == 1, found[-1]["stats"]["counters"]
    # no rule asks, the configuration neither
    files = of(records(folder, make.two_downloads(), RULE), "fileinfo")
    assert len(files) == 2 and not any("md5" in f["fileinfo"] or "sid" in f["fileinfo"] for f in files), files


def told(done, words):
    return [line for line in done.stderr.splitlines() if words in line]


def check_full_disk(folder):
    """Told once; the capture is read to its end."""
    done = gate(folder, make.http_pipelined(), RULE, "--set", "eve.filename=/dev/full")
    assert len(told(done, "records can't be written: No space left on device")) == 1, done.stderr
    assert told(done, "15 packets") or told(done, " packets, "), done.stderr


def listen(path, kind):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, kind)
    listener.bind(path)
    os.chmod(path, 0o666)
    return listener


def check_socket(folder):
    path = f"{folder}/records.sock"
    # a reader of datagrams
    with listen(path, socket.SOCK_DGRAM) as reader:
        gate(folder, make.stream_split(), RULE, *options(unix=path, unix_type="datagram"))
        reader.settimeout(5)
        found = []
        while not found or found[-1]["event_type"] != "stats":
            found.append(json.loads(reader.recv(1 << 18)))
        assert of(found, "alert") and of(found, "flow"), found
    # a reader of a stream
    with listen(path, socket.SOCK_STREAM) as reader:
        reader.listen(1)
        got = []

        def drain():
            peer = reader.accept()[0]
            while data := peer.recv(65536):
                got.append(data)
        thread = threading.Thread(target=drain)
        thread.start()
        gate(folder, make.stream_split(), RULE, *options(unix=path))
        thread.join(10)
        assert of([json.loads(line) for line in b"".join(got).splitlines()], "alert")
    # one that never reads: at most seconds, told
    with listen(path, socket.SOCK_STREAM) as reader:
        reader.listen(1)
        many = make.pcap([make.udp(make.CLIENT, make.SERVER, 1000 + i, 9, b"x" * 400) for i in range(3000)])
        done = gate(folder, many, 'alert udp any any -> any 9 (msg:"m"; content:"x"; sid:1;)\n', *options(unix=path, payload="yes"))
        assert len(told(done, "records can't be written")) == 1, done.stderr
    # nobody there
    os.unlink(path)
    done = gate(folder, make.stream_split(), RULE, *options(unix=path))
    assert len(told(done, "records can't be written")) == 1, done.stderr


with tempfile.TemporaryDirectory(prefix="gate-records-") as scratch:
    os.chmod(scratch, 0o755)
    for check in (check_alert, check_app, check_bodies, check_config, check_drop, check_packets, check_anomaly, check_types, check_files, check_full_disk, check_socket):
        check(scratch)
        print(f"{check.__name__}: as it should be", flush=True)

# SPDX-License-Identifier: Apache-2.0
"""What comes to the API below HTTP as it should be: requests whose end is doubtful, clients that are slow on purpose, TLS as a scanner
sees it, and a manager that is killed with sessions open and events under way."""
import contextlib
import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import xml.etree.ElementTree

import pytest

from test_accounts import make
from test_api import Manager, own_fixture, pytestmark  # noqa: F401

NEXT = b"GET /v1/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /v1/policies:check HTTP/1.1\r\nHost: x\r\nContent-Type: text/yaml\r\n"
PATIENCE = 5


@pytest.fixture(scope="module", name="m")
def manager_fixture():
    folder = tempfile.mkdtemp(prefix="bh-wire-")
    m = Manager(folder, client_patience=PATIENCE)
    try:
        yield m.start()
    finally:
        m.close()
        shutil.rmtree(folder, ignore_errors=True)


def unix(m, seconds=20):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(seconds)
    s.connect(f"{m.dir}/run/api.sock")
    return s


def say(m, data):
    """What comes back until the manager ends the connection, which is to be at once."""
    out = b""
    with unix(m) as s, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        with contextlib.suppress(BrokenPipeError):
            s.sendall(data)
        while part := s.recv(65536):
            out += part
    return out


def statuses(out):
    return [int(s) for s in re.findall(rb"HTTP/1\.1 (\d{3}) ", out)]


def chunked(data):
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)


# ---- where a request ends


def doubtful():
    """(what it is, bytes): for some reader or other the next request is within the first, or the other way round."""
    both = b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (5 + len(NEXT))
    yield "length and encoding", POST + both + NEXT
    yield "encoding and length", POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + chunked(NEXT)
    yield "two lengths", POST + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(NEXT) + NEXT
    yield "the same length twice", POST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + NEXT
    for value in (b"0, 0", b"+0", b"0x0", b"-1", b"0\x0b", b"0 0", b"", b"0;", b"18446744073709551616", b"1844674407370955161600"):
        yield f"length {value}", POST + b"Content-Length: " + value + b"\r\n\r\n" + NEXT
    for value in (b"xchunked", b"identity", b"chunked, identity", b"identity, chunked", b"chunked\x0b", b"chunked;q=1", b'"chunked"',
                  b"gzip, chunked", b""):
        yield f"encoding {value}", POST + b"Transfer-Encoding: " + value + b"\r\n\r\n0\r\n\r\n" + NEXT
    yield "two encodings", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + NEXT
    yield "encoding of HTTP/1.0", POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT
    yield "space before the colon", POST + b"Content-Length : %d\r\n\r\n" % len(NEXT) + NEXT
    yield "space before the colon", POST + b"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + NEXT
    yield "a CR in a value", POST + b"X: y\rContent-Length: %d\r\n\r\n" % len(NEXT) + NEXT
    yield "a NUL in a name", POST + b"Content-Length\0x: %d\r\n\r\n" % len(NEXT) + NEXT
    yield "no colon", POST + b"nonsense\r\nContent-Length: 0\r\n\r\n" + NEXT
    yield "a folded length", POST + b"X: y\r\n Content-Length: 5\r\nContent-Length : 0\r\n\r\n" + NEXT
    for size in (b"0x0", b"-1", b"10000000000000000", b"0;a=b\nX"):
        yield f"chunk {size}", POST + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\n\r\n" + NEXT
    yield "a chunk without its end", POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nAXX0\r\n\r\n" + NEXT
    yield "no host", b"GET /v1/tenants HTTP/1.1\r\n\r\n" + NEXT
    yield "two hosts", b"GET /v1/tenants HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n" + NEXT
    yield "HTTP/0.9", b"GET /v1/tenants\r\n\r\n" + NEXT
    yield "another version", b"GET /v1/tenants HTTP/1.1x\r\nHost: x\r\n\r\n" + NEXT
    yield "HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + NEXT
    yield "much of a header", b"GET /v1/tenants HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70000 + b"\r\n\r\n" + NEXT
    yield "many headers", b"GET /v1/tenants HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 9000 + b"\r\n" + NEXT
    yield "a long path", b"GET /v1/" + b"a" * 70000 + b" HTTP/1.1\r\nHost: x\r\n\r\n" + NEXT


def test_doubtful_requests_end_the_connection(m):
    """One refusal, and nothing behind it is read."""
    count = 0
    for what, data in doubtful():
        out = say(m, data)
        assert set(statuses(out)) <= {400, 413, 414, 431, 505} and b"smuggled" not in out, (what, out)
        count += 1
    assert count > 40
    assert m.get("status").status == 200


def test_a_body_is_no_request(m):
    """What is refused for another reason has its body read; what follows is the next request, and not a part of it."""
    after = b"GET /v1/tenants HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    for method, path in (("GET", "tenants"), ("DELETE", "nothing"), ("PATCH", "nothing"), ("PUT", "hosts/none/labels"), ("POST", "status"),
                         ("OPTIONS", "tenants"), ("TRACE", "status"), ("CONNECT", "x"), ("FOO", "tenants")):
        head = f"{method} /v1/{path} HTTP/1.1\r\nHost: x\r\n".encode()
        for data in (head + b"Content-Length: %d\r\n\r\n" % len(NEXT) + NEXT, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(NEXT)):
            out = say(m, data + after)
            assert len(statuses(out)) == 2 and statuses(out)[1] == 200 and b"smuggled" not in out, (method, out)


def test_an_answer_before_the_body_arrives(m):
    """Refused by its headers, and the body comes in its own packet: the client gets the answer, and may go on."""
    with unix(m) as s:
        for _ in range(3):
            s.sendall(b"PUT /v1/hosts/none/labels HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n")
            assert m.get("status").status == 200  # the manager has had the headers
            s.sendall(b'{"labels": {}}')
            answer = http.client.HTTPResponse(s, method="PUT")
            answer.begin()
            assert answer.status == 404 and json.loads(answer.read())["error"]["code"] == "not_found"


def test_pipelined_requests_are_answered_in_order(m):
    paths = ["tenants", "nothing", "hosts", "rights"] * 5
    out = say(m, b"".join(f"GET /v1/{p} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for p in paths) +
              b"GET /v1/hosts HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert statuses(out) == [404 if p == "nothing" else 200 for p in [*paths, "hosts"]]


def test_a_nul_is_no_end(m):
    """`%00` does not make another name of a name."""
    assert m.get("tenants/provider").status == 200
    for path in ("tenants/provider%00", "tenants/provider%00x", "tenants/%00provider"):
        assert m.get(path, checked=False).status == 404, path
    assert m.get("policies?tenant=provider%00").json["items"] == []
    for path in ("tenants/%ff", "tenants/%0a", "policies?tenant=%c0%af", "tenants/" + "a" * 2000):
        assert m.get(path, checked=False).status == 400, path


# ---- slow clients


def tls(m):
    context = ssl.create_default_context(cafile=f"{m.dir}/state/pki/ca.crt")
    return context.wrap_socket(socket.create_connection(("127.0.0.1", m.port), 20), server_hostname="127.0.0.1")


def trickle(sockets, ended):
    """A byte each, now and then, until every one of them is cut off."""
    while sockets and not ended.is_set():
        for s in list(sockets):
            try:
                s.sendall(b"a")
                s.setblocking(False)
                if s.recv(4096) == b"":
                    raise ConnectionResetError
            except (BlockingIOError, ssl.SSLWantReadError):
                s.setblocking(True)
            except OSError:
                sockets.remove(s)
        ended.wait(0.5)


def test_who_sends_a_byte_now_and_then_is_cut_off(m):
    """In the headers, in the body, in the handshake; others are answered all the while."""
    with contextlib.ExitStack() as stack:
        slow = []
        for _ in range(8):
            slow += [stack.enter_context(s) for s in (unix(m), unix(m), tls(m))]
            slow[-3].sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nX: ")
            slow[-2].sendall(POST + b"Content-Length: 1000000\r\n\r\n#")
            slow[-1].sendall(b"GET /v1/status HTTP/1.1\r\nX: ")
            slow.append(stack.enter_context(socket.create_connection(("127.0.0.1", m.port), 20)))
            slow[-1].sendall(b"\x16\x03\x01\xff\xff")  # a record that will be long
        count, ended = len(slow), threading.Event()
        thread = threading.Thread(target=trickle, args=(slow, ended), daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(ended.set)
        answered = 0
        end = time.monotonic() + 90
        while slow:
            assert m.get("status").status == 200
            assert time.monotonic() < end, f"{len(slow)} of {count} are still there\n{m.tail()}"
            answered += 1
            time.sleep(0.1)
    assert answered > 3
    assert int(re.search(r"^bulkhead_api_slow_total (\d+)", m.get("metrics").data.decode(), re.M)[1]) > 0


def test_who_does_not_read_holds_nobody_up(m):
    """Big answers and event streams that nobody takes: the manager keeps a bounded part of them and answers others."""
    text = "#" + "x" * (1 << 20)
    m.post("tenants", {"name": "big"})
    made = m.post("drafts", {"tenant": "big", "title": "big", "documents": text}).json["id"]
    before = m.control("memory")["rss_bytes"]
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            s = stack.enter_context(unix(m))
            s.sendall(f"GET /v1/drafts/{made} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 30)
            s = stack.enter_context(unix(m))
            s.sendall(b"GET /v1/events?after=0 HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
        for i in range(50):
            assert m.post("tenants", {"name": f"slow{i}"}).status == 201  # events for the streams
        assert m.get("status").status == 200
        grown = (m.control("memory")["rss_bytes"] - before) / 2 ** 20
        assert grown < 120, f"{grown:.0f} MiB"  # one answer of a MiB for each of twenty, and what lies in between
    assert m.request("DELETE", f"drafts/{made}").status == 204


# ---- TLS


def test_one_address_has_a_bounded_number_of_connections(m):
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(("127.0.0.1", m.port), 20, source_address=("127.0.3.1", 0)))
        with tls(m) as other:  # from another address
            other.sendall(b"GET /v1/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert statuses(other.recv(4096)) == [200]


@pytest.mark.skipif(not shutil.which("sslscan"), reason="needs sslscan")
def test_tls_as_a_scanner_sees_it(m):
    done = subprocess.run(["sslscan", "--xml=-", "--no-colour", "--show-certificate", "--iana-names", f"127.0.0.1:{m.port}"],
                          capture_output=True, text=True, timeout=300, check=True)
    seen = xml.etree.ElementTree.fromstring(done.stdout[done.stdout.index("<?xml"):]).find("ssltest")
    on = {(p.get("type"), p.get("version")) for p in seen.findall("protocol") if p.get("enabled") == "1"}
    assert on == {("tls", "1.2"), ("tls", "1.3")}
    assert seen.find("renegotiation").get("supported") == "0" or seen.find("renegotiation").get("secure") == "1"
    compression = seen.find("compression")  # absent when the scanner's own library has none
    assert compression is None or compression.get("supported") == "0"
    assert all(h.get("vulnerable") == "0" for h in seen.findall("heartbleed"))
    ciphers = [(c.get("sslversion"), c.get("cipher"), int(c.get("bits"))) for c in seen.findall("cipher")]
    assert {version for version, _, _ in ciphers} == {"TLSv1.2", "TLSv1.3"}
    for version, name, bits in ciphers:
        assert bits >= 128 and re.search("GCM|CHACHA20", name), name
        assert version == "TLSv1.3" or "ECDHE" in name, f"{name} has no forward secrecy"
    groups = [(g.get("name"), int(g.get("bits"))) for g in seen.findall("group")]
    assert groups and all(bits >= 112 for _, bits in groups), groups
    certificate = seen.find("certificates/certificate")
    key = certificate.find("pk")
    assert key.get("error") == "false" and (key.get("type") == "EC" or int(key.get("bits")) >= 2048)
    assert certificate.find("signature-algorithm").text.split()[-1] in ("ecdsa-with-SHA256", "ecdsa-with-SHA384", "ED25519")
    assert "/CN=Bulkhead CA" in certificate.find("issuer").text and certificate.find("subject").text == "/CN=api.bulkhead"


# ---- a kill


def test_a_kill_drops_no_session_and_no_event(own):
    """SIGKILL while people are logged in and acts come one after another: what was answered is there afterwards, told and recorded."""
    own.start()
    person = make(own, "stays", "provider-admin", at="*", enroll=True)
    done = []
    for turn in range(3):
        stop = threading.Event()

        def act(turn=turn, stop=stop):
            with contextlib.suppress(OSError, http.client.HTTPException):
                for i in range(100000):
                    name = f"t{turn}-{i}"
                    if own.post("tenants", {"name": name}, checked=False).status == 201:
                        done.append(name)
                    if stop.is_set():
                        return
        before = len(done)
        thread = threading.Thread(target=act)
        thread.start()
        own.wait(lambda before=before: len(done) >= before + 10, 30, "some acts")
        own.process.kill()
        own.process.wait(20)
        stop.set()
        thread.join()
        own.start()
        assert person.get("session").json["user"] == "stays"
        assert person.get("hosts").status == 200
    assert {t["name"] for t in own.get("tenants").json["items"]} >= set(done)

    own.wait(lambda: len(own.get("events?type=audit.tenant.create&limit=10000").json["items"]) >= len(done), 10,
             "the events of before the kill to be stored")
    text = own.get("audit:export").data.decode()
    assert all(f'"{name}"' in text or f"/{name}" in text for name in done), [n for n in done if n not in text]

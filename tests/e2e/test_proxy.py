# SPDX-License-Identifier: Apache-2.0
"""Behind a reverse proxy: whose a request is, for the record, for who guesses and for who opens too much; and who only pretends. The
proxy is 127.0.0.2, another one 127.0.0.9, and who comes from 127.0.0.3 is nobody's proxy."""
import http.client
import itertools
import json
import shutil
import socket
import ssl
import subprocess
import tempfile

import pytest
from test_api import PROGRAM, Answer, Manager, audited, own_fixture, pytestmark  # noqa: F401

PROXY, OTHER, STRANGER = "127.0.0.2", "127.0.0.9", "127.0.0.3"
TRUST = [PROXY, "127.0.0.8/31"]
CLIENT, SECOND = "198.51.100.7", "198.51.100.8"
PLACES = 128
XFF = "X-Forwarded-For"
NUMBERS = itertools.count()


def connect(m, source):
    context = ssl.create_default_context(cafile=f"{m.dir}/state/pki/ca.crt")
    return http.client.HTTPSConnection("127.0.0.1", m.port, context=context, timeout=60, source_address=(source, 0))


def ask(m, source, headers, method="GET", path="/v1/status", token=None):
    """headers: a list of pairs, so that one can come twice."""
    connection = connect(m, source)
    try:
        connection.putrequest(method, path)
        for name, value in [*headers, ("Authorization", f"Bearer {token or m.token}"), ("Content-Length", "0")]:
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def recorded_from(m, source, headers):
    """What the audit log says of where an act came from."""
    path = f"/v1/tenants/nobody-{next(NUMBERS)}"
    assert ask(m, source, headers, "DELETE", path).status == 404
    (entry,) = [e for e in audited(m, "&act=tenant.delete") if e["object"].endswith(path.rsplit("/", 1)[1])]
    return entry["from"]


@pytest.fixture(name="p", scope="module")
def proxied_fixture():
    folder = tempfile.mkdtemp(prefix="bh-proxy-")
    manager = Manager(folder, proxy={"trust": TRUST})
    try:
        yield manager.start()
    finally:
        manager.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("source, headers, address", [
    (PROXY, [(XFF, CLIENT)], CLIENT),
    (PROXY, [(XFF, f"{CLIENT}, {OTHER}")], CLIENT),
    (PROXY, [("x-forwarded-for", "2001:db8::9")], "2001:db8::9"),
    (PROXY, [(XFF, f"127.0.0.1, evil, {CLIENT}")], CLIENT),        # what the client wrote stands before it
    (PROXY, [(XFF, "127.0.0.1"), (XFF, CLIENT)], CLIENT),          # in a line of its own
    (PROXY, [(XFF, CLIENT), ("Forwarded", "for=192.0.2.1")], CLIENT),
    (PROXY, [("Forwarded", "for=192.0.2.1")], PROXY),              # not the header that it writes
    (PROXY, [("X-Real-IP", "192.0.2.1")], PROXY),
    (PROXY, [], PROXY),
    (PROXY, [(XFF, f"{CLIENT}, unknown")], PROXY),
    (PROXY, [(XFF, f"{CLIENT},")], PROXY),
    (PROXY, [(XFF, "<script>'\"%00")], PROXY),
    (PROXY, [(XFF, ", ".join([CLIENT] + [OTHER] * 40))], OTHER),   # further than anybody goes
    (PROXY, [(XFF, ", ".join(["192.0.2.1"] * 300 + [CLIENT]))], CLIENT),
    (PROXY, [(XFF, ", ".join(["192.0.2.1"] * 500 + [CLIENT]))], PROXY),
    (STRANGER, [(XFF, CLIENT)], STRANGER),
    (STRANGER, [(XFF, f"{CLIENT}, {PROXY}")], STRANGER),
    (STRANGER, [("Forwarded", f"for={CLIENT}")], STRANGER),
])
def test_whose_a_request_is(p, source, headers, address):
    assert recorded_from(p, source, headers) == address


def test_who_guesses_waits_and_nobody_else(p):
    def guess(source, headers):
        return ask(p, source, headers, token="wrong").status
    for i in range(40):  # with another lie each time
        if guess(PROXY, [(XFF, f"192.0.2.{i}, {CLIENT}")]) == 429:
            break
    else:
        pytest.fail("nobody had to wait")
    assert guess(PROXY, [(XFF, CLIENT)]) == 429 and guess(PROXY, [(XFF, SECOND)]) == 401
    assert guess(STRANGER, [(XFF, CLIENT)]) == 401 and ask(p, PROXY, [(XFF, SECOND)]).status == 200


def stream(m, client):
    connection = connect(m, PROXY)
    connection.request("GET", "/v1/events", headers={"Accept": "text/event-stream", "Authorization": f"Bearer {m.token}", XFF: client})
    return connection, connection.getresponse()


def test_one_client_does_not_take_the_places_of_others(p):
    """128 open requests of a client behind the proxy; the proxy itself has as many connections as it needs."""
    open_ones = []
    try:
        for _ in range(PLACES):
            open_ones.append(stream(p, SECOND))
            assert open_ones[-1][1].status == 200 and open_ones[-1][1].headers["X-Accel-Buffering"] == "no"
        refused = ask(p, PROXY, [(XFF, SECOND)])
        assert refused.status == 429 and "requests of this address" in refused.data.decode() and refused.headers["Retry-After"]
        assert ask(p, PROXY, [(XFF, f"192.0.2.1, {SECOND}")]).status == 429
        assert ask(p, PROXY, [(XFF, "198.51.100.99")]).status == 200
        assert ask(p, STRANGER, [(XFF, SECOND)]).status == 200
    finally:
        for connection, _ in open_ones:
            connection.close()
    p.wait(lambda: ask(p, PROXY, [(XFF, SECOND)]).status == 200, 30, "places that are free again")


def test_one_address_does_not_take_all_connections(p):
    """Of who is no proxy the connections are counted, as they are opened."""
    held = []
    try:
        for _ in range(PLACES):
            held.append(socket.create_connection(("127.0.0.1", p.port), 30, source_address=("127.0.0.4", 0)))

        def refused():
            with pytest.raises((OSError, http.client.HTTPException)):
                ask(p, "127.0.0.4", [])
            return True
        p.wait(refused, 10, "a connection too many")
        assert ask(p, STRANGER, []).status == 200
    finally:
        for s in held:
            s.close()
    p.wait(lambda: ask(p, "127.0.0.4", []).status == 200, 30, "places that are free again")


def test_forwarded(own):
    own.config["proxy"] = {"trust": TRUST, "header": "forwarded"}
    own.start()
    assert recorded_from(own, PROXY, [("Forwarded", f"for=192.0.2.1, for={CLIENT};proto=https")]) == CLIENT
    assert recorded_from(own, PROXY, [("Forwarded", f'for="{CLIENT}:99"'), ("Forwarded", f"for={OTHER}")]) == CLIENT
    assert recorded_from(own, PROXY, [("Forwarded", f'for="192.0.2.1, for={CLIENT}')]) == PROXY
    assert recorded_from(own, PROXY, [(XFF, CLIENT)]) == PROXY
    assert recorded_from(own, STRANGER, [("Forwarded", f"for={CLIENT}")]) == STRANGER


@pytest.mark.parametrize("trust, words", [("0.0.0.0/0", "everybody"), ("::/0", "everybody"), ("proxy.example", "no address or network"),
                                          ("10.0.0.1/8", "behind its prefix")])
def test_settings_that_are_none(tmp_path, trust, words):
    path = tmp_path / "manager.yaml"
    path.write_text(json.dumps({"proxy": {"trust": [trust]}}), encoding="utf-8")
    done = subprocess.run([PROGRAM, "-n", "-c", path], capture_output=True, text=True, check=False)
    assert done.returncode and words in done.stderr, done

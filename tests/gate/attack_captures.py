# SPDX-License-Identifier: Apache-2.0
"""What attacks.py sends through the gate: a function per attack. Packets have no checksums (-k none)."""
import ctypes
import ctypes.util
import gzip
import itertools
import random
import struct
import zlib

import make

ATTACKS = []
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
ETHERNET = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x08\0"
CLIENT, SERVER = make.address("192.168.1.10"), make.address("10.9.8.7")
# A record of each flow says nothing about the attack.
NO_FLOWS = tuple(word for i, kind in enumerate(("alert", "anomaly", "stats")) for word in ("--set", f"eve.types.{i}={kind}"))


class Attack:
    """rss_mb: what the program may hold. times: a packet may cost so many ordinary ones. counters: that there are so many
    at least. most: counters of work, which say what the time of a busy machine can't. events: anomalies that are told."""

    def __init__(self, packets=(), *, rss_mb=250, times=40, counters=None, most=None, events=(), alerts=None, options=(), raw=None, name=""):
        self.frames = raw if raw is not None else packets
        self.raw = raw
        self.packets = 1
        self.rss_mb, self.times = rss_mb, times
        self.counters, self.most, self.events, self.alerts = counters or {}, most or {}, set(events), alerts or {}
        self.options = list(options)
        self.name = name

    def write(self, folder):
        path = f"{folder}/{self.name}.pcap"
        with open(path, "wb") as file:
            if self.raw is not None:
                file.write(self.raw)
                return path
            file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
            count = 0
            for packet in self.frames:
                head = struct.pack("<IIII", 1700000000 + count // 100000, count % 100000 * 10, len(packet), len(packet))
                file.write(head + packet)
                count += 1
        self.packets = max(count, 1)
        return path


def attack(function):
    def made():
        found = function()
        found.name = function.__name__
        return found
    made.__name__ = function.__name__
    ATTACKS.append(made)
    return made


# ---- packets ----

def ip(payload, proto, *, src=CLIENT, dst=SERVER, ident=1, fragment=0, length=None):
    return ETHERNET + struct.pack("!BBHHHBBH", 0x45, 0, (20 + len(payload)) if length is None else length, ident, fragment, 64,
                                  proto, 0) + src + dst + payload


def tcp(sport, dport, seq, ack, flags, payload=b"", *, window=65000, urgent=0, **more):
    return ip(struct.pack("!HHIIBBHHH", sport, dport, seq & 0xffffffff, ack & 0xffffffff, 0x50, flags, window, 0, urgent) + payload,
              6, **more)


def udp(sport, dport, payload, **more):
    return ip(struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload, 17, **more)


class Talk:
    """One TCP connection; an acknowledgement after every 8 segments and at the end of what is said."""

    def __init__(self, dport, sport=40000, size=1400):
        self.ports, self.seq, self.size = (sport, dport), [1001, 5001], size
        self.packets = []
        self.segment(0, 1000, 0, SYN)
        self.segment(1, 5000, 1001, SYN | ACK)
        self.ack(0)

    def segment(self, side, seq, ack, flags, payload=b"", **more):
        ends = (CLIENT, SERVER) if side == 0 else (SERVER, CLIENT)
        self.packets.append(tcp(self.ports[side], self.ports[1 - side], seq, ack, flags, payload, src=ends[0], dst=ends[1], **more))

    def ack(self, side):
        self.segment(side, self.seq[side], self.seq[1 - side], ACK)

    def say(self, side, payload, size=None):
        size = size or self.size
        for i, at in enumerate(range(0, len(payload), size)):
            part = payload[at:at + size]
            self.segment(side, self.seq[side], self.seq[1 - side], PSH | ACK, part)
            self.seq[side] += len(part)
            if i % 8 == 7:
                self.ack(1 - side)
        self.ack(1 - side)
        return self

    def end(self):
        for side in (0, 1):
            self.segment(side, self.seq[side], self.seq[1 - side], FIN | ACK)
            self.seq[side] += 1
            self.ack(1 - side)
        return self.packets


def nothing():
    return Attack([udp(1, 2, b"")], name="nothing")


def ordinary():
    """What a packet of everyday traffic costs: pages over HTTP and questions to DNS."""
    packets = []
    for i in range(300):
        talk = Talk(80, sport=20000 + i)
        talk.say(0, b"GET /page/%d?q=word HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: Mozilla/5.0\r\n\r\n" % i)
        body = b"<html><body>%s</body></html>" % (b"some words of a page %d " % i * 200)
        talk.say(1, b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        packets += talk.end()
        packets.append(udp(30000 + i, 53, dns_head(1) + b"\3www\7example\3org\0\0\1\0\1"))
    return Attack(packets, name="ordinary")


# ---- HTTP ----

HTTP = "app-layer.protocols.http.libhtp.default-config"
ALL_OF_BODY = ("--set", f"{HTTP}.response-body-limit=0", "--set", f"{HTTP}.decompression-time-limit=0")

def respond(body, *headers, request=b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"):
    talk = Talk(80).say(0, request)
    head = b"".join(h + b"\r\n" for h in (b"HTTP/1.1 200 OK", *headers, b"Content-Length: %d" % len(body), b""))
    return talk.say(1, head + body).end()


@attack
def bomb_gzip():
    """1,030 to 1 is the most there is: below the ratio of a bomb, so the limits of body and time are what holds."""
    return Attack(respond(gzip.compress(b"\0" * (64 << 20), mtime=0), b"Content-Encoding: gzip"), times=2000)


@attack
def bomb_deflate():
    return Attack(respond(zlib.compress(b"A" * (64 << 20)), b"Content-Encoding: deflate"), times=2000)


@attack
def bomb_brotli():
    library = ctypes.util.find_library("brotlienc")
    if not library:
        return Attack([udp(1, 2, b"")])
    plain = b"\0" * (64 << 20)
    size = ctypes.c_size_t(1 << 20)
    out = ctypes.create_string_buffer(size.value)
    assert ctypes.CDLL(library).BrotliEncoderCompress(5, 22, 0, ctypes.c_size_t(len(plain)), plain, ctypes.byref(size), out)
    return Attack(respond(out.raw[:size.value], b"Content-Encoding: br"), times=20000, options=ALL_OF_BODY,
                  counters={"gate_http_bombs": 1}, events=["compression_bomb"])


@attack
def bomb_nested():
    body = gzip.compress(b"\0" * (32 << 20), mtime=0)
    for _ in range(3):
        body = gzip.compress(body, mtime=0)
    return Attack(respond(body, b"Content-Encoding: gzip, gzip, gzip, gzip"), times=2000, events=["too_many_encoding_layers"])


@attack
def bombs_pipelined():
    """One after the other, with the limit that bodies have without being told."""
    body = gzip.compress(b"\0" * (4 << 20), mtime=0)
    talk = Talk(80).say(0, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 200)
    for _ in range(200):
        talk.say(1, b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return Attack(talk.end(), times=1000)


@attack
def headers_10000():
    lines = b"".join(b"X-%d: %d\r\n" % (i, i) for i in range(10000))
    asks = Talk(80, sport=1).say(0, b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n").end()
    says = Talk(80, sport=2).say(0, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    says.say(1, b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: 0\r\n\r\n")
    return Attack(asks + says.end(), events=["request_too_many_headers", "response_too_many_headers"])


@attack
def headers_1000_often():
    """All differ: each is looked for among those before it."""
    headers = b"".join(b"x%d:\r\n" % i for i in range(1000))
    return Attack(Talk(80).say(0, (b"GET / HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n") * 500).end(), options=NO_FLOWS +
                  ("--set", "stream.reassembly.depth=16mb"))


@attack
def header_without_end():
    talk = Talk(80).say(0, b"GET / HTTP/1.1\r\nX: " + b"a" * 900000)
    return Attack(talk.end(), events=["request_field_too_long"])


@attack
def header_folded():
    talk = Talk(80).say(0, b"GET / HTTP/1.1\r\nHost: a\r\nX: y" + b"\r\n z" * 100000 + b"\r\n\r\n")
    return Attack(talk.end())


@attack
def pipelined_100000():
    talk = Talk(80).say(0, b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n" * 100000)
    return Attack(talk.end(), times=400, counters={"app_layer.tx_forced": 1}, events=["too_many_transactions"], options=NO_FLOWS +
                  ("--set", "stream.reassembly.depth=16mb"))


@attack
def requests_unanswered():
    """900 stay open while one more is sent byte by byte: a packet costs what is new in it, not what is open."""
    talk = Talk(80).say(0, b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(900)))
    talk.say(0, b"POST /evil HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n").say(0, b"b" * 20000, size=1)
    return Attack(talk.end(), alerts={1: 1}, options=NO_FLOWS, most={"detect.txs": 60000})


@attack
def chunks_of_one_byte():
    talk = Talk(80).say(0, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    talk.say(1, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1;x=y\r\na\r\n" * 90000 + b"0\r\n\r\n")
    return Attack(talk.end(), events=["response_chunk_extension"])


@attack
def segments_of_one_byte():
    talk = Talk(80).say(0, b"GET /evil HTTP/1.1\r\nHost: a\r\nCookie: %s\r\n\r\n" % (b"c" * 15000), size=1)
    return Attack(talk.end(), alerts={1: 1})


@attack
def uri_escapes():
    talk = Talk(80)
    for _ in range(20):
        talk.say(0, b"GET /" + b"%25" * 2500 + b"../" * 1000 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    return Attack(talk.end(), times=200)


@attack
def regex_slow():
    """Rules 3, 4 and 6 are exponential without a limit."""
    packets = []
    for i in range(300):
        talk = Talk(80, sport=1000 + i)
        talk.say(0, b"GET /" + b"a/" * 500 + b"? HTTP/1.1\r\nHost: a\r\n\r\n")
        packets += talk.say(1, b"a" * 5000 + b"b").end()
    return Attack(packets, times=400, counters={"gate_pcre_limit": 1})


# ---- HTTP/2 ----

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def h2(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def h2_talk(frames, **more):
    talk = Talk(80).say(0, PREFACE + h2(4, 0, 0)).say(1, h2(4, 0, 0) + h2(4, 1, 0))
    return Attack(talk.say(0, frames).end(), options=NO_FLOWS + ("--set", "stream.reassembly.depth=32mb"), **more)


@attack
def h2_rapid_reset():
    head = b"\x82\x84\x86\x41\x01a"
    return h2_talk(b"".join(h2(1, 5, i, head) + h2(3, 0, i, b"\0\0\0\x08") for i in range(1, 200001, 2)), times=400,
                   counters={"app_layer.tx.http2": 100000})


@attack
def h2_streams_open():
    return h2_talk(b"".join(h2(1, 4, i, b"\x82\x84\x86\x41\x01a") for i in range(1, 200001, 2)), times=400,
                   events=["too_many_streams"])


@attack
def h2_streams_held():
    """900 streams stay open while the first one has a frame in each packet."""
    talk = Talk(80).say(0, PREFACE + h2(4, 0, 0)).say(1, h2(4, 0, 0) + h2(4, 1, 0))
    talk.say(0, b"".join(h2(1, 4, i, b"\x82\x84\x86\x41\x01a") for i in range(1, 1801, 2)))
    talk.say(0, h2(0, 0, 1, b"d") * 10000, size=10)
    return Attack(talk.end(), options=NO_FLOWS, most={"detect.txs": 60000})


@attack
def h2_continuation_flood():
    block = b"\x40\x01x\x01y" * 200
    return h2_talk(h2(1, 0, 1, b"\x82") + h2(9, 0, 1, block) * 5000, times=200, events=["reassembly_limit_reached"])


@attack
def h2_hpack_bomb():
    """A field of 4,000 bytes in the table, named sixteen thousand times by one byte each."""
    field = b"\x40\x01x\x7f" + bytes([0x80 | 4000 - 127 & 0x7f, 4000 - 127 >> 7]) + b"y" * 4000
    frames = h2(1, 4, 1, b"\x82\x84\x86" + field)
    return h2_talk(frames + b"".join(h2(1, 4, i, b"\x82\x84\x86" + b"\xbe" * 16000) for i in range(3, 41, 2)), times=400,
                   events=["reassembly_limit_reached"])


@attack
def h2_hpack_bomb_in_every_packet():
    """A field of 60,000 bytes, twice in each of fifty streams of a packet."""
    field = b"\x40\x01x\x7f" + bytes([0x80 | 60000 - 127 & 0x7f, 0x80 | 60000 - 127 >> 7 & 0x7f, 60000 - 127 >> 14]) + b"y" * 60000
    talk = Talk(80).say(0, PREFACE + h2(4, 0, 0)).say(1, h2(4, 0, 0, struct.pack("!HI", 1, 65536)) + h2(4, 1, 0))
    talk.say(0, b"".join((h2(1, 0, 1, b"\x3f\xe1\xff\x03\x82\x84\x86" + field[:16000]), h2(9, 0, 1, field[16000:32000]),
                          h2(9, 0, 1, field[32000:48000]), h2(9, 4, 1, field[48000:]))))
    talk.say(0, b"".join(h2(1, 4, i, b"\x82\x84\x86\xbe\xbe") for i in range(3, 20001, 2)))
    return Attack(talk.end(), times=4000, options=NO_FLOWS + ("--set", "stream.reassembly.depth=32mb"),
                  counters={"gate_http2_headers_cut": 1000}, events=["reassembly_limit_reached"])


@attack
def h2_settings_and_pings():
    return h2_talk((h2(4, 0, 0, b"\0\3\0\0\0\1") + h2(6, 0, 0, b"12345678") + h2(8, 0, 0, b"\0\0\0\1")) * 30000, times=400)


@attack
def h2_lying_lengths():
    return h2_talk((h2(1, 0x2c, 1, b"\xff" + b"x" * 9) + b"\xff\xff\xff\1\4\0\0\0\3" + b"y" * 50) * 200)


# ---- floods ----

@attack
def flood_syn():
    """A million sources."""
    rng = random.Random(1)
    head = ETHERNET + struct.pack("!BBHHHBBH", 0x45, 0, 40, 1, 0, 64, 6, 0)
    tail = SERVER + struct.pack("!HHIIBBHHH", 1025, 80, 7, 0, 0x50, SYN, 1000, 0, 0)
    return Attack((head + struct.pack("!I", rng.getrandbits(32)) + tail for _ in range(1000000)), rss_mb=400, options=NO_FLOWS +
                  ("--set", "flow.entries=100000"), counters={"flow.evicted_new": 800000, "tcp.syn": 1000000})


@attack
def flood_same_hash():
    """What is alike under a sum or an exclusive or of its words: ports that change places, addresses that even out."""
    def packets():
        for a, b in itertools.product(range(256), range(256)):
            yield udp(a << 8 | b, b << 8 | a, b"x", src=bytes((10, a, b, a ^ b)), dst=bytes((10, a, b, a ^ b)))
    return Attack(packets(), options=NO_FLOWS, counters={"flow.udp": 65000}, rss_mb=400)


@attack
def flood_fragments():
    """First fragments that nothing follows."""
    return Attack((ip(b"x" * 1000, 17, ident=i & 0xffff, fragment=0x2000, src=struct.pack("!I", 0x0b000000 + i)) for i in range(150000)),
                  rss_mb=300, counters={"gate_defrag_evicted": 10000, "defrag.fragments": 150000}, events=[])


@attack
def flood_fragments_overlapping():
    """Fragments of 8 bytes over one another, in the least helpful order."""
    def packets():
        for ident in range(8):
            for i in range(8000):
                yield ip(bytes([i & 0xff]) * 16, 17, ident=ident, fragment=0x2000 | (i * 37 % 4000))
    return Attack(packets(), times=100, counters={"gate_defrag_overlaps": 1000}, options=NO_FLOWS)


@attack
def flood_fragments_too_large():
    return Attack((ip(b"x" * 1000, 1, ident=i & 0xffff, fragment=8191) for i in range(20000)), options=NO_FLOWS,
                  counters={"gate_defrag_too_large": 1000})


@attack
def flood_thresholds():
    """Rules 7 and 11 keep something for every pair of addresses."""
    rng = random.Random(2)
    return Attack((udp(1, 2, b"x", src=rng.randbytes(4), dst=rng.randbytes(4)) for _ in range(200000)), rss_mb=400,
                  options=NO_FLOWS + ("--set", "flow.entries=10000"), counters={"flow.evicted_new": 1})


def fnv1a_meeting(count):
    """Values that FNV-1a puts into one of 65,536 places."""
    found = []
    for i in itertools.count():
        value, h = b"v%d" % i, 0xcbf29ce484222325
        for byte in value:
            h = (h ^ byte) * 0x100000001b3 & 0xffffffffffffffff
        if not (h ^ h >> 32) & 0xff:
            found.append(value)
            if len(found) == count:
                return found


@attack
def flood_dataset():
    """What a rule keeps of names fills its 1 MB; values that would meet under a hash without a key."""
    values = fnv1a_meeting(4000) + [b"v%011d" % i * 5 for i in range(30000)]
    query = b"\0\0\1\0\1"
    return Attack((udp(5000 + i % 50000, 53, dns_head(1) + bytes([len(v)]) + v + query) for i, v in enumerate(values)),
                  counters={"gate_dataset_full": 1}, options=NO_FLOWS)


@attack
def flood_ftp_connections():
    """Connections to come that never come."""
    talk = Talk(21).say(1, b"220 hi\r\n")
    for i in range(20000):
        talk.say(0, b"PASV\r\n").say(1, b"227 Entering Passive Mode (10,9,8,7,%d,%d)\r\n" % (1 + i // 256 % 250, i % 256))
    return Attack(talk.end(), times=80)


# ---- streams ----

@attack
def stream_overlaps():
    talk = Talk(4444)
    at = talk.seq[0]
    for i in range(20000):
        talk.segment(0, at + i * 3, talk.seq[1], PSH | ACK, bytes([i & 0xff]) * 700)
    return Attack(talk.packets, counters={"tcp.overlap_diff_data": 1000}, times=100)


@attack
def stream_out_of_order():
    """One byte, one hole, one byte ..., backwards."""
    talk = Talk(4444)
    for i in range(30000, 0, -1):
        talk.segment(0, talk.seq[0] + i * 2, talk.seq[1], PSH | ACK, b"x")
    return Attack(talk.packets, counters={"tcp.segments_full": 1}, times=100)


@attack
def stream_out_of_order_many():
    """The same on many connections, each with as much as its window allows."""
    packets = []
    for i in range(3000):
        talk = Talk(4444, sport=1000 + i)
        for k in range(40, 0, -1):
            talk.segment(0, talk.seq[0] + k * 1500, talk.seq[1], PSH | ACK, b"y" * 1000)
        packets += talk.packets
    return Attack(packets, rss_mb=400, options=NO_FLOWS + ("--set", "stream.reassembly.memcap=32mb"), counters={"tcp.segment_memcap_drop": 1},
                  times=100)


@attack
def stream_windows():
    talk = Talk(4444)
    for i in range(20000):
        talk.segment(0, talk.seq[0] + 1000000 * (i % 4000), talk.seq[1], PSH | ACK, b"beyond", window=0)
        talk.segment(1, talk.seq[1], talk.seq[0] + 70000 * (i % 60000), ACK, window=i & 1)
    return Attack(talk.packets, counters={"tcp.invalid": 1000}, options=NO_FLOWS)


@attack
def stream_resets():
    """RST with sequence numbers that can't be, and then what they were to hide."""
    talk = Talk(4444)
    for i in range(20000):
        talk.segment(i & 1, talk.seq[i & 1] + 100000 + i * 1000, 0, RST)
    return Attack(talk.say(0, b"ATTACK").end(), alerts={5: 1}, counters={"tcp.invalid": 20000})


@attack
def stream_fin_in_the_middle():
    talk = Talk(4444)
    for i in range(20000):
        talk.segment(0, talk.seq[0] + 6 + i % 5000, talk.seq[1], FIN | ACK)
    return Attack(talk.say(0, b"ATTACK").packets, alerts={5: 1})


@attack
def stream_urgent():
    talk = Talk(4444)
    for _ in range(20000):
        talk.segment(0, talk.seq[0], talk.seq[1], PSH | ACK | URG, b"ab", urgent=1)
        talk.seq[0] += 2
    return Attack(talk.end(), counters={"tcp.urgent": 10000})


@attack
def stream_synacks():
    packets = [tcp(1, 80, 1000, 0, SYN)]
    for i in range(50000):
        packets.append(tcp(80, 1, i * 7, 1001, SYN | ACK, src=SERVER, dst=CLIENT))
    return Attack(packets, options=NO_FLOWS, counters={"tcp.synack": 50000})


# ---- other protocols ----

def dns_head(questions, answers=0, flags=0x0100):
    return struct.pack("!HHHHHH", 7, flags, questions, answers, 0, 0)


@attack
def dns_loops():
    pointers = b"".join(struct.pack("!H", 0xc000 | 12 + 2 * i) for i in range(1, 200))
    many = dns_head(0, 5000, 0x8180) + b"\1a\0\0\1\0\1\0\0\0\0\0\0"
    names = [dns_head(1) + b"\xc0\x0c\0\1\0\1", dns_head(1) + pointers + b"\xc0\x0c\0\1\0\1", dns_head(60000) + b"\xc0\x0c" * 600,
             dns_head(1) + b"\1x" * 400 + b"\0\0\1\0\1", many + b"\xc0\x0c\0\1\0\1\0\0\0\0\0\0" * 100]
    def packets():
        for i in range(5000):
            yield udp(1000 + i, 53, dns_head(1) + b"\1a\0\0\1\0\1")
            yield udp(1000 + i, 53, names[i % len(names)])
    return Attack(packets(), events=["too_many_labels"], times=200)


@attack
def tls_hello_in_pieces():
    """Records of one byte in segments of one byte; and a handshake message that says it has 16 MB."""
    name = b"\0\0\0\x0e\0\x0c\0\0\x09" + b"a.example"
    hello = b"\3\3" + b"\0" * 32 + b"\0" + b"\0\2\0\x2f" + b"\1\0" + struct.pack("!H", len(name)) + name
    message = b"\1" + struct.pack("!I", len(hello))[1:] + hello
    packets = []
    for i in range(100):
        records = b"".join(b"\x16\3\1\0\1" + bytes([byte]) for byte in message)
        packets += Talk(443, sport=1000 + i).say(0, records, size=1).end()
    talk = Talk(443, sport=9).say(0, b"\x16\3\1\x40\0\1\xff\xff\xff" + (b"\0" * 16380 + b"\x16\3\1\x40\0" + b"\0\0\0\0") * 50)
    return Attack(packets + talk.end())


@attack
def smtp_without_line_ends():
    talk = Talk(25).say(1, b"220 hi ESMTP\r\n").say(0, b"EHLO " + b"a" * 2000000)
    talk.say(1, b"2" * 500000)
    return Attack(talk.end(), events=["max_command_line_len_exceeded"], options=("--set", "stream.reassembly.depth=8mb"))


def mail(text, port=25):
    talk = Talk(port).say(1, b"220 hi ESMTP\r\n").say(0, b"EHLO a\r\n").say(1, b"250 ok\r\n").say(0, b"MAIL FROM:<a@b>\r\n")
    talk.say(1, b"250 ok\r\n").say(0, b"RCPT TO:<c@d>\r\n").say(1, b"250 ok\r\n").say(0, b"DATA\r\n").say(1, b"354 go\r\n")
    return talk.say(0, text + b"\r\n.\r\n").say(1, b"250 ok\r\n").end()


@attack
def mime_nested_1000():
    text = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i) for i in range(1000))
    return Attack(mail(b"Subject: s\r\n" + text + b"Content-Disposition: attachment; filename=x.exe\r\n\r\nx\r\n"), times=200)


@attack
def mime_parts_and_headers():
    part = b"--b\r\n" + b"X-Y: z\r\n" * 50 + b"Content-Disposition: attachment; filename=" + b"f" * 900 + b"\r\n\r\nhttp://a.b/\r\n"
    return Attack(mail(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + part * 600), times=200)


@attack
def mail_of_250_files():
    """Searched once, not again with each packet that adds a line to the mail."""
    talk = Talk(25).say(1, b"220 mx ESMTP\r\n")
    for line in (b"EHLO a\r\n", b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n", b"DATA\r\n"):
        talk.say(0, line).say(1, b"354 go\r\n" if line == b"DATA\r\n" else b"250 ok\r\n")
    part = (b"--bb\r\nContent-Type: application/x\r\nContent-Disposition: attachment; filename=%d.bin\r\nContent-Transfer-Encoding: base64"
            b"\r\n\r\n" + b"A" * 8000 + b"\r\n\r\n")
    talk.say(0, b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n" + b"".join(part % i for i in range(250)) +
             b"--bb\r\n\r\n").say(0, b"word word\r\n" * 4000, size=11)
    return Attack(talk.end(), options=NO_FLOWS + ("--set", "stream.reassembly.depth=16mb"), counters={"app_layer.files": 250},
                  most={"detect.searched_bytes": 20 << 20})


@attack
def dns_chains():
    """Names of pointers to pointers, in thousands of records."""
    chain = b"".join(struct.pack("!H", 0xc000 | 23 + 2 * i) for i in range(249))
    record = struct.pack("!HHHIHH", 0xc000 | 23 + 2 * 249, 5, 1, 5, 2, 0xc000 | 23 + 2 * 249)
    data = dns_head(0, 4001, 0x8180) + b"\0" + struct.pack("!HHIH", 16, 1, 5, 500) + b"\0\0" + chain + record * 4000
    talk = Talk(53).say(0, b"\0\x1d" + dns_head(1) + b"\3www\7example\0\0\1\0\1").say(1, (struct.pack("!H", len(data)) + data) * 14)
    return Attack(talk.end(), times=400, options=NO_FLOWS, events=["too_many_labels"])


@attack
def smb_lying_lengths():
    packets = []
    for i in range(200):
        head = b"\xfeSMB" + struct.pack("<HHIHHII", 64, 0, 0, i % 19, 0, 0, 0xffffffff if i % 3 else 1) + b"\0" * 40
        body = struct.pack("<HHIIHH", 36, 0xffff, 0xffffffff, 0xffffffff, 0xffff, 0xffff) + b"\xff" * 64
        record = b"\0" + (b"\xff\xff\xff" if i % 2 else struct.pack("!I", len(head + body))[1:]) + head + body
        packets += Talk(445, sport=1000 + i).say(0, record * 5).say(1, record * 5).end()
    return Attack(packets)


@attack
def ssh_banner_without_end():
    return Attack(Talk(22).say(0, b"SSH-2.0-" + b"x" * 900000).say(1, b"SSH-2.0-y" * 50000).end(), events=["long_banner"])


@attack
def logins_lying_lengths():
    packets = []
    for i in range(200):
        mysql = Talk(3306, sport=1000 + i).say(1, b"\xff\xff\xff\0\x0a5.5\0" + b"\xff" * 200)
        packets += mysql.say(0, b"\xff\xff\xff\1" + b"\xff" * 900).end()
        pgsql = Talk(5432, sport=1000 + i).say(0, b"\x7f\xff\xff\xff\0\3\0\0user\0" + b"a" * 900)
        packets += pgsql.say(1, b"R\xff\xff\xff\xff" * 99).end()
    return Attack(packets)


def frame(data, head=0xc2):
    return struct.pack("!BBQ", head, 127, len(data)) + data


@attack
def websocket_bombs():
    """Compressed messages, each a thousand times as long as it looks; then one of many fragments, and lengths that lie."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = squeeze.compress(b"\0" * (8 << 20)) + squeeze.flush(zlib.Z_SYNC_FLUSH)
    talk = Talk(80).say(0, b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
    talk.say(1, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
    talk.say(1, frame(bomb) * 100 + frame(b"x", head=0x42) + frame(b"x" * 300, head=0) * 2000)
    talk.say(1, struct.pack("!BBQ", 0x82, 127, 1 << 62) + b"y" * 500000)
    return Attack(talk.end(), times=2000, events=["reassembly_limit_reached", "skip_end_of_payload"],
                  options=("--set", "stream.reassembly.depth=16mb"))


@attack
def http_ranges():
    """Parts of files that are never whole: of many files, and a great many of one."""
    packets = []
    for i in range(3000):
        name, part = i if i < 2000 else 0, (i * 9, i * 9 + 4)
        talk = Talk(80, sport=1000 + i).say(0, b"GET /%d.iso HTTP/1.1\r\nHost: a\r\nRange: bytes=%d-%d\r\n\r\n" % (name, *part))
        talk.say(1, b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %d-%d/1000000000\r\nContent-Length: 5\r\n\r\n"
                 b"hello" % part)
        packets += talk.end()
    return Attack(packets, times=100, options=NO_FLOWS, counters={"gate_range_refused": 900})


@attack
def dns_over_tcp_pipelined():
    message = dns_head(1) + b"\3www\7example\3org\0\0\1\0\1"
    return Attack(Talk(53).say(0, (struct.pack("!H", len(message)) + message) * 50000).end(), times=400,
                  counters={"app_layer.tx.dns_tcp": 50000}, options=NO_FLOWS + ("--set", "stream.reassembly.depth=16mb"))


@attack
def dns_names_far():
    """A name of 250 bytes, to which thousands of records point; and a text of 32,000 strings."""
    name = b"".join(bytes([61]) + b"\1" * 61 for _ in range(4)) + b"\0"
    point = b"\xc0\x0c" + struct.pack("!HHI", 1, 1, 5) + b"\0\4\1\2\3\4"
    text = b"\xc0\x0c" + struct.pack("!HHIH", 16, 1, 5, 60000) + b"\1t" * 30000
    many = dns_head(1, 4000, 0x8180) + name + b"\0\1\0\1" + point * 4000
    text += b"\xc0\x0c" + struct.pack("!HHIH", 10, 1, 5, 5000) + b"\1" * 5000
    long = dns_head(1, 2, 0x8180) + name + b"\0\1\0\1" + text
    talk = Talk(53).say(0, struct.pack("!H", 12 + len(name) + 4) + dns_head(1) + name + b"\0\1\0\1")
    talk.say(1, b"".join(struct.pack("!H", len(m)) + m for m in (many, long)) * 10)
    return Attack(talk.end(), times=400, options=("--set", "eve.types.0=dns", "--set", "eve.types.1=stats",
                                                          "--set", "stream.reassembly.depth=16mb"),
                  counters={"app_layer.tx.dns_tcp": 20}, most={"gate_eve_too_large": 0})


@attack
def quic_initials():
    """Each has a connection of its own, so keys are derived for each, and none opens."""
    rng = random.Random(4)
    def packets():
        for i in range(20000):
            number = rng.randbytes(8)
            yield udp(1024 + i, 443, b"\xc3\0\0\0\1\x08" + number + b"\0\0\x44\x9e" + rng.randbytes(1182))
    return Attack(packets(), times=400, options=NO_FLOWS, counters={"app_layer.tx.quic": 20000}, events=["failed_decrypt"])


@attack
def certificates_of_noise():
    """Chains as long as they may be, of what looks like DER: constructed ones in one another, lengths that lie."""
    rng, packets = random.Random(5), []
    for i in range(200):
        der = b"".join(b"\x30\x82" + struct.pack("!H", 4000 - 4 * k) for k in range(900)) + rng.randbytes(400)
        certificate = struct.pack("!I", len(der))[1:] + der
        chain = certificate * (60000 // len(certificate))
        chain = struct.pack("!I", len(chain))[1:] + chain
        message = b"\x0b" + struct.pack("!I", len(chain))[1:] + chain
        records = b"".join(b"\x16\3\3" + struct.pack("!H", len(message[at:at + 16000])) + message[at:at + 16000]
                           for at in range(0, len(message), 16000))
        hello, answer = b"\3\3" + b"\0" * 33 + b"\0\2\0\x2f\1\0", b"\3\3" + b"\0" * 33 + b"\0\x2f\0"
        talk = Talk(443, sport=1000 + i).say(0, b"\x16\3\1\0" + bytes([len(hello) + 4, 1, 0, 0, len(hello)]) + hello)
        talk.say(1, b"\x16\3\3\0" + bytes([len(answer) + 4, 2, 0, 0, len(answer)]) + answer + records)
        packets += talk.end()
    return Attack(packets, times=200, events=["certificate_invalid_length"])


@attack
def smb_opens():
    """Requests to open files that nobody answers, and trees."""
    talk = Talk(445)
    for i in range(4000):
        head = b"\xfeSMB" + struct.pack("<HHIHHIIQIIQ16s", 64, 0, 0, 5 if i % 2 else 3, 1, 0, 0, i, 0, i, 1, b"")
        name = ("share\\file-%d.exe" % i).encode("utf-16-le")
        body = (struct.pack("<HBBIQQIIIIIHHII", 57, 0, 0, 2, 0, 0, 1, 0, 7, 1, 0, 120, len(name), 0, 0) if i % 2
                else struct.pack("<HHHH", 9, 0, 72, len(name))) + name
        talk.say(0, struct.pack("!I", len(head + body)) + head + body)
    return Attack(talk.end(), times=100, options=NO_FLOWS, counters={"gate_app_txs_forced": 1}, events=["too_many_transactions"])


@attack
def dcerpc_fragments():
    """A call whose fragments never end, on many connections."""
    packets = []
    for i in range(20):
        talk = Talk(135, sport=1000 + i)
        body = struct.pack("<HHIBBBB", 5840, 5840, 0, 1, 0, 0, 0) + struct.pack("<HBB", 0, 1, 0) + b"\1" * 20 + b"\2" * 20
        talk.say(0, struct.pack("<BBBBIHHI", 5, 0, 11, 3, 0x10, 16 + len(body), 0, 1) + body)
        part = struct.pack("<BBBBIHHI", 5, 0, 0, 0, 0x10, 5824, 0, 2) + struct.pack("<IHH", 0xffffffff, 0, 7) + b"s" * 5800
        packets += talk.say(0, part * 400).end()
    return Attack(packets, times=100, counters={"app_layer.tx.dcerpc_tcp": 20}, options=NO_FLOWS + ("--set", "stream.reassembly.depth=16mb"))


@attack
def sip_and_snmp_lying_lengths():
    def packets():
        for i in range(3000):
            yield udp(1000 + i, 5060, b"INVITE sip:a@b SIP/2.0\r\nContent-Length: 99999999999999\r\n" + b"Via: x\r\n" * 150 + b"\r\n")
            yield udp(1000 + i, 161, b"\x30\x84\xff\xff\xff\xff\2\1\1\4\x84\x7f\xff\xff\xff" + b"\x30\x80" * 300)
            yield udp(1000 + i, 67, b"\1\1\6\0" + b"\0" * 232 + b"\x63\x82\x53\x63" + b"\x37\xff" * 300)
    return Attack(packets(), options=NO_FLOWS, counters={"app_layer.tx.sip_udp": 3000, "app_layer.tx.dhcp": 3000})


@attack
def ip6_extensions():
    """As many headers as fit, in all orders; and a fragment that says it is one of nothing."""
    rng = random.Random(6)
    def packets():
        for i in range(5000):
            kinds = [rng.choice((0, 43, 60, 44, 51, 135)) for _ in range(150)] + [17]
            chain = b"".join(bytes([after, 0]) + struct.pack("!HI", i, i) for after in kinds[1:])
            data = chain + struct.pack("!HHHH", 1, 2, 8, 0)
            yield ETHERNET[:12] + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(data), kinds[0], 64) + b"\xfd" + b"\0" * 30 + b"\1" + data
    return Attack(packets(), options=NO_FLOWS, times=100, counters={"decoder.invalid": 1000, "decoder.events": 10000})


@attack
def tunnels_deep():
    inner = udp(1, 2, b"x")[14:]
    for _ in range(60):
        inner = ip(struct.pack("!HH", 0, 0x0800) + inner, 47)[14:]
    vlans = ETHERNET[:12] + b"\x81\0\0\1" * 300 + b"\x08\0" + udp(1, 2, b"x")[14:]
    return Attack([ETHERNET + inner, vlans] * 5000, counters={"gate_decode_too_deep": 1}, options=NO_FLOWS)


# ---- files that lie ----

def pcap_head(link=1):
    return struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, link)


def record(data, caplen=None, size=None):
    return struct.pack("<IIII", 1, 0, len(data) if caplen is None else caplen, len(data) if size is None else size) + data


@attack
def file_cut_off():
    whole = pcap_head() + record(udp(1, 2, b"ATTACK")) * 50
    return Attack(raw=whole[:-7], counters={"decoder.udp": 49, "capture.bad_records": 1})


@attack
def file_lying_caplen():
    return Attack(raw=pcap_head() + record(udp(1, 2, b"x")) * 3 + record(udp(1, 2, b"x"), caplen=0xfffffff0) + record(udp(1, 2, b"x")) * 3,
                  counters={"decoder.udp": 3, "capture.bad_records": 1})


@attack
def file_cut_by_snaplen():
    data = tcp(1, 2, 3, 4, ACK, b"x" * 500)
    return Attack(raw=pcap_head() + b"".join(record(data[:n], size=len(data)) for n in range(len(data))),
                  counters={"decoder.truncated": 100})


@attack
def file_pcapng_lying():
    section = struct.pack("<IIIHHqI", 0x0a0d0d0a, 28, 0x1a2b3c4d, 1, 0, -1, 28)
    interface = struct.pack("<IIHHII", 1, 20, 1, 0, 0, 20)
    data = udp(1, 2, b"x").ljust(44, b"\0")
    packet = struct.pack("<IIIIIII", 6, 32 + 44, 0, 0, 0, 43, 43) + data + struct.pack("<I", 32 + 44)
    lying = struct.pack("<IIIIIII", 6, 32 + 44, 0, 0, 0, 0xffffffff, 43) + data + struct.pack("<I", 32 + 44)
    elsewhere = struct.pack("<IIIIIII", 6, 32 + 44, 77, 0, 0, 43, 43) + data + struct.pack("<I", 32 + 44)
    return Attack(raw=section + interface + packet * 3 + elsewhere + lying + packet * 3 + packet[:-20], counters={"decoder.udp": 3,
                  "capture.bad_records": 1})


@attack
def file_of_noise():
    rng, types = random.Random(3), (b"\x08\0", b"\x86\xdd", b"\x81\0", b"\x88\x64", b"\x88\x47")
    frames = (ETHERNET[:12] + rng.choice(types) + rng.randbytes(rng.randrange(200)) for _ in range(20000))
    return Attack(raw=pcap_head() + b"".join(map(record, frames)), counters={"decoder.events": 1000}, options=NO_FLOWS)


@attack
def lengths_lie():
    packets = []
    for i in range(3000):
        packets.append(udp(i, 2, b"x" * 40, length=i % 65536))
        packets.append(ip(struct.pack("!HHHH", 1, 2, i, 0) + b"y" * 30, 17))
        packets.append(ip(struct.pack("!HHIIBBHHH", 1, 2, 3, 4, (i % 16) << 4, i & 255, 5, 0, i) + b"\2\xff\3\0\1" * 4, 6))
    return Attack(packets, counters={"decoder.invalid": 1000}, options=NO_FLOWS)

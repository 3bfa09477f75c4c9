# SPDX-License-Identifier: Apache-2.0
"""Captures of our own cases, made when they are needed: a function per case (case.json names it as `make`)."""
import gzip
import struct

CLIENT, SERVER = "192.168.1.10", "10.9.8.7"
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def address(text):
    return bytes(int(part) for part in text.split("."))


def ip(src, dst, proto, payload, *, ident=1, fragment=0, ttl=64, tos=0, options=b""):
    size = 20 + len(options)
    head = struct.pack("!BBHHHBBH4s4s", 0x40 | size // 4, tos, size + len(payload), ident, fragment, ttl, proto, 0,
                       address(src), address(dst)) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def transport_checksum(src, dst, proto, segment):
    return checksum(address(src) + address(dst) + struct.pack("!BBH", 0, proto, len(segment)) + segment)


def tcp(src, dst, sport, dport, seq, ack, flags, payload=b"", *, urgent=0, options=b"", ttl=64, window=65000):
    def segment(check):
        return struct.pack("!HHIIBBHHH", sport, dport, seq & 0xffffffff, ack & 0xffffffff, (20 + len(options)) // 4 << 4,
                           flags, window, check, urgent) + options + payload
    return ip(src, dst, 6, segment(transport_checksum(src, dst, 6, segment(0))), ttl=ttl)


def udp(src, dst, sport, dport, payload):
    def datagram(check):
        return struct.pack("!HHHH", sport, dport, 8 + len(payload), check) + payload
    return ip(src, dst, 17, datagram(transport_checksum(src, dst, 17, datagram(0)) or 0xffff))


def icmp(src, dst, kind, code, rest):
    body = struct.pack("!BBH", kind, code, 0) + rest
    return ip(src, dst, 1, body[:2] + struct.pack("!H", checksum(body)) + body[4:])


def ip6(proto, payload):
    """From ::1:0:0:1 to ::1:0:0:2."""
    return struct.pack("!IHBB", 6 << 28, len(payload), proto, 64) + bytes(9) + b"\1" + bytes(5) + b"\1" + bytes(9) + b"\1" + \
        bytes(5) + b"\2" + payload


def icmp6(kind, code, rest):
    body = struct.pack("!BBH", kind, code, 0) + rest
    pseudo = ip6(58, b"")[8:40] + struct.pack("!II", len(body), 58)
    return ip6(58, body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:])


def frame(packet):
    kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\0"
    return b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01" + kind + packet


def pcap(packets, *, snaplen=65535, cut=None, link=frame):
    out = struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, snaplen, 1)
    for i, packet in enumerate(packets):
        data = link(packet)
        seen = data[:cut] if cut else data
        out += struct.pack("<IIII", 1700000000 + i // 100, i % 100 * 10000, len(seen), len(data)) + seen
    return out


class Connection:
    """Packets of one TCP connection in the order in which they were sent."""

    def __init__(self, sport=40000, dport=80):
        self.ends = [(CLIENT, sport), (SERVER, dport)]
        self.seq = [1000, 5000]
        self.packets = []

    def raw(self, side, seq, ack, flags, payload=b"", **more):
        (src, sport), (dst, dport) = self.ends[side], self.ends[1 - side]
        self.packets.append(tcp(src, dst, sport, dport, seq, ack, flags, payload, **more))

    def open(self):
        self.raw(0, 1000, 0, SYN)
        self.raw(1, 5000, 1001, SYN | ACK)
        self.seq = [1001, 5001]
        self.ack(0)
        return self

    def ack(self, side):
        self.raw(side, self.seq[side], self.seq[1 - side], ACK)

    def send(self, side, payload, size=1400):
        """In segments of `size`, each acknowledged."""
        for at in range(0, len(payload), size):
            part = payload[at:at + size]
            self.raw(side, self.seq[side], self.seq[1 - side], PSH | ACK, part)
            self.seq[side] += len(part)
            self.ack(1 - side)
        return self

    def close(self):
        for side in (0, 1):
            self.raw(side, self.seq[side], self.seq[1 - side], FIN | ACK)
            self.seq[side] += 1
            self.ack(1 - side)
        return self


def answer(body, *headers):
    lines = ["HTTP/1.1 200 OK", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


# ---- cases ----

def http_pipelined():
    requests = b"".join(b"GET /evil/%d HTTP/1.1\r\nHost: a.example\r\n\r\n" % i for i in range(3))
    c = Connection().open().send(0, requests)
    for _ in range(3):
        c.send(1, answer(b"ok"))
    return pcap(c.close().packets)


def stream_split():
    c = Connection(dport=4444).open()
    c.send(0, b"xxxxSPLIT-OVER-SEGMENTSxxxx", size=3)
    return pcap(c.close().packets)


def rst_bad_sequence():
    c = Connection(dport=4444).open()
    c.raw(1, c.seq[1] + 100000, c.seq[0], RST)
    c.send(0, b"AFTER-THE-RESET")
    return pcap(c.close().packets)


def overlap_other_data():
    """The second copy of bytes that were not acknowledged yet says something else: BSD keeps the first."""
    c = Connection(dport=4444).open()
    at = c.seq[0]
    c.raw(0, at + 6, c.seq[1], PSH | ACK, b"FIRST-COPY")
    c.raw(0, at + 6, c.seq[1], PSH | ACK, b"OTHER-COPY")
    c.raw(0, at, c.seq[1], PSH | ACK, b"begin-")
    c.seq[0] += 16
    c.ack(1)
    return pcap(c.close().packets)


def fin_in_the_middle():
    """Data behind a FIN that came too early is still data until the FIN's place is reached."""
    c = Connection(dport=4444).open()
    at = c.seq[0]
    c.raw(0, at + 9, c.seq[1], FIN | ACK)
    c.raw(0, at, c.seq[1], PSH | ACK, b"LATE-DATA")
    c.seq[0] += 10
    c.ack(1)
    return pcap(c.packets)


def gzip_chunked():
    body = gzip.compress(b"<html>" + b"a" * 3000 + b"HIDDEN-IN-GZIP</html>", mtime=0)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 40]), body[i:i + 40]) for i in range(0, len(body), 40)) + b"0\r\n\r\n"
    c = Connection().open().send(0, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
    c.send(1, b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
    return pcap(c.close().packets)


def two_downloads():
    """Two files at once, in turns."""
    links = [Connection(40001).open(), Connection(40002).open()]
    packets = links[0].packets + links[1].packets
    for link, name in zip(links, (b"one", b"two")):
        link.packets = []
        link.send(0, b"GET /%s HTTP/1.1\r\nHost: a.example\r\n\r\n" % name)
        link.send(1, b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3000\r\n\r\n")
        packets += link.packets
    for _ in range(3):
        for link, byte in zip(links, b"12"):
            link.packets = []
            packets += link.send(1, bytes([byte]) * 1000).packets
    for link in links:
        link.packets = []
        packets += link.close().packets
    return pcap(packets)


def dns_query():
    name = b"".join(bytes([len(part)]) + part for part in (b"evil", b"example", b"com")) + b"\0"
    query = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + name + struct.pack("!HH", 1, 1)
    reply = struct.pack("!HHHHHH", 7, 0x8180, 1, 1, 0, 0) + name + struct.pack("!HH", 1, 1) + \
        b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + address("9.9.9.9")
    return pcap([udp(CLIENT, SERVER, 5353, 53, query), udp(SERVER, CLIENT, 53, 5353, reply)])


def tagged(vlans, packet):
    tags = b"".join(struct.pack("!HH", 0x8100, vlan) for vlan in vlans)
    return frame(packet)[:12] + tags + b"\x08\0" + packet


def in_vxlan(vni, inner):
    return frame(udp("172.31.0.1", "172.31.0.2", 50000, 4789, struct.pack("!II", 8 << 24, vni << 8) + inner))


def in_geneve(vni, inner):
    return frame(udp("172.31.0.1", "172.31.0.2", 50000, 6081, struct.pack("!HHI", 0, 0x6558, vni << 8) + inner))


def rule_sets():
    """The same datagram between the same two, in networks of different tenants; and one from another address. What is
    inside a tunnel or behind the first tag is the guest's and does not say whose it is."""
    said = udp(CLIENT, SERVER, 5000, 6000, b"LOOKHERE")
    elsewhere = udp("10.77.1.2", SERVER, 5000, 6000, b"LOOKHERE")
    one = [frame(said), tagged([10], said), tagged([25], said), tagged([30, 10], said), in_vxlan(5001, frame(said)),
           in_vxlan(5002, frame(said)), in_geneve(5001, frame(elsewhere)), in_vxlan(5002, in_vxlan(5001, frame(said))),
           frame(elsewhere)]
    return pcap(one + one, link=bytes)


def words_vlan():
    """A datagram without a tag, one behind each of two tags, and two behind several."""
    said = udp(CLIENT, SERVER, 5000, 6000, b"hello")
    return pcap([frame(said)] + [tagged(tags, said) for tags in ([10], [25], [10, 20], [10, 20, 30])], link=bytes)


def two_shouts():
    """Two segments with the same word, for rules that drop or pass."""
    c = Connection(dport=4444).open()
    c.send(0, b"SHOUT one")
    c.send(0, b"SHOUT two")
    return pcap(c.close().packets)


INTERFACE = bytes.fromhex("12345678" "1234" "abcd" "ef00" "0123456789ab")


def dce_uuid(written, big):
    return written if big else written[3::-1] + written[5:3:-1] + written[7:5:-1] + written[8:]


def dce(kind, flags, call, body, big):
    return struct.pack(">BBBB" if big else "<BBBB", 5, 0, kind, flags) + bytes([0x00 if big else 0x10, 0, 0, 0]) \
        + struct.pack(">HHI" if big else "<HHI", 16 + len(body), 0, call) + body


def dce_call(call, flags, opnum, stub, big):
    return dce(0, flags, call, struct.pack(">IHH" if big else "<IHH", len(stub), 0, opnum) + stub, big)


def dcerpc_orders():
    """The same call in both orders of bytes, each in two fragments behind a first fragment that is begun anew; the second one
    names another operation, which counts for nothing."""
    packets = []
    for sport, big in ((40001, False), (40002, True)):
        order = ">" if big else "<"
        syntax = dce_uuid(INTERFACE, big) + struct.pack(order + "HH", 1, 0)
        c = Connection(sport, 135).open()
        c.send(0, dce(11, 3, 1, struct.pack(order + "HHIB3xHBx", 4280, 4280, 0, 1, 0, 1) + syntax + bytes(20), big))
        c.send(1, dce(12, 3, 1, struct.pack(order + "HHIH4s2xB3xHH", 4280, 4280, 1, 4, b"135", 1, 0, 0) + bytes(20), big))
        number = struct.pack(order + "I", 0x01020304)
        c.send(0, dce_call(2, 1, 3, b"begun and left", big))
        c.send(0, dce_call(2, 1, 3, b"\xde\xad" + number[:1], big) + dce_call(2, 2, 99, number[1:], big))
        c.send(1, dce(2, 3, 2, struct.pack(order + "IHBx", 4, 0, 0) + b"done", big))
        packets += c.close().packets
    return pcap(packets)


def smb2(command, message, body, *, answer=False, tree=5):
    head = b"\xfeSMB" + struct.pack("<HHIHHIIQIIQ", 64, 1, 0, command, 1, 1 if answer else 0, 0, message, 0, tree, 9) + bytes(16)
    return struct.pack("!I", len(head + body)) + head + body


def smb2_read(message, file_id, offset, size):
    return smb2(8, message, struct.pack("<HBBIQ", 49, 80, 0, size, offset) + file_id + bytes(17))


def smb2_read_answer(message, data):
    return smb2(8, message, struct.pack("<HBBIII", 17, 80, 0, len(data), 0, 0) + data, answer=True)


def smb_answers():
    """A file whose reads are answered in another order than they were asked in: the second before the first; large ones, in records that
    come in pieces; one that is never answered."""
    name, file_id = "malware.bin".encode("utf-16-le"), bytes(range(16))
    opened = struct.pack("<HBBI", 89, 0, 0, 1) + bytes(8 * 6) + bytes(8) + file_id + bytes(8)
    parts = [b"first-", b"second-", b"A" * 90000 + b"third-", b"fourth" + b"B" * 90000, b"-fifth"]
    at = [sum(map(len, parts[:i])) for i in range(len(parts))]
    c = Connection(40001, 445).open()
    c.send(0, smb2(5, 1, struct.pack("<HBBIQQIIIIIHHII", 57, 0, 0, 2, 0, 0, 1, 0, 7, 1, 0, 120, len(name), 0, 0) + name))
    c.send(1, smb2(5, 1, opened, answer=True))
    for i, part in enumerate(parts):
        c.send(0, smb2_read(10 + i, file_id, at[i], len(part)))
    c.send(0, smb2_read(20, file_id, at[4] + 6, 100))
    for i in (1, 0, 4, 3, 2):
        c.send(1, smb2_read_answer(10 + i, parts[i]))
    c.send(0, smb2(6, 30, struct.pack("<HHI", 24, 0, 0) + file_id))
    c.send(1, smb2(6, 30, bytes(60), answer=True))
    return pcap(c.close().packets)


SMB_PIPE = bytes(range(16))


def smb_write(number, data):
    return smb2(9, number, struct.pack("<HHIQ16sIIHHI", 49, 112, len(data), 0, SMB_PIPE, 0, 0, 0, 0, 0) + data)


def smb_written(number, size):
    return smb2(9, number, struct.pack("<HHIIHHx", 17, 0, size, 0, 0, 0), answer=True)


def smb_pipe_writes():
    """A named pipe: the bind, its answer and a call of two fragments, cut anywhere by writes and reads."""
    path = "\\\\h\\IPC$".encode("utf-16-le")
    c = Connection(dport=445).open()
    c.send(0, smb2(3, 1, struct.pack("<HHHH", 9, 0, 72, len(path)) + path, tree=0))
    c.send(1, smb2(3, 1, struct.pack("<HBBIII", 16, 2, 0, 0, 0, 0), answer=True))
    syntax = dce_uuid(INTERFACE, False) + struct.pack("<HH", 1, 0)
    bind = dce(11, 3, 1, struct.pack("<HHIB3xHBx", 4280, 4280, 0, 1, 0, 1) + syntax + bytes(20), False)
    ack = dce(12, 3, 1, struct.pack("<HHIH4s2xB3xHH", 4280, 4280, 1, 4, b"135", 1, 0, 0) + bytes(20), False)
    call = dce_call(2, 1, 3, b"x" * 30 + b"SPLIT-OVER-", False) + dce_call(2, 2, 3, b"WRITES", False)
    done = dce(2, 3, 2, struct.pack("<IHBx", 4, 0, 0) + b"THE-ANSWER", False)
    number = 2
    for said, heard, step in ((bind, ack, 7), (call, done, 25)):
        for at in range(0, len(said), step):
            c.send(0, smb_write(number, said[at:at + step])).send(1, smb_written(number, len(said[at:at + step])))
            number += 1
        for at in range(0, len(heard), step):
            c.send(0, smb2_read(number, SMB_PIPE, 0, 4280)).send(1, smb2_read_answer(number, heard[at:at + step]))
            number += 1
    return pcap(c.close().packets)


def fragments():
    whole = udp(CLIENT, SERVER, 1111, 2222, b"x" * 24 + b"OVER-TWO-FRAGMENTS" + b"y" * 30)[20:]
    first, second = whole[:40], whole[40:]
    return pcap([ip(CLIENT, SERVER, 17, second, ident=9, fragment=5), ip(CLIENT, SERVER, 17, first, ident=9, fragment=0x2000)])


def snaplen_cut():
    c = Connection(dport=4444).open()
    c.send(0, b"EARLY" + b"x" * 400 + b"BEYOND-THE-SNAPLEN")
    return pcap(c.close().packets, snaplen=128, cut=128)


def file_truncated():
    """The file ends in the middle of a record."""
    c = Connection(dport=4444).open()
    c.send(0, b"WHOLE-RECORD")
    c.send(0, b"HALF-RECORD")
    return pcap(c.packets)[:-90]


def words_bytes():
    """A datagram for each rule (a packet raises few alerts), for what is asked of bytes."""
    payload = b"The quick brown fox\r\nlen=0042 hex=1aF oct=017 end\0\1\2\3\4\xff\xfeabcabcabdTAIL"
    return pcap([udp(CLIENT, SERVER, 1000 + i, 2222, payload) for i in range(1, 200)])


def rule_types():
    """A connection, datagrams, one in fragments, and IGMP: what is asked once, with each packet, at the end."""
    c = Connection(1000, 4444).open()
    for word in (b"one", b"two", b"three"):
        c.send(0, b"word=%s;" % word)
    packets = c.send(1, b"answer=five;").close().packets
    packets += [udp(CLIENT, SERVER, 1001, 5555, b"hello"), udp(CLIENT, SERVER, 1001, 5555, b""),
                udp(SERVER, CLIENT, 5555, 1001, b"yes")]
    group = "224.0.0.22"
    packets += [ip(CLIENT, "224.0.0.251", 2, b"\x16\0\x09\x04\xe0\0\0\xfb", options=b"\x94\x04\0\0")] * 2
    packets += [ip(CLIENT, "224.0.0.1", 2, b"\x11\x64\x09\x04\0\0\0\0\2\x7d\0\1\1\2\3\4"),
                ip(CLIENT, group, 2, b"\x22\0\x09\x04\0\0\0\1\4\0\0\1\xe0\0\0\xfb\1\2\3\4tail"),
                ip(CLIENT, group, 2, b"\x22\0\x09\x04\0\0\0\1\4\0\0\2\xe0\0\0\xfb\1\2\3\4")]
    whole = udp(CLIENT, SERVER, 1111, 2222, b"x" * 24 + b"OVER" + b"y" * 30)[20:]
    return pcap(packets + [ip(CLIENT, SERVER, 17, whole[40:], ident=9, fragment=5),
                           ip(CLIENT, SERVER, 17, whole[:40], ident=9, fragment=0x2000)])


def words_headers():
    """Packets for what is asked of headers, each to an address of its own."""
    def to(number):
        return f"10.1.0.{number}"
    ece, cwr = 0x40, 0x80
    whole = udp(CLIENT, to(10), 1111, 2222, b"x" * 40)[20:]
    return pcap([
        ip(CLIENT, to(1), 17, udp(CLIENT, to(1), 1111, 2222, b"one")[20:], options=b"\x07\x07\x04\0\0\0\0\0"),
        ip(CLIENT, to(2), 17, udp(CLIENT, to(2), 1111, 2222, b"two")[20:], ident=7777, fragment=0x4000, ttl=33, tos=0x20),
        tcp(CLIENT, to(3), 1111, 80, 1000, 0, SYN, options=b"\x02\x04\x05\xb4\x01\x03\x03\x07", window=512),
        tcp(CLIENT, to(4), 1111, 80, 1000, 0, SYN | ece | cwr),
        tcp(CLIENT, to(5), 1111, 80, 1, 0, 0),
        tcp(CLIENT, to(6), 1111, 80, 1, 0, FIN | PSH | URG),
        icmp(CLIENT, to(7), 8, 0, struct.pack("!HH", 77, 5) + b"ping"),
        icmp(CLIENT, to(8), 3, 3, bytes(4) + udp(to(8), CLIENT, 5, 6, b"")),
        udp(to(9), to(9), 1111, 2222, b"same"),
        ip(CLIENT, to(10), 17, whole[:24], ident=9, fragment=0x2000),
        ip(CLIENT, to(10), 17, whole[24:], ident=9, fragment=3),
        icmp6(2, 0, struct.pack("!I", 1280) + bytes(40)),
        ip6(44, bytes([17, 0]) + struct.pack("!HI", 5 << 3 | 1, 99) + b"y" * 16),
        icmp6(128, 0, struct.pack("!HH", 88, 6) + b"ping"),
        ip(CLIENT, to(15), 103, b"pim?"),
        ip(CLIENT, to(16), 2, b"\x16\0\x09\x04\xe0\0\0\xfb", options=b"\x94\x04\0\0"),
    ])


def words_http():
    """Two requests on a connection for each rule (it names the client's port)."""
    get = b"\r\n".join([
        b"GET /a%20b/../Index.PHP?q=1&r=%41 HTTP/1.1", b"Host: www.Example.CO.UK", b"User-Agent: Mozilla/5.0 (words)",
        b"Cookie: a=1; b=2", b"Referer: http://ref.example/", b"Accept: text/html", b"Accept-Encoding: gzip",
        b"Accept-Language: en", b"Connection: keep-alive", b"X-Two: one", b"X-Two: two", b"", b""])
    post = b"POST /login HTTP/1.1\r\nHost: a.example\r\nContent-Type: text/plain\r\nContent-Length: 22\r\n\r\nuser=bob&pass=Zm9vYmFy"
    pdf = answer(b"%PDF-1.4\n" + b"1 0 obj endobj\n" * 60, "Server: nginx", "Content-Type: application/pdf", "Set-Cookie: sid=9",
                 'Content-Disposition: attachment; filename="Report.PDF"')
    moved = b"HTTP/1.1 302 Moved On\r\nLocation: http://b.example/x\r\nContent-Length: 0\r\n\r\n"
    packets = []
    for i in range(1, 140):
        packets += Connection(1000 + i).open().send(0, get).send(1, pdf).send(0, post).send(1, moved).close().packets
    return pcap(packets)


def words_talk():
    """FTP, then words on another port: what rules remember of a flow, a host, a pair."""
    ftp = Connection(dport=21).open().send(1, b"220 ready when you are\r\n").send(0, b"USER bob\r\n").send(1, b"331 password\r\n")
    ftp.send(0, b"PASS secret\r\n").send(1, b"230 in\r\n")
    packets = ftp.packets
    for i in range(1, 80):
        c = Connection(1000 + i, 4444).open()
        for word in (b"one", b"two", b"three", b"two", b"four"):
            c.send(0, b"word=%s;" % word)
        c.send(1, b"answer=five;")
        packets += c.close().packets
    return pcap(packets)


def words_dns():
    """A query with two questions and an answer that denies, for each rule."""
    def name(text):
        return b"".join(bytes([len(part)]) + part.encode() for part in text.split(".")) + b"\0"
    asked = name("www.evil.example.com") + struct.pack("!HH", 1, 1) + name("second.example.co.uk") + struct.pack("!HH", 16, 1)
    query = struct.pack("!HHHHHH", 7, 0x0100, 2, 0, 0, 0) + asked
    reply = struct.pack("!HHHHHH", 7, 0x8183, 2, 1, 0, 0) + asked + b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + b"\1\2\3\4"
    packets = []
    for i in range(1, 60):
        packets += [udp(CLIENT, SERVER, 1000 + i, 53, query), udp(SERVER, CLIENT, 53, 1000 + i, reply)]
    return pcap(packets)


def http_odd_codings():
    """Servers that say oddly how a body is packed, a connection each: clients unpack some of them."""
    packed = gzip.compress(b"HIDDEN-IN-GZIP" * 3, mtime=0)
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(packed), packed)
    length = b"Content-Length: %d\r\n\r\n" % len(packed)
    answers = [
        b"Content-Encoding: gzip\r\nTransfer-Encoding: chun\0ked\r\n\r\n" + chunks,
        b"Content-Encoding: g\0zip\r\n" + length + packed,
        b"Content-Encoding: x-gzip\r\n" + length + packed,
        b"Content-Encoding: identity, gzip\r\n" + length + packed,
        b"Content-Encoding: gzip\r\n" + length + packed[:2] + b"\x07" + packed[3:],
        b"Content-Encoding: rot13\r\n" + length + packed,
        b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n000" + chunks,
    ]
    packets = []
    for i, head in enumerate(answers, 1):
        c = Connection(1000 + i).open().send(0, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
        packets += c.send(1, b"HTTP/1.1 200 OK\r\n" + head).close().packets
    return pcap(packets)


def http_decoded_twice():
    """%2561 is %61, and that is an a to a server that decodes twice."""
    c = Connection().open().send(0, b"GET /%2561bc?q=%2561+b HTTP/1.1\r\nHost: a.example\r\n\r\n").send(1, answer(b"ok"))
    return pcap(c.close().packets)


def http_body_in_parts():
    """A body whose beginning says one thing and whose end another."""
    c = Connection().open().send(0, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
    c.send(1, b"HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\nthe beginning").send(1, b"and the end")
    return pcap(c.close().packets)


def tcp_after_reset():
    """A RST with data in it; one after which its target still talks; one whose sender goes on as if there was none."""
    first = Connection(1001, 4444).open().send(0, b"before")
    first.raw(1, first.seq[1], first.seq[0], RST, b"because")
    second = Connection(1002, 4444).open().send(0, b"before")
    second.raw(1, second.seq[1], second.seq[0], RST | ACK)
    second.raw(0, second.seq[0], second.seq[1], PSH | ACK, b"STILL-TALKING")
    third = Connection(1003, 4444).open().send(0, b"before")
    third.raw(1, third.seq[1], third.seq[0], RST | ACK)
    third.send(1, b"NOT-MY-RESET")
    return pcap(first.packets + second.packets + third.packets)


def ssh_new_keys():
    """Banners, new keys of both sides, and what would be encrypted."""
    link = Connection(1001, 22).open().send(0, b"SSH-2.0-a\r\n").send(1, b"SSH-2.0-b\r\n")
    for side in (0, 1):
        link.send(side, b"\0\0\0\x0c\x0a\x15" + bytes(10))
    return pcap(link.send(0, b"BEHIND-THE-KEYS").close().packets)


def icmp_headers():
    """Neighbour solicitation, echo, and an echo of a code that nobody knows, over IPv6; a timestamp and an echo over IPv4."""
    body = b"\0\7\0\1MARK"
    return pcap([icmp6(135, 0, bytes(20)), icmp6(128, 0, body), icmp6(128, 9, body),
                 icmp(CLIENT, SERVER, 13, 0, bytes(16) + b"MARK"), icmp(CLIENT, SERVER, 8, 0, body)])


def midstream_shouts():
    """A connection whose handshake nobody saw, and another one."""
    late = Connection(1001, 4444).open()
    late.packets = []
    late.send(0, b"SHOUT one").send(1, b"hm").send(0, b"SHOUT two")
    whole = Connection(1002, 4444).open().send(0, b"SHOUT three").close()
    return pcap(late.packets + whole.packets)


def name(text):
    return b"".join(bytes([len(part)]) + part.encode() for part in text.split(".")) + b"\0"


def neighbours():
    """A question and an answer of multicast DNS, both to the group, and of LLMNR, whose answer goes to who asked."""
    group, link = "224.0.0.251", "224.0.0.252"
    service = name("_ipp._tcp.local")
    ask = struct.pack("!HHHHHH", 0, 0, 1, 0, 0, 0) + service + struct.pack("!HH", 12, 0x8001)
    tell = struct.pack("!HHHHHH", 0, 0x8400, 0, 1, 0, 1) + service
    tell += struct.pack("!HHIH", 12, 1, 120, 15) + name("printer.local")
    tell += name("printer.local") + struct.pack("!HHIH", 1, 0x8001, 120, 4) + bytes(4)
    who = struct.pack("!HHHHHH", 7, 0, 1, 0, 0, 0) + name("workstation") + struct.pack("!HH", 1, 1)
    me = struct.pack("!HHHHHH", 7, 0x8000, 1, 1, 0, 0) + who[12:] + b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 30, 4) + bytes(4)
    return pcap([udp(CLIENT, group, 5353, 5353, ask), udp("192.168.1.11", group, 5353, 5353, tell),
                 udp(CLIENT, link, 1001, 5355, who), udp("192.168.1.11", CLIENT, 5355, 1001, me),
                 udp(CLIENT, group, 5353, 5353, b"no message")])


def dns_response_names():
    """An answer with names in its data."""
    def record(kind, data):
        return b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data
    records = [record(5, name("alias.example.net")), record(15, b"\0\x0a" + name("mail.example.net")),
               record(6, name("primary.example.net") + name("root.example.net") + bytes(20)), record(33, bytes(6) + name("srv.example.net"))]
    packets = []
    for i in range(1, 12):
        asked = name("www.example.com") + struct.pack("!HH", 255, 1)
        packets.append(udp(CLIENT, SERVER, 1000 + i, 53, struct.pack("!HHHHHH", i, 0x0100, 1, 0, 0, 0) + asked))
        packets.append(udp(SERVER, CLIENT, 53, 1000 + i,
                           struct.pack("!HHHHHH", i, 0x8180, 1, len(records), 0, 0) + asked + b"".join(records)))
    return pcap(packets)


def mail_urls():
    """A mail with URLs of several kinds."""
    c = Connection(dport=25).open().send(1, b"220 mx\r\n").send(0, b"EHLO a\r\n").send(1, b"250 mx\r\n")
    c.send(0, b"MAIL FROM:<a@a.example>\r\n").send(1, b"250 ok\r\n").send(0, b"RCPT TO:<b@b.example>\r\n").send(1, b"250 ok\r\n")
    c.send(0, b"DATA\r\n").send(1, b"354 go\r\n")
    c.send(0, b"From: a\r\nSubject: x\r\n\r\nsee http://plain.example/1 and https://safe.example/2\r\n.\r\n").send(1, b"250 ok\r\n")
    return pcap(c.send(0, b"QUIT\r\n").send(1, b"221 bye\r\n").close().packets)


def sctp(chunks, tag=7, body=b""):
    """A packet of these chunks: type and what follows their length."""
    for kind, rest in chunks:
        body += struct.pack("!BBH", kind, 3, 4 + len(rest)) + rest + bytes(-len(rest) % 4)
    return ip(CLIENT, SERVER, 132, struct.pack("!HHII", 5000, 6000, tag, 0) + body)


def words_sctp():
    """An association's beginning, two chunks of data in one packet, one that ends within its chunk."""
    def data(text):
        return 0, struct.pack("!IHHI", 1, 1, 1, 0) + text
    return pcap([sctp([(1, bytes(16))], tag=0), sctp([(2, bytes(20))]), sctp([(10, b"cook"), data(b"first")]),
                 sctp([data(b"one"), data(b"second"), (3, bytes(12))]), sctp([(192, bytes(8))]), sctp([], body=b"\0\3\0\x40torn")])


SESSION = (b"v=0\r\no=alice 1 2 IN IP4 192.0.2.1\r\ns=A call\r\ni=about it\r\nu=https://a.example/\r\ne=a@a.example (Alice)\r\n"
           b"p=+1 617 555-6011\r\nc=IN IP4 192.0.2.1\r\nb=AS:64\r\nb=CT:128\r\nt=1 2\r\nr=604800 3600 0 90000\r\nz=3 -1h\r\n"
           b"k=prompt\r\na=sendrecv\r\na=tool:x\r\nm=audio 30000 RTP/AVP 0 8\r\ni=the sound\r\nc=IN IP4 192.0.2.9\r\n"
           b"k=clear:x\r\na=rtpmap:0 PCMU\r\nm=video 30002 RTP/AVP 31\r\n")


def sip(line, body, kind=b"application/sdp"):
    return b"\r\n".join([line, b"From: <sip:alice@a.example>;tag=1", b"To: <sip:bob@b.example>", b"Call-ID: 1@a",
                         b"Content-Type: " + kind, b"Content-Length: %d" % len(body), b"", body])


def sip_calls():
    """A call with a description over UDP, the same over TCP in two segments, and a message with another body."""
    invite, ok = sip(b"INVITE sip:bob@b.example SIP/2.0", SESSION), sip(b"SIP/2.0 200 OK", SESSION[:140] + b"\r\nt=1 2\r\n")
    said = sip(b"MESSAGE sip:bob@b.example SIP/2.0", b"v=0\r\ns=no session", b"text/plain")
    c = Connection(1003, 5060).open().send(0, invite[:-100]).send(0, invite[-100:] + said).send(1, ok)
    return pcap([udp(CLIENT, SERVER, 1001, 5060, invite), udp(SERVER, CLIENT, 5060, 1001, ok),
                 udp(CLIENT, SERVER, 1002, 5060, said)] + c.close().packets)


def ssh_packet(kind, rest):
    return struct.pack("!IBB", 2 + len(rest) + 4, 4, kind) + rest + b"\xaa" * 4


def frames_more():
    """Packets of SSH, one of them torn by segments, and frames of WebSocket."""
    names = b"".join(struct.pack("!I", len(n)) + n for n in [b"curve", b"rsa", b"aes", b"aes", b"sha", b"sha", b"none", b"none", b"", b""])
    kex = ssh_packet(20, bytes(16) + names + bytes(5))
    ask = ssh_packet(30, b"my-public-key")
    c = Connection(1001, 22).open().send(1, b"SSH-2.0-two\r\n").send(0, b"SSH-2.0-one\r\n").send(0, kex).send(1, kex)
    c.send(0, ask[:9]).send(0, ask[9:]).send(1, ssh_packet(31, b"answer"))
    w = Connection(1002, 80).open()
    w.send(0, b"\r\n".join([b"GET /chat HTTP/1.1", b"Host: a.example", b"Upgrade: websocket", b"Connection: Upgrade",
                             b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Sec-WebSocket-Version: 13", b"", b""]))
    w.send(1, b"\r\n".join([b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade",
                             b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", b"", b""]))
    w.send(0, b"\x81\x85\x01\x02\x03\x04" + bytes(c ^ (1, 2, 3, 4)[i % 4] for i, c in enumerate(b"hello")))
    w.send(1, b"\x81\x06there!\x89\x00")
    return pcap(c.close().packets + w.close().packets)

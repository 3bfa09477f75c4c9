#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""HTTP that hides what it carries: evasions.py GATED [-v]

A hostile server words its answer so that a client gets a file and who looks on the way does not: chunks, codings, lengths, lines
and status codes in forms that no standard knows, but some client takes. A hostile client hides a request in another one, for a
server that reads its length in another way. Each message here carries MARK for who reads it one way. Seen: a rule finds it in
a body or a URI. Said: it does not, but an event of HTTP tells that something is wrong, so that a rule can drop it. Neither is a
hole. The answers' ways are those of S. Ullrich's research on dubious HTTP (noxxi.de/research/dubious-http.html), the
requests' those of J. Kettle's on request smuggling (portswigger.net/research/http-desync-attacks).
"""
import gzip
import json
import struct
import subprocess
import sys
import tempfile
import zlib

import attack_captures as packets

MARK = b"This file would be stopped by whoever reads it: bulkhead-evasion-mark-4711. " * 2
WORD = MARK[48:73]
RULES = f"""alert http any any -> any any (msg:"seen in a body"; file.data; content:"{WORD.decode()}"; sid:1;)
alert smtp any any -> any any (msg:"seen in a mail"; file.data; content:"{WORD.decode()}"; sid:4;)
alert smtp any any -> any any (msg:"seen as it came"; content:"{WORD.decode()}"; sid:5;)
alert http any any -> any any (msg:"seen in a URI"; http.uri; content:"{WORD.decode()}"; sid:2;)
alert http any any -> any any (msg:"seen in a request's body"; http.request_body; content:"{WORD.decode()}"; sid:3;)
"""
GAPS = {"space": b" ", "tab": b"\t", "cr": b"\r", "lf": b"\n", "nl": b"\r\n", "colon": b":", "x": b"x", "nul": b"\0", "vt": b"\v",
        "ff": b"\f", "comma": b",", "semicolon": b";", "nbsp": b"\xa0", "quote": b'"'}


def raw_deflate(data, flush=None, bits=-15):
    packer = zlib.compressobj(wbits=bits)
    half = len(data) // 2
    first = packer.compress(data[:half]) + (packer.flush(flush) if flush is not None else b"")
    return first + packer.compress(data[half:]) + packer.flush()


CODERS = {"gzip": lambda d: gzip.compress(d, mtime=0), "deflate": raw_deflate, "zlib": zlib.compress}


def coded(*names, data=MARK):
    for name in names:
        data = CODERS[name](data)
    return data


def chunks(data, size=5, head=b"%x", end=b"\r\n", extension=b"", last=b"0\r\n\r\n"):
    parts = [data[i:i + size] for i in range(0, len(data), size)]
    return b"".join(head % len(p) + extension + end + p + end for p in parts) + last


def answer(body, *fields, status=b"HTTP/1.1 200 OK", eol=b"\r\n", length=False):
    fields = list(fields) + ([b"Content-Length: %d" % len(body)] if length else [b"Connection: close"])
    return eol.join([status, b"Content-Type: text/plain", *fields, b"", b""]) + body


def sized(body, *fields, **more):
    return answer(body, *fields, length=True, **more)


TE = b"Transfer-Encoding: chunked"
CE = b"Content-Encoding: "


def of_chunks():
    for pad in (b"", b"0", b"00000"):
        for digits in (b"%x", b"%X"):
            yield f"chunk size {pad + digits}", answer(chunks(MARK, 15, head=pad + digits), TE)
    for name, gap in GAPS.items():
        yield f"chunk size before {name}", answer(chunks(MARK, 15, head=b"%x" + gap), TE)
        yield f"chunk size behind {name}", answer(chunks(MARK, 15, head=gap + b"%x"), TE)
    for gap in (b"\r\n\r\n", b"\r\nx\r\n", b"x ", b" x", b"0x", b"-", b"+"):
        yield f"chunk size behind {gap}", answer(chunks(MARK, 15, head=gap + b"%x"), TE)
    for last in (b"00\r\n\r\n", b"0" * 20 + b"\r\n\r\n", b"0x\r\n\r\n", b"0\n", b"0\r", b"0", b"0\n\n", b"0\n \n", b"0\n\r\n", b"0\r\r\n",
                 b"0\r\nX-Trailer: 1\r\n", b"", b"a\r\nhalf"):
        yield f"last chunk {last}", answer(chunks(MARK, last=last), TE)
    for extension in (b"; word", b";a=b", b"; xxxxx 5", b' ; a="\r\n"'):
        yield f"chunk extension {extension}", answer(chunks(MARK, extension=extension), TE)
    for end in (b"\n", b"\r", b"\r\r", b"\n\n", b"\n\r"):
        yield f"chunk lines {end}", answer(chunks(MARK, end=end, last=b"0" + end * 2), TE)
    for before in (b" ", b"\n", b"\r", b"\r\n"):
        yield f"{before} before the chunks", answer(before + chunks(MARK), TE)
    for size in (b"fffffffff", b"ffffffffffffffff0", b"7fffffff", b"100000005"):
        yield f"chunk of size {size}", answer(size + b"\r\n" + MARK, TE)


def of_transfer():
    body = chunks(MARK)
    lengths = {"whole": len(body), "double": 2 * len(body), "half": len(body) // 2, "file": len(MARK), "zero": 0}
    for name, length in lengths.items():
        field = b"Content-Length: %d" % length
        yield f"chunked, then length {name}", answer(body, TE, field)
        yield f"length {name}, then chunked", answer(body, field, TE)
    for version in (b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/2.1", b"HTTP/0.9", b"HTTP/1.01", b"HTTP/1.10", b"http/1.1", b"http/1.0",
                    b"HTTP/0.1", b"HTTP/01.1", b"HTTP/11.01", b"HTTP/9.9", b"HTTP/1.1 ", b"HTTP/1.1\t", b"HTTP/1.1\r", b" HTTP/1.1", b"FTP/1.1",
                    b"HTTP/1", b"HTTP", b"HTTP/1.x"):
        status = version + b" 200 OK"
        for kind, length in (("alone", None), ("and length", len(body))):
            extra = [] if length is None else [b"Content-Length: %d" % length]
            yield f"{version} chunked {kind}", answer(body, TE, *extra, status=status)
        yield f"{version} says chunked, is not", sized(MARK, TE, status=status)
        packed = coded("gzip")
        yield f"{version} chunked gzip", answer(chunks(packed), TE, CE + b"gzip", status=status)
        yield f"{version} says chunked, is gzip alone", sized(packed, TE, CE + b"gzip", status=status)
    for value in (b" chUnked", b"chunked", b"\r\n chunked", b" chunked\r\n ", b"\r\n \r\n chunked", b" chunked;", b" xchunked", b" chunkedx",
                  b" chunked x", b" x chunked", b" x\r\n chunked", b" chunked\r\n x", b"\rchunked", b"\r chunked", b" chunked\r ", b" chu",
                  b" =?UTF-8?B?Y2h1bmtlZAo=?=", b" chunked, chunked", b" identity, chunked", b" chunked, identity", b" identity", b' "chunked"',
                  b"\tchunked", b"\x0bchunked", b" ,chunked", b" chunked,", b" \0chunked", b" chunked\0", b"\xa0chunked"):
        field = b"Transfer-Encoding:" + value
        yield f"transfer coding {value}", answer(body, field)
        yield f"transfer coding {value} with length", answer(body, field, b"Content-Length: %d" % len(body))
        yield f"transfer coding {value}, not chunked", sized(MARK, field)
    for name in (b"Transfer-Encoding ", b"Transfer-Encoding\t", b"Transfer-Encoding\r", b"Transfer-Encoding:", b" Transfer-Encoding",
                 b"\tTransfer-Encoding", b"X: y\rTransfer-Encoding", b"X: y\rxTransfer-Encoding", b"X: y\nTransfer-Encoding", b"\0Transfer-Encoding",
                 b"Transfer-Encoding\0", b"X: y\r\r\nTransfer-Encoding", b"\x7f\r\nTransfer-Encoding", b": y\r\nTransfer-Encoding",
                 b"words and no colon\r\nTransfer-Encoding", b"\r\r\nTransfer-Encoding", b"\n\r\nTransfer-Encoding", b"\n\r\r\nTransfer-Encoding",
                 b"L\xf6chrig: y\r\nTransfer-Encoding", b"X: y\r\n \r\nTransfer-Encoding", b"Content-Encoding"):
        yield f"field {name}: chunked", answer(body, name + b": chunked")
        yield f"field {name}: chunked with length", answer(body, name + b": chunked", b"Content-Length: %d" % len(body))
        yield f"field {name}: chunked, not chunked", sized(MARK, name + b": chunked")
    other = b"Transfer-Encoding: other"
    for fields in ([other, TE], [TE, other], [other, TE, other]):
        yield f"{len(fields)} codings, {fields[0]}", answer(body, *fields)
        yield f"{len(fields)} codings, {fields[0]}, with length", answer(body, *fields, b"Content-Length: %d" % len(body))
        yield f"{len(fields)} codings, {fields[0]}, not chunked", sized(MARK, *fields)
        packed = coded("gzip")
        yield f"{len(fields)} codings, {fields[0]}, gzip", answer(chunks(packed), *fields, CE + b"gzip")
        yield f"{len(fields)} codings, {fields[0]}, gzip not chunked", sized(packed, *fields, CE + b"gzip")


def of_codings():
    for value, names in ((b"gzip", "gzip"), (b"x-gzip", "gzip"), (b"deflate", "deflate"), (b"deFLaTe", "deflate"), (b"deflate", "zlib"),
                         (b"gzip", "deflate"), (b"gzip", "zlib"), (b"deflate", "gzip"), (b"x-deflate", "deflate"), (b"x-deflate", "zlib"),
                         (b"gzipx", "gzip"), (b"xgzip", "gzip"), (b"gzip x", "gzip"), (b"x gzip", "gzip"), (b"\r\n gzip", "gzip"),
                         (b"\r\n \r\n deflate", "deflate"), (b"deflate,", "deflate"), (b"deflate\r\n ,", "deflate"), (b"\rgzip", "gzip"),
                         (b"\r gzip", "gzip"), (b"\rdeflate", "deflate"), (b"=?UTF-8?B?ZGVmbGF0ZQo=?=", "deflate"), (b"GZIP", "gzip"),
                         (b"gzip;q=1", "gzip"), (b'"gzip"', "gzip"), (b"gzip\0", "gzip"), (b"\tgzip", "gzip"), (b",gzip", "gzip"),
                         (b"gzip,gzip", "gzip gzip"), (b"deflate,deflate", "deflate deflate"), (b"gzip,deflate", "gzip deflate"),
                         (b"deflate, gzip", "deflate gzip"), (b"deflate\r\n ,\r\n deflate", "deflate deflate"), (b"identity", ""),
                         (b"identity,identity", ""), (b"identity,gzip", "gzip"), (b"gzip,identity", "gzip"), (b"identity,deflate", "deflate"),
                         (b"deflate,identity", "deflate"), (b"gzip,deflate,gzip", "gzip deflate gzip"),
                         (b"deflate,gzip,deflate", "deflate gzip deflate"), (b"gzip,gzip", "gzip"), (b"gzip,gzip", ""), (b"gzip", ""),
                         (b"deflate,deflate", "deflate"), (b"deflate", ""), (b"gzip,deflate", "deflate gzip"), (b"gzip,deflate", "deflate"),
                         (b"gzip,deflate", "gzip"), (b"gzip,deflate", ""), (b"deflate,gzip", "gzip deflate"), (b"deflate,gzip", "gzip"),
                         (b"deflate,gzip", "deflate"), (b"foo", ""), (b"gzip x", ""), (b"br", ""),
                         (b"compress", "gzip"), (b"binary", "gzip")):
        body = coded(*names.split())
        yield f"coding {value} of {names or 'nothing'}", sized(body, CE + value)
        split = value.split(b",")
        if len(split) > 1 and all(split):
            yield f"codings {value} apart of {names or 'nothing'}", sized(body, *(CE + v.strip() for v in split))
    for name in (b"Content-Encoding ", b"Content-Encoding:", b"X: y\rContent-Encoding", b"X: y\rxContent-Encoding", b"X: y\nContent-Encoding",
                 b"Content-Encoding\t", b" Content-Encoding", b"\0Content-Encoding", b"Content-Encoding\0", b"Transfer-Encoding"):
        for kind in ("gzip", "deflate"):
            yield f"field {name}: {kind}", sized(coded(kind), name + b": " + kind.encode())
            yield f"field {name}: {kind}, not packed", sized(MARK, name + b": " + kind.encode())
    for flush in (zlib.Z_PARTIAL_FLUSH, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_BLOCK):
        yield f"gzip with flush {flush}", sized(raw_deflate(MARK, flush, 31), CE + b"gzip")
        yield f"deflate with flush {flush}", sized(raw_deflate(MARK, flush), CE + b"deflate")
    half = len(MARK) // 2 + 30
    yield "gzip of two members", sized(coded("gzip", data=MARK[:half]) + coded("gzip", data=MARK[half:]), CE + b"gzip")
    yield "mark in the second member", sized(coded("gzip", data=b"nothing") + coded("gzip"), CE + b"gzip")
    for more in (b"", coded("gzip", data=b"more")):
        body = coded("gzip", data=b"nothing") + coded("gzip") + more
        yield f"mark in the second member of {2 + bool(more)}, bytewise", answer(chunks(body, size=1), TE, CE + b"gzip")
    yield "deflate of two parts", sized(coded("deflate", data=b"nothing") + coded("deflate"), CE + b"deflate")
    yield "transfer and content gzip", answer(coded("gzip", "gzip"), b"Transfer-Encoding: gzip", CE + b"gzip")
    yield "transfer gzip, chunked", answer(chunks(coded("gzip")), b"Transfer-Encoding: gzip, chunked")
    yield "transfer chunked, gzip", answer(chunks(coded("gzip")), b"Transfer-Encoding: chunked, gzip")
    yield "gzip behind a line", sized(b"\n" + coded("gzip"), CE + b"gzip")
    yield "zlib in a gzip head", sized(coded("gzip")[:10] + zlib.compress(MARK) + coded("gzip")[-8:], CE + b"gzip")


def of_gzip_heads():
    whole = coded("gzip")

    def flags(bits, more=b""):
        return whole[:3] + bytes([whole[3] | bits]) + whole[4:10] + more + whole[10:]

    heads = {"FTEXT": flags(1), "FHCRC and none": flags(2), "FHCRC": flags(2, b"\0\0"), "FEXTRA empty": flags(4, b"\0\0"),
             "FEXTRA": flags(4, b"\5\0Ap\1\0\0"), "FEXTRA that lies": flags(4, b"\xff\xff"), "FNAME": flags(8, b" \0"), "FCOMMENT": flags(16, b" \0"),
             "bit 5": flags(32), "bit 6": flags(64), "bit 7": flags(128), "all": flags(31, b"\1\0x \0 \0\0\0"),
             "magic": b"\x1f\x8c" + whole[2:], "method": whole[:2] + b"\x88" + whole[3:],
             "checksum": whole[:-8] + bytes(b ^ 255 for b in whole[-8:-4]) + whole[-4:], "length": whole[:-4] + b"\xff\xff\xff\xff",
             "no length": whole[:-4], "no tail": whole[:-8], "long name": flags(8, b"n" * 3000 + b"\0"), "cut": whole[:-20]}
    for name, body in heads.items():
        yield f"gzip {name}", sized(body, CE + b"gzip")
        yield f"gzip {name} without length", answer(body, CE + b"gzip")
        yield f"gzip {name} with a length too large", answer(body, CE + b"gzip", b"Content-Length: %d" % (len(body) + 8))
        for field in (b"Content-Encoding:\r gzip", b"Content-Encoding : gzip"):
            yield f"gzip {name}, {field}", sized(body, field)


def of_lengths():
    size = len(MARK)

    def length(form, *values):
        return b"Content-Length: " + form % values

    junk = b"X" * size
    for fields in ([length(b"%d", size)] * 2, [length(b"%d", size // 2), length(b"%d", size)], [length(b"%d", size), length(b"%d", size // 2)],
                   [length(b"%d", size * 2), length(b"%d", size)], [length(b"%d", size), length(b"%d", size * 2)], [length(b"%d", size * 2)],
                   [length(b"%d", size // 4)], [length(b"0")], [length(b"%d\r\n %d", size // 4, size)], [length(b"%d %d", size // 4, size)],
                   [length(b"%d (%d)", size // 4, size)], [length(b"(%d) %d", size, size // 4)], [length(b"%d\r\n %d", size * 2, size)],
                   [length(b";%d", size)], [length(b"%d;", size)], [length(b",%d", size)], [length(b"%d,", size)], [length(b"%d,%d", size, size)],
                   [length(b'"%d"', size)], [length(b"%dA", size)], [length(b"A%d", size)], [length(b"%d A", size)], [length(b"A %d", size)],
                   [length(b"\xa0%d", size)], [length(b"%d\xa0", size)], [length(b"%d.0", size)], [length(b"%d.9", size)], [length(b"-1")],
                   [length(b"+%d", size)], [length(b"0x%x", size)], [length(b"4294967296")], [length(b"18446744073709551616")], [length(b"")]):
        for other in ([], [b"Transfer-Encoding: other"]):
            name = b" | ".join(fields + other).replace(b"Content-Length: ", b"")
            yield f"length {name}", answer(MARK, *fields, *other)
            yield f"length {name}, more behind", answer(MARK + junk, *fields, *other)


def of_lines():
    yield "no head", MARK
    for eol in (b"\r", b"\n", b"\r\r", b"\n\r", b"\r\r\n", b"\n\n"):
        yield f"lines that end with {eol}", sized(MARK, eol=eol)
    for line in (b" \r\n ", b"X: y\r\n ", b"L\xf6chrig: y", b": y", b"\x7f", b"words and no colon", b"\r", b"\n", b"\r\r", b"\n\r", b"\0", b"X\0: y",
                 b"X: \0"):
        yield f"line {line}", sized(MARK, line)
        yield f"line {line}, gzip", sized(coded("gzip"), line, CE + b"gzip")
    yield "line of 0x7f alone", b"HTTP/1.1 200 OK\r\n\x7f\r\n\r\n" + MARK
    for status in (b"HTTP/1.1 200", b"HTTP/1.1  200 OK", b"HTTP/1.1\t200 OK", b"HTTP/1.1 2xx OK", b"HTTP/1.1 20x OK", b"HTTP/1.1 2 OK",
                   b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 0200 OK", b"HTTP/1.1200 OK", b"HTTP/1.1 -200 OK", b"HTTP/1.1 OK",
                   b"HTTP/1.1 200OK", b"ICY 200 OK", b"\r\nHTTP/1.1 200 OK", b"xHTTP/1.1 200 OK", b"\xef\xbb\xbfHTTP/1.1 200 OK", b"HTTP 200 OK",
                   b"HTTP/ 200 OK", b"\0HTTP/1.1 200 OK", b"H TTP/1.1 200 OK"):
        yield f"status line {status}", sized(MARK, status=status)
        yield f"status line {status}, gzip", sized(coded("gzip"), CE + b"gzip", status=status)
        yield f"status line {status}, chunked", answer(chunks(MARK), TE, status=status)
    for code in (100, 101, 102, 103, 199, 204, 205, 206, 300, 301, 302, 303, 304, 305, 307, 308, 400, 401, 403, 404, 406, 407, 416, 500, 502, 600, 999):
        yield f"status {code}", sized(MARK, status=b"HTTP/1.1 %d OK" % code)
        yield f"status {code}, chunked gzip", answer(chunks(coded("gzip")), TE, CE + b"gzip", status=b"HTTP/1.1 %d OK" % code)
    yield "100, then the answer", b"HTTP/1.1 100 Continue\r\n\r\n" + sized(MARK)
    yield "five 100, then the answer", b"HTTP/1.1 100 Continue\r\n\r\n" * 5 + sized(MARK)
    yield "100 with a length, then the answer", b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n" + sized(MARK)
    yield "range of all", sized(MARK, b"Content-Range: bytes 0-%d/%d" % (len(MARK) - 1, len(MARK)), status=b"HTTP/1.1 206 Partial")


ANSWERS = (of_chunks, of_transfer, of_codings, of_gzip_heads, of_lengths, of_lines)
HIDDEN = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % WORD


def ask(body, *fields, line=b"POST /up HTTP/1.1", eol=b"\r\n"):
    return eol.join([line, b"Host: a", *fields, b"", b""]) + body


def of_smuggling():
    """Whoever reads by one of two framings takes HIDDEN for a body, whoever reads by the other for a request."""
    ended = b"0\r\n\r\n" + HIDDEN
    inside = b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)

    def both(name, te, *more):
        length = b"Content-Length: %d" % len(ended)
        short = b"Content-Length: %d" % (inside.index(b"\r\n") + 2)
        yield f"{name}, length first, behind the chunks", ask(ended, length, te, *more)
        yield f"{name}, length last, behind the chunks", ask(ended, te, length, *more)
        yield f"{name}, length first, in a chunk", ask(inside, short, te, *more)
        yield f"{name}, length last, in a chunk", ask(inside, te, short, *more)

    for value in (b" chunked", b"chunked", b"\tchunked", b" chUnked", b" xchunked", b" chunkedx", b" chunked x", b" x chunked", b"\r\n chunked",
                  b"\n chunked", b" \x0bchunked", b" chunked\x0b", b" \0chunked", b' "chunked"', b" chunked,", b" ,chunked", b" identity",
                  b" identity, chunked", b" chunked, identity", b" cow", b" gzip, chunked", b" =?UTF-8?B?Y2h1bmtlZAo=?=", b"\xa0chunked", b"",
                  b" chunked;q=1"):
        yield from both(f"coding {value}", b"Transfer-Encoding:" + value)
    for name in (b"Transfer-Encoding ", b"Transfer-Encoding\t", b" Transfer-Encoding", b"\tTransfer-Encoding", b"X: y\nTransfer-Encoding",
                 b"X: y\rTransfer-Encoding", b"\0Transfer-Encoding", b"Transfer-Encoding\0", b"Transfer-Encoding\r\n ", b"X: y\r\n\nTransfer-Encoding",
                 b"Transfer\xadEncoding", b"\xefTransfer-Encoding", b"(Transfer-Encoding"):
        yield from both(f"field {name}", name + b": chunked")
    for second in (b"cow", b"identity", b"chunked", b""):
        yield from both(f"second coding {second}", TE, b"Transfer-Encoding: " + second)
        yield from both(f"first coding {second}", b"Transfer-Encoding: " + second, TE)
    for line in (b"POST /up HTTP/1.0", b"POST /up HTTP/1.2", b"POST /up HTTP/2.0", b"POST /up http/1.1", b"GET /up HTTP/1.1", b"HEAD /up HTTP/1.1",
                 b"OPTIONS /up HTTP/1.1", b"FOO /up HTTP/1.1", b"POST /up", b"POST /up  HTTP/1.1", b"POST\t/up HTTP/1.1"):
        for name, message in both(f"line {line}", TE):
            yield name, message.replace(b"POST /up HTTP/1.1", line, 1)
        yield f"line {line}, length", ask(HIDDEN, b"Content-Length: %d" % len(HIDDEN), line=line)
    for end in (b"\n", b"\r", b"\r\r", b"x\r\n", b"\0\r\n", b""):
        yield f"chunk that ends with {end}", ask(b"1\r\nx" + end + b"0\r\n\r\n" + HIDDEN, TE)
    for extension in (b";", b";\n", b";x\n", b";\nxx", b" ", b"\t", b";a=\"\n\"", b"\r"):
        yield f"chunk extension {extension}", ask(b"2" + extension + b"\r\nxx\r\n40\r\n0\r\n\r\n" + HIDDEN, TE)
        yield f"last chunk's extension {extension}", ask(b"0" + extension + b"\r\n\r\n" + HIDDEN, TE)
    for size in (b"0x0", b"-0", b"+0", b"00000000000000000", b"100000000", b"10000000000000000", b"g", b"", b" 0", b"0 0", b"ffffffff"):
        yield f"chunk size {size}", ask(size + b"\r\n\r\n" + HIDDEN, TE)


def of_request_lengths():
    size = len(HIDDEN)
    for values in ((b"0", b"%d" % size), (b"%d" % size, b"0"), (b"+%d" % size,), (b"-%d" % size,), (b"0x%x" % size,), (b"%d, 0" % size,),
                   (b"0, %d" % size,), (b"%d 0" % size,), (b"0 %d" % size,), (b"0%d" % size,), (b"%d\r\n 0" % size,), (b"0\r\n %d" % size,),
                   (b"%dx" % size,), (b"x%d" % size,), (b'"%d"' % size,), (b"",), (b"1e2",), (b"4294967296",), (b"18446744073709551616",),
                   (b"\xa0%d" % size,), (b"\x0b%d" % size,), (b"%d.0" % size,), (b"0;%d" % size,)):
        yield f"lengths {values}", ask(HIDDEN, *(b"Content-Length: " + v for v in values))
    for name in (b"Content-Length ", b" Content-Length", b"Content-Length\t", b"X: y\nContent-Length", b"X: y\rContent-Length", b"\0Content-Length",
                 b"Content-Length\0", b"X: y\r\n\nContent-Length", b"Content\xadLength"):
        yield f"field {name}", ask(HIDDEN, name + b": %d" % size)
    for eol in (b"\n", b"\r", b"\n\r", b"\r\r\n"):
        yield f"lines that end with {eol}", ask(HIDDEN, b"Content-Length: %d" % size, eol=eol)
    yield "in the second body of the connection", ask(b"x", b"Content-Length: 1") + ask(HIDDEN, b"Content-Length: %d" % size)
    yield "behind a body", ask(b"x", b"Content-Length: 1") + HIDDEN
    yield "behind lines", ask(b"x", b"Content-Length: 1") + b"\r\n\n \r\n" + HIDDEN
    yield "expects", ask(HIDDEN, b"Content-Length: %d" % size, b"Expect: 100-continue")
    yield "upgrades", ask(HIDDEN, b"Content-Length: %d" % size, b"Upgrade: h2c", b"Connection: Upgrade")
    yield "in a gzip body", ask(coded("gzip", data=HIDDEN), CE + b"gzip", b"Content-Length: %d" % len(coded("gzip", data=HIDDEN)))
    yield "no headers", b"GET /%s\r\n" % WORD
    yield "behind HTTP/0.9", b"GET /\r\n" + HIDDEN


ASKS = (of_smuggling, of_request_lengths)


def talk(asked, answered, sport):
    return packets.Talk(80, sport=sport).say(0, asked).say(1, answered).end()


def capture(path, messages, talk_of):
    """A connection for each, of a port of its own."""
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for i, (_, asked, answered) in enumerate(messages):
            for at, packet in enumerate(talk_of(asked, answered, 10000 + i)):
                file.write(struct.pack("<IIII", 1700000000 + i, at * 10, len(packet), len(packet)) + packet)


def records(gated, messages, talk_of):
    with tempfile.TemporaryDirectory() as folder:
        capture(f"{folder}/messages.pcap", messages, talk_of)
        with open(f"{folder}/rules", "w", encoding="ascii") as file:
            file.write(RULES)
        subprocess.run([gated, "-r", f"{folder}/messages.pcap", "-S", f"{folder}/rules", "-l", folder, "-k", "none", "-q",
                        "--user", "root"], check=True, timeout=300)
        with open(f"{folder}/eve.json", encoding="utf-8") as file:
            yield from map(json.loads, file)


def number(record):
    """Whose record it is: the client's port."""
    ports = (record.get("src_port", 0), record.get("dest_port", 0))
    return max(ports) - 10000


def judge(messages, talk_of):
    """messages: (name, what the client says, what the server says). 1 when one of them passes without a word."""
    gated, verbose = sys.argv[1], "-v" in sys.argv
    seen, said = set(), {}
    for record in records(gated, messages, talk_of):
        if record["event_type"] == "alert":
            seen.add(number(record))
        elif record["event_type"] == "anomaly":
            said.setdefault(number(record), set()).add(record["anomaly"]["event"])
    silent = 0
    for i, (name, _, _) in enumerate(messages):
        if i not in seen and i not in said:
            print(f"FAIL {name}: not seen, and no event")
            silent += 1
        elif verbose:
            print(f"{'seen' if i in seen else 'said'} {name}: {', '.join(sorted(said.get(i, ())))}")
    print(f"{len(messages)} messages: {len(seen)} seen through, {len(set(said) - seen)} only said, {silent} neither")
    return 1 if silent else 0


def main():
    messages = [(name, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", one) for family in ANSWERS for name, one in family()]
    messages += [("asked: " + name, one, sized(b"fine")) for family in ASKS for name, one in family()]
    return judge(messages, talk)


if __name__ == "__main__":
    sys.exit(main())

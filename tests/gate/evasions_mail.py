#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Mail that hides what it carries: evasions_mail.py GATED [-v]

As evasions.py, for SMTP and MIME: an attachment is worded so that a mail client finds it and who looks on the way does not, or a
second mail is hidden in the first one's data, for a server that takes another end of it (SMTP smuggling). Seen: a rule finds MARK in
file.data. Said: it does not, but an event of SMTP tells that something is wrong.
"""
import base64
import binascii
import quopri
import sys

import attack_captures as packets
import evasions

MARK = evasions.MARK
B64 = base64.b64encode(MARK)
LINES = base64.encodebytes(MARK).replace(b"\n", b"\r\n")
QP = quopri.encodestring(MARK).replace(b"\n", b"\r\n")
TEXT = b"Content-Type: text/plain\r\n\r\nwords of a mail\r\n"


def uu(data, name=b"a.bin"):
    rows = b"".join(binascii.b2a_uu(data[i:i + 45]) for i in range(0, len(data), 45))
    return b"begin 644 %s\n%s`\nend\n" % (name, rows)


def part(body, *fields, kind=b"Content-Type: application/octet-stream"):
    return b"\r\n".join([kind, b'Content-Disposition: attachment; filename="a.bin"', *fields, b"", b""]) + body


def mail(*parts, kind=b'Content-Type: multipart/mixed; boundary="bbb"', delimiter=b"--bbb", end=b"--bbb--\r\n", eol=b"\r\n"):
    head = b"From: a@a.example\r\nTo: b@b.example\r\nSubject: s\r\nMIME-Version: 1.0\r\n" + kind + b"\r\n\r\n"
    data = head + b"".join(delimiter + b"\r\n" + one + (b"" if one.endswith(b"\n") else b"\r\n") for one in parts) + end
    return data.replace(b"\r\n", eol)


def attached(body, *fields, **more):
    return mail(TEXT, part(body, *fields), **more)


BASE64 = b"Content-Transfer-Encoding: base64"


def of_encodings():
    for value in (b" base64", b"base64", b" Base64", b" BASE64 ", b" base64;", b' "base64"', b" (c)base64", b" base64 (c)", b"\r\n base64", b"\tbase64",
                  b" base64\0", b" base64,", b" base64 x"):
        yield f"encoding {value}", attached(LINES, b"Content-Transfer-Encoding:" + value)
    for first, last in ((b"7bit", b"base64"), (b"base64", b"7bit"), (b"base64", b"base64"), (b"quoted-printable", b"base64")):
        yield f"encodings {first}, {last}", attached(LINES, b"Content-Transfer-Encoding: " + first, b"Content-Transfer-Encoding: " + last)
    for name in (b"Content-Transfer-Encoding ", b"content-transfer-encoding", b"Content-Transfer-Encoding\t", b"X: y\nContent-Transfer-Encoding",
                 b"X: y\rContent-Transfer-Encoding", b"words and no colon\r\nContent-Transfer-Encoding"):
        yield f"field {name}", attached(LINES, name + b": base64")
    for value in (b"quoted-printable", b"Quoted-Printable", b'"quoted-printable"'):
        yield f"encoding {value}", attached(QP, b"Content-Transfer-Encoding: " + value)
    yield "all of it quoted", attached(b"".join(b"=%02X" % c for c in MARK), b"Content-Transfer-Encoding: quoted-printable")
    yield "all of it quoted in small letters", attached(b"".join(b"=%02x" % c for c in MARK), b"Content-Transfer-Encoding: quoted-printable")
    for end in (b"=\r\n", b"= \r\n", b"=\t\r\n", b"=\n"):
        body = end.join(MARK[i:i + 9] for i in range(0, len(MARK), 9))
        yield f"soft line ends {end}", attached(body, b"Content-Transfer-Encoding: quoted-printable")
    for value in (b"uuencode", b"x-uuencode", b"x-uue"):
        yield f"encoding {value}", attached(uu(MARK).replace(b"\n", b"\r\n"), b"Content-Transfer-Encoding: " + value)
    for value in (b"7bit", b"8bit", b"binary", b"", b"foo"):
        yield f"encoding {value}", attached(MARK, b"Content-Transfer-Encoding: " + value)


def of_base64():
    def with_each(mark, step):
        return mark.join(B64[i:i + step] for i in range(0, len(B64), step))

    for mark in (b"\r\n", b" ", b"\t", b"\r\n\r\n", b"!", b"\0", b"*\r\n", b"-", b"\x80", b"\n", b"\r", b"\r\n \r\n", b"@#$"):
        for step in (1, 3, 4, 7, 60):
            yield f"{mark} after each {step}", attached(with_each(mark, step), BASE64)
    yield "one line", attached(B64, BASE64)
    yield "no padding", attached(B64.rstrip(b"="), BASE64)
    for step in (1, 2, 10, 57):
        body = b"".join(base64.b64encode(MARK[i:i + step]) for i in range(0, len(MARK), step))
        yield f"padding after each {step}", attached(body, BASE64)
        yield f"padding and a line end after each {step}", attached(body.replace(b"=", b"=\r\n"), BASE64)
    yield "too much padding", attached(B64 + b"=====", BASE64)
    yield "words before", attached(b"this is:\r\n\r\n" + LINES, BASE64)
    yield "words behind", attached(LINES + b"\r\n-- \r\nthe end!\r\n", BASE64)
    yield "padding first", attached(b"====" + LINES, BASE64)


def of_parts():
    good = part(LINES, BASE64)
    for kind in (b"multipart/mixed; boundary=bbb", b"Multipart/Mixed; Boundary=bbb", b'multipart/mixed; boundary="bbb" ; x=y', b"multipart/mixed;boundary=bbb",
                 b"multipart/mixed;\r\n boundary=bbb", b"multipart/mixed;\r\n\tboundary=\"bbb\"", b"multipart/foo; boundary=bbb", b"multipart/related; boundary=bbb",
                 b'multipart/mixed; boundary="b\\bb"', b"multipart/mixed; boundary*=us-ascii''bbb", b"multipart/mixed; boundary*0=b; boundary*1=bb",
                 b"multipart/mixed; boundary = bbb", b"multipart/mixed; x=\"a;boundary=c\"; boundary=bbb", b"multipart/mixed; boundary=bbb; boundary=ccc",
                 b"multipart/mixed; boundary=ccc; boundary=bbb", b"multipart/mixed (c); (d) boundary=bbb (e)", b"multipart/mixed boundary=bbb",
                 b"multipart/mixed, boundary=bbb", b'multipart/mixed; boundary="bbb', b"multipart/mixed; charset=x; boundary=bbb;", b"multipart; boundary=bbb",
                 b"multipart/mixed; boundary='bbb'", b"multipart/mixed; bOuNdArY=bbb"):
        yield f"type {kind}", mail(TEXT, good, kind=b"Content-Type: " + kind)
    for name in (b"Content-Type ", b"content-type", b"Content-Type\t", b"X: y\nContent-Type", b"X: y\rContent-Type", b"\0Content-Type"):
        yield f"field {name}", mail(TEXT, good, kind=name + b": multipart/mixed; boundary=bbb")
    for first, last in ((b"text/plain", b"multipart/mixed; boundary=bbb"), (b"multipart/mixed; boundary=bbb", b"text/plain"),
                        (b"multipart/mixed; boundary=ccc", b"multipart/mixed; boundary=bbb"),
                        (b"multipart/mixed; boundary=bbb", b"multipart/mixed; boundary=ccc")):
        yield f"types {first}, {last}", mail(TEXT, good, kind=b"Content-Type: " + first + b"\r\nContent-Type: " + last)
    for delimiter in (b"--bbb ", b"--bbb\t", b"--bbb  \t ", b"--bbbx", b" --bbb", b"-- bbb", b"--BBB", b"---bbb", b"--bbb--"):
        yield f"delimiter {delimiter}", mail(TEXT, good, delimiter=delimiter)
    for end in (b"", b"--bbb-", b"--bbb", b"--bbb--", b"--bbb-- \r\nbehind\r\n", b"--bbb--\r\n--bbb\r\n" + good + b"\r\n--bbb--\r\n"):
        yield f"end {end[:30]}", mail(TEXT, good, end=end)
    yield "only behind the end", mail(TEXT, end=b"--bbb--\r\n\r\n--bbb\r\n" + good + b"\r\n--bbb--\r\n")
    for depth in (1, 3, 8, 20, 60):
        body = good
        for i in range(depth):
            body = b'Content-Type: multipart/mixed; boundary="d%d"\r\n\r\n--d%d\r\n%s\r\n--d%d--\r\n' % (i, i, body, i)
        yield f"{depth} deep", mail(TEXT, body)
    yield "boundary in boundary", mail(TEXT, b'Content-Type: multipart/mixed; boundary="bbbc"\r\n\r\n--bbbc\r\n' + good + b"\r\n--bbbc--\r\n")
    yield "same boundary within", mail(TEXT, b'Content-Type: multipart/mixed; boundary="bbb"\r\n\r\n--bbb\r\n' + good + b"\r\n--bbb--\r\n")
    yield "mail in a mail", mail(TEXT, b"Content-Type: message/rfc822\r\n\r\n" + attached(LINES, BASE64))
    yield "mail in a mail, encoded", mail(TEXT, part(base64.encodebytes(attached(LINES, BASE64)), BASE64, kind=b"Content-Type: message/rfc822"))
    yield "no multipart", mail(kind=b"Content-Type: application/octet-stream\r\n" + BASE64, end=LINES)
    yield "no MIME-Version", attached(LINES, BASE64).replace(b"MIME-Version: 1.0\r\n", b"")
    yield "no disposition", mail(TEXT, b"Content-Type: application/octet-stream\r\n" + BASE64 + b"\r\n\r\n" + LINES)
    yield "no head of the part", mail(TEXT, b"\r\n" + MARK)
    yield "no empty line in the part", mail(TEXT, b"Content-Type: a/b\r\n" + BASE64 + b"\r\n" + LINES)
    yield "uuencoded in the text", mail(b"Content-Type: text/plain\r\n\r\nsee:\r\n" + uu(MARK).replace(b"\n", b"\r\n"))
    for eol in (b"\n", b"\r"):
        yield f"lines that end with {eol}", attached(LINES, BASE64, eol=eol)


def session(data, *, last=b"\r\n.\r\n", lower=False, before=()):
    """Turns of client and server."""
    commands = [b"EHLO a", *before, b"MAIL FROM:<a@a.example>", b"RCPT TO:<b@b.example>", b"DATA"]
    turns = [((c.lower() if lower else c) + b"\r\n", b"354 go on\r\n" if c == b"DATA" else b"250 ok\r\n") for c in commands]
    return turns + [(data + last, b"250 ok\r\n")]


def of_smtp():
    good = attached(LINES, BASE64)
    hidden = b"MAIL FROM:<x@x.example>\r\nRCPT TO:<y@y.example>\r\nDATA\r\n" + good
    for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r\n\0.\r\n", b"\r.\r\n", b"\r\n.\r\r\n"):
        yield f"a second mail behind {end}", session(b"Subject: s\r\n\r\nwords" + end + hidden)
    yield "each line stuffed", session(b"\r\n".join(b"." + line if line else line for line in good.split(b"\r\n")))
    begin = session(good)[:-2]
    whole = (b"BDAT %d LAST\r\n" % len(good) + good, b"250 ok\r\n")
    first = (b"BDAT 300\r\n" + good[:300], b"250 ok\r\n")
    yield "in one piece", begin + [whole]
    yield "in pieces", begin + [first, (b"BDAT %d LAST\r\n" % (len(good) - 300) + good[300:], b"250 ok\r\n")]
    yield "second of two", session(b"Subject: s\r\n\r\nwords") + session(good)[1:]
    yield "lower case", session(good, lower=True)
    yield "words before commands", session(good, before=[b"NOOP", b"FOO bar", b"RSET", b"VRFY x"])


def talk(turns, greeting, sport):
    link = packets.Talk(25, sport=sport).say(1, greeting)
    for asked, answered in turns:
        link.say(0, asked).say(1, answered)
    return link.say(0, b"QUIT\r\n").say(1, b"221 bye\r\n").end()


def main():
    mails = [(name, session(one), b"220 a\r\n") for family in (of_encodings, of_base64, of_parts) for name, one in family()]
    mails += [(name, turns, b"220 a\r\n") for name, turns in of_smtp()]
    return evasions.judge(mails, talk)


if __name__ == "__main__":
    sys.exit(main())

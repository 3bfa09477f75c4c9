# SPDX-License-Identifier: Apache-2.0
"""Hostile strings, and every place of docs/api.yaml where they can be put (test_api_attacks.py).

A place is one parameter of a path or of a query, or one member of a body (to any depth, the names of free members too). The rest
of a request is filled with what is right, so that the string comes as far into the manager as it can.
"""
import copy
import dataclasses
import json
import re
import urllib.parse

import yaml

METHODS = ("get", "put", "post", "patch", "delete")
SEVEN = "{{1337*1337}}"  # evaluated: 1787569
MARK = "Zmark"  # what a smuggled header begins with

STRINGS = {
    "xss": ["\"><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "javascript:alert(1)//", "'-alert(1)-'",
            "</textarea></title><svg/onload=alert(1)>", "data:text/html,<script>alert(1)</script>", "<!--#exec cmd=\"id\"-->"],
    "sql": ["' OR '1'='1' --", "1; DROP TABLE users; --", "x' UNION SELECT value FROM settings --", "\\'; --", "%' OR 1 --", "a\"b",
            "q NEAR(x) OR *", "1 OR 1=1", "[x]", "x'||(SELECT sqlite_version())||'"],
    "path": ["../../../../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "....//....//etc/passwd", "file:///etc/passwd",
             "..\\..\\etc\\passwd", ".", "..", "%2e%2e%2f", "x/../../admin.token", "~root", "//x.invalid/y"],
    "header": [f"x\r\n{MARK}: 1\r\n\r\n<html>", f"x\n{MARK}: 1", f"x\r{MARK}: 1", "x\u2028y\u0085z\x0b\x0c", f"x; {MARK}=1"],
    "template": [SEVEN, "${1337*1337}", "#{1337*1337}", "<%= 1337*1337 %>", "%n%n%s%s%s%s%x", "$(id)", "`id`", "%{1337*1337}",
                 "{{constructor.constructor('alert(1)')()}}", "!!python/object:os.system", "*x", "&x"],
    "oversize": ["A" * 300, "A" * 5000, "%" * 3000, "\U0001f600" * 900, "(" * 4000],
    "unicode": ["\u202egnp.exe", "a\u0000b", "\ud800", "\udfff\ud800", "\uffff\ufdd0", "\ufeffx", "e\u0301\u0323", "\u00e9", "\u0130\u0131\u017f",
                "\u200b\u200d\u2060", "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\ufdfa" * 8, "\U000e0041", "\x1b[2J\x7f\x08",
                "ﬀ％２ｅ", "\u4e2d\u6587 \u05d0\u0627"],
    "number": ["-1", "18446744073709551616", "9223372036854775808", "1e309", "0x10", " 1", "1.5", "NaN", "00", "+1", ""],
}
# Where a body has another type than the one that is meant.
OTHER = [None, True, -1, 2 ** 63 - 1, 2 ** 64, 1.5e308, [], {}, [[[[]]]], {"a": {"b": {"c": []}}}, [None] * 2000, "", "\u0000"]


class StrictLoader(yaml.SafeLoader):
    """YAML whose maps have each key once, as text: what other readers of the specification make of the rest differs."""


def strict_map(loader, node):
    keys = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in keys or not isinstance(key, str):
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} twice, or no text", key_node.start_mark)
        keys.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, True)


StrictLoader.add_constructor("tag:yaml.org,2002:map", strict_map)


def load(path):
    """The specification with every `$ref` in its place."""
    with open(path, encoding="utf-8") as file:
        spec = yaml.load(file, StrictLoader)

    def resolve(node, depth=0):
        assert depth < 60, "the specification refers to itself"
        if isinstance(node, list):
            return [resolve(n, depth + 1) for n in node]
        if not isinstance(node, dict):
            return node
        if isinstance(node.get("$ref"), str):
            target = spec
            for part in node["$ref"][2:].split("/"):
                target = target[part]
            return resolve(target, depth + 1)
        return {key: resolve(value, depth + 1) for key, value in node.items()}
    return {"paths": resolve(spec["paths"])}


@dataclasses.dataclass
class Operation:
    id: str
    method: str
    path: str
    params: list
    kind: str = ""  # content type of the body
    schema: dict = None

    def named(self, where):
        return [p["name"] for p in self.params if p["in"] == where]


@dataclasses.dataclass(frozen=True)
class Place:
    where: str  # path, query, member, key, text (the whole body)
    at: tuple  # the name; of a member, the way to it

    def __str__(self):
        return f"{self.where} {'.'.join(map(str, self.at))}".strip()


def operations(spec):
    for path, item in spec["paths"].items():
        for method in METHODS:
            if method not in item:
                continue
            op = item[method]
            params = [*item.get("parameters", []), *op.get("parameters", [])]
            content = op.get("requestBody", {}).get("content", {})
            kinds = sorted(content) or [""]  # JSON before YAML
            for kind in kinds:
                yield Operation(op["operationId"], method.upper(), path, params, kind, content.get(kind, {}).get("schema"))


def whole(schema):
    """allOf put together."""
    if "allOf" not in schema:
        return schema
    out = {"type": "object", "properties": {}, "required": []}
    for part in map(whole, schema["allOf"]):
        out["properties"] |= part.get("properties", {})
        out["required"] += part.get("required", [])
    return out


def members(schema, way=()):
    """Ways to every member of a body."""
    schema = whole(schema or {})
    for name, sub in schema.get("properties", {}).items():
        yield Place("member", (*way, name))
        yield from members(sub, (*way, name))
    if "items" in schema:
        yield Place("member", (*way, 0))
        yield from members(schema["items"], (*way, 0))
    free = schema.get("additionalProperties")
    if isinstance(free, dict) or schema.get("type") == "object" and "properties" not in schema and free is not False:
        yield Place("key", way)
        yield Place("member", (*way, "key"))


def places(op):
    for name in op.named("path"):
        yield Place("path", (name,))
    for name in op.named("query"):
        yield Place("query", (name,))
    if op.kind == "application/json":
        yield Place("key", ())
        yield from members(op.schema)
    elif op.kind:
        yield Place("text", ())


class Filler:
    """What is right: `good` has values by name, `by_op` by (operationId, name); {n} in one is another number each time."""

    def __init__(self, good, by_op=()):
        self.good, self.by_op, self.n = good, dict(by_op), 0

    def value(self, op, name, schema):
        for known in (self.by_op.get((op.id, name)), self.good.get(name)):
            if known is not None:
                self.n += 1
                return json.loads(json.dumps(known).replace("{n}", str(self.n)))
        return self.sample(op, schema)

    def sample(self, op, schema):
        schema = whole(schema or {})
        kind = schema.get("type")
        kind = kind[0] if isinstance(kind, list) else kind
        if "enum" in schema:
            return schema["enum"][0]
        if kind == "object":
            return {name: self.value(op, name, schema["properties"][name]) for name in schema.get("required", [])
                    if name in schema.get("properties", {})}
        return {"integer": schema.get("minimum", 1), "number": 1, "boolean": False, "array": []}.get(kind, "x")

    def body(self, op):
        return self.sample(op, op.schema) if op.kind == "application/json" else self.good["documents"] if op.kind else None


def put(body, way, value):
    """`value` in its place of the body; what must be around it is made."""
    out = copy.deepcopy(body)
    node = out
    for i, step in enumerate(way[:-1]):
        below = [] if way[i + 1] == 0 else {}
        if isinstance(step, int):
            if not node:
                node.append(below)
            node[0] = node[0] if isinstance(node[0], type(below)) else below
        elif not isinstance(node.get(step), type(below)):
            node[step] = below
        node = node[step]
    if isinstance(way[-1], int):
        node[:] = [value]
    else:
        node[way[-1]] = value
    return out


def encode(text):
    return urllib.parse.quote(text.encode("utf-8", "surrogatepass"), safe="")


def url(op, fill, place=None, value=None):
    """The path with its query; `value` in its place."""
    path = op.path
    for p in op.params:
        if p["in"] == "path":
            here = place and place.where == "path" and place.at == (p["name"],)
            path = path.replace("{" + p["name"] + "}", encode(str(value if here else fill.value(op, p["name"], p["schema"]))))
    query = {p["name"]: fill.value(op, p["name"], p["schema"]) for p in op.params if p["in"] == "query" and p.get("required")}
    if place and place.where == "query":
        query[place.at[0]] = value
    return path + ("?" if query else "") + "&".join(f"{k}={encode(str(v))}" for k, v in query.items())


def request(op, fill, place, value):
    """(method, path with query, body as bytes or None, content type) with `value` in its place."""
    target = url(op, fill, place, value)
    if not op.kind:
        return op.method, target, None, ""
    body = fill.body(op)
    if place.where == "member":
        body = put(body, place.at, value)
    elif place.where == "key":
        body = put(body, (*place.at, value if isinstance(value, str) else "zkey"), value if not isinstance(value, str) else "x")
    elif place.where == "text":
        body = body.replace("x0", value) if isinstance(value, str) else json.dumps(value)
    if op.kind == "application/json":
        return op.method, target, json.dumps(body).encode("ascii"), op.kind
    return op.method, target, body.encode("utf-8", "surrogatepass"), op.kind


def found(node, name):
    """Values of that name, anywhere in an answer."""
    if isinstance(node, list):
        for n in node:
            yield from found(n, name)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == name:
                yield value
            yield from found(value, name)


SAFE_TYPES = re.compile(r"application/(json|x-ndjson)|text/(yaml|event-stream)|text/csv; charset=utf-8|text/plain(; version=0\.0\.4)?; charset=utf-8")
HEADERS = {"content-type", "content-length", "etag", "date", "connection", "cache-control", "x-content-type-options", "allow", "set-cookie",
           "retry-after", "www-authenticate", "transfer-encoding", "content-disposition", "strict-transport-security",
           "content-security-policy", "referrer-policy", "x-accel-buffering"}
INNER = re.compile(r'near "[^"]*": syntax|SQLITE_[A-Z]+|no such (table|column|module)|unrecognized token|SQL logic|fts5:|root:x:0:|\bsrc/manager|'
                   r"1787569|uid=0|AddressSanitizer|runtime error:")
ERROR_MAX = 3000
# The pages of a login by OpenID Connect, for browsers on their way: words of ours without an element in them.
PAGE = re.compile(r'<!DOCTYPE html><html><head><meta charset="utf-8"><title>Bulkhead</title>(<meta http-equiv="refresh" content="0;url=[^"<>]*">)?'
                  r'</head><body><p>[^<>]*</p><p><a href="/">Bulkhead</a></p></body></html>')


def faults(answer, private=()):
    """What is wrong with any answer, whatever was asked: a list of words."""
    out = []
    headers = [(k.lower(), v) for k, v in answer.headers.items()]
    kind = answer.headers.get("Content-Type", "")
    if answer.status >= 500 and not (answer.status in (503, 504, 507) and answer.json.get("error")):
        out.append(f"status {answer.status}")
    text = answer.data.decode("utf-8", "replace")
    page = kind == "text/html; charset=utf-8" and PAGE.fullmatch(text)
    if answer.status != 204 and not SAFE_TYPES.fullmatch(kind) and not page:
        out.append(f"content type {kind!r}")
    if answer.headers.get("X-Content-Type-Options") != "nosniff" or answer.headers.get("Cache-Control") != "no-store":
        out.append("without nosniff or no-store")
    out += [f"header {k}: {v}" for k, v in headers if k not in HEADERS or MARK in v or len(v) > 400]
    if answer.status >= 400 and not page:
        try:
            error = answer.json["error"]
            if not re.fullmatch("[a-z_]+", error["code"]) or not error["message"]:
                out.append("an error without code or message")
        except (ValueError, KeyError, TypeError):
            out.append("an error that is no JSON of ours")
        if len(answer.data) > ERROR_MAX:
            out.append(f"an error of {len(answer.data)} bytes")
        out += [f"tells of {word}" for word in private if word in text]
    inner = INNER.search(text)
    if inner:
        out.append(f"tells {inner.group()!r}")
    return out

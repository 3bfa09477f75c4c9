# SPDX-License-Identifier: Apache-2.0
"""A security key and the browser before it, in software: WebAuthn level 2 with ES256, EdDSA and RS256."""
import base64
import hashlib
import json
import os
import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ES256, EDDSA, RS256 = -7, -8, -257
PRESENT, VERIFIED, HAS_KEY = 0x01, 0x04, 0x40


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def cbor(value):
    """RFC 8949, definite lengths; maps keep their order."""
    def head(major, n):
        for code, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
            if n < 24:
                return bytes([major << 5 | n])
            if n < 1 << 8 * size:
                return bytes([major << 5 | code]) + n.to_bytes(size, "big")
        raise ValueError(n)
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(cbor, value))
    return head(5, len(value)) + b"".join(cbor(k) + cbor(v) for k, v in value.items())


class SecurityKey:
    def __init__(self, origin, alg=ES256, verified=False, counts=True):
        self.origin, self.alg, self.verified = origin, alg, verified
        self.id, self.count, self.counts = os.urandom(32), 0, counts
        if alg == ES256:
            self.key = ec.generate_private_key(ec.SECP256R1())
        elif alg == EDDSA:
            self.key = ed25519.Ed25519PrivateKey.generate()
        else:
            self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def cose(self):
        public = self.key.public_key()
        if self.alg == ES256:
            n = public.public_numbers()
            return {1: 2, 3: -7, -1: 1, -2: n.x.to_bytes(32, "big"), -3: n.y.to_bytes(32, "big")}
        if self.alg == EDDSA:
            return {1: 1, 3: -8, -1: 6, -2: public.public_bytes(Encoding.Raw, PublicFormat.Raw)}
        n = public.public_numbers()
        return {1: 3, 3: -257, -1: n.n.to_bytes(256, "big"), -2: n.e.to_bytes(3, "big")}

    def sign(self, data):
        if self.alg == ES256:
            return self.key.sign(data, ec.ECDSA(hashes.SHA256()))
        if self.alg == EDDSA:
            return self.key.sign(data)
        return self.key.sign(data, padding.PKCS1v15(), hashes.SHA256())

    def client_data(self, kind, asked, /, **change):
        return json.dumps({"type": kind, "challenge": asked, "origin": self.origin, "crossOrigin": False, **change},
                          separators=(",", ":")).encode()

    def data(self, rp_id, flags, more=b""):
        self.count += self.counts
        flags |= VERIFIED if self.verified else 0
        return hashlib.sha256(rp_id.encode()).digest() + struct.pack(">BI", flags, self.count) + more

    def create(self, options, fmt="none", rp_id=None, flags=PRESENT, statement=None, **change):
        """What the browser sends when a key was made; fmt "packed": signed by the key itself."""
        assert self.alg in options["algorithms"]
        assert options["attestation"] == "none"
        client = self.client_data("webauthn.create", options["challenge"], **change)
        data = self.data(rp_id or options["rp"]["id"], flags | HAS_KEY,
                         bytes(16) + struct.pack(">H", len(self.id)) + self.id + cbor(self.cose()))
        if statement is None:
            statement = {} if fmt == "none" else {
                "alg": self.alg, "sig": self.sign(data + hashlib.sha256(client).digest())}
        return {"id": b64(self.id), "client_data": b64(client),
                "attestation": b64(cbor({"fmt": fmt, "attStmt": statement, "authData": data}))}

    def get(self, options, rp_id=None, flags=PRESENT, **change):
        """What the browser sends when the key has signed."""
        assert b64(self.id) in options["allow"]
        client = self.client_data("webauthn.get", options["challenge"], **change)
        data = self.data(rp_id or options["rp_id"], flags)
        return {"id": b64(self.id), "client_data": b64(client), "authenticator_data": b64(data),
                "signature": b64(self.sign(data + hashlib.sha256(client).digest()))}

# SPDX-License-Identifier: Apache-2.0
"""Certificates for libvirt's own TLS (`qemu+tls://`) and for QEMU's migration stream, of a CA that lives with the lab."""
import os

from . import util

FOLDER = "pki"  # below /etc/libvirt of each host
# libvirt asks for a server's and for a client's use; names in the form of a real host and as address
EXTENSIONS = """basicConstraints=CA:FALSE
keyUsage=digitalSignature,keyEncipherment
extendedKeyUsage=serverAuth,clientAuth
subjectAltName=DNS:{name}.lab,IP:{address}
"""
# where libvirt's client looks for them
LINKS = {"/etc/pki/CA/cacert.pem": "cacert.pem", "/etc/pki/libvirt/clientcert.pem": "clientcert.pem",
         "/etc/pki/libvirt/private/clientkey.pem": "clientkey.pem"}


def make_ca(folder):
    os.makedirs(folder, mode=0o700, exist_ok=True)
    util.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=lab CA",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.pem")


def issue(folder, host, target):
    """One key pair (RSA: QEMU's TLS credentials take no other here) under the names that libvirt and QEMU look for."""
    make = f"{folder}/{host.name}"
    util.write(f"{make}.ext", EXTENSIONS.format(name=host.name, address=host.address))
    util.run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/O=lab/CN={host.name}.lab",
             "-keyout", f"{make}.key", "-out", f"{make}.csr")
    util.run("openssl", "x509", "-req", "-in", f"{make}.csr", "-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key",
             "-CAcreateserial", "-days", "30", "-extfile", f"{make}.ext", "-out", f"{make}.pem")
    ca, cert, key = (util.read(p) for p in (f"{folder}/ca.pem", f"{make}.pem", f"{make}.key"))
    for name, text in (("cacert.pem", ca), ("cert.pem", cert), ("key.pem", key), ("clientcert.pem", cert),
                       ("clientkey.pem", key), ("qemu/ca-cert.pem", ca), ("qemu/server-cert.pem", cert),
                       ("qemu/server-key.pem", key), ("qemu/client-cert.pem", cert), ("qemu/client-key.pem", key)):
        util.write(f"{target}/{name}", text, 0o600)

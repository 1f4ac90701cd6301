"""Certificates of an authority of the test's own, made by openssl."""

import shutil
import ssl
import subprocess

import pytest

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on the PATH")


class Certificates:
    """An authority of the test's own, a server's certificate for 127.0.0.1 and a client's, all in files."""

    def __init__(self, folder):
        folder.mkdir()
        self.ca, self._ca_key = folder / "ca.pem", folder / "ca.key"
        new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
        _openssl("req", "-x509", *new_key, "-keyout", self._ca_key, "-out", self.ca, "-subj", "/CN=Test authority")
        self.server, self.client = self.another(folder, "server"), self.another(folder, "client")

    def another(self, folder, name):
        """Make a certificate and its key, two files of a folder."""
        certificate, key, request = (folder / f"{name}.{ending}" for ending in ("pem", "key", "csr"))
        new_key = ("-newkey", "rsa:2048", "-nodes")
        _openssl("req", *new_key, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost")
        signing = (
            "-CA",
            self.ca,
            "-CAkey",
            self._ca_key,
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            folder / "names",
        )
        _openssl("x509", "-req", "-in", request, "-out", certificate, *signing)
        return certificate, key


def secured(server, certificates):
    """Have an HTTP server of the standard library speak TLS, and want a certificate of its authority from who calls."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificates.server)
    context.load_verify_locations(certificates.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)


def _openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

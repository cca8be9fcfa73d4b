# SPDX-License-Identifier: Apache-2.0
"""TLS and mutual TLS on all ports, with the unmodified tritonclient and raw connections. DULY names the program; the
program openssl makes the certificates."""

import json
import os
import pathlib
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from copy_models import make_input  # noqa: E402
from harness import Server, copy_model  # noqa: E402

WAIT = 30  # seconds, for what takes milliseconds
LARGE = np.arange(150528, dtype=np.float32)
folder = None


def run(*command):
    subprocess.run([str(part) for part in command], check=True, capture_output=True, timeout=WAIT)


def make_authority(name):
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
        f"/CN={name}", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem")


def make_certificate(name, authority):
    request, extensions = folder / f"{name}.csr", folder / f"{name}.ext"
    extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-keyout",
        folder / f"{name}.key", "-out", request)
    run("openssl", "x509", "-req", "-in", request, "-CA", folder / f"{authority}.pem", "-CAkey", folder / f"{authority}.key",
        "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out", folder / f"{name}.pem")


def setUpModule():
    global folder
    temporary = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(temporary.cleanup)
    folder = pathlib.Path(temporary.name)
    copy_model(folder / "models", "copy", [("FP32", [-1])])
    copy_model(folder / "models", "slow", [("FP32", [-1])], delay="100ms")
    make_authority("authority")
    make_authority("stranger")
    make_certificate("server", "authority")
    make_certificate("client", "authority")
    make_certificate("impostor", "stranger")


def serve(add_cleanup, *flags):
    server = Server(os.environ["DULY"], folder / "models", "--tls-cert", str(folder / "server.pem"), "--tls-key",
                    str(folder / "server.key"), *flags)
    server.__enter__()
    add_cleanup(server.__exit__, None, None, None)
    return server


def http_client(address, authority="authority", client=None):
    options = {"ca_certs": str(folder / f"{authority}.pem")}
    if client:
        options |= {"certfile": str(folder / f"{client}.pem"), "keyfile": str(folder / f"{client}.key")}
    return triton_http.InferenceServerClient(address, ssl=True, ssl_options=options)


def grpc_client(address, authority="authority", client=None):
    own = {"private_key": str(folder / f"{client}.key"), "certificate_chain": str(folder / f"{client}.pem")} if client else {}
    return triton_grpc.InferenceServerClient(address, ssl=True, root_certificates=str(folder / f"{authority}.pem"), **own)


def context(client=None):
    made = ssl.create_default_context(cafile=str(folder / "authority.pem"))
    if client:
        made.load_cert_chain(folder / f"{client}.pem", folder / f"{client}.key")
    return made


def connect(address, receive_bytes=None):
    host, port = address.rsplit(":", 1)
    raw = socket.socket()
    raw.settimeout(WAIT)
    if receive_bytes:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    raw.connect((host, int(port)))
    return raw


def get(address, target, client=None):
    with context(client).wrap_socket(connect(address), server_hostname="127.0.0.1") as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        return read_all(connection)


def read_all(connection):
    parts = []
    while part := connection.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def infer_request(model, values):
    head = json.dumps({"inputs": [{"name": "in0", "shape": [len(values)], "datatype": "FP32",
                                   "parameters": {"binary_data_size": values.nbytes}}],
                       "parameters": {"binary_data_output": True}}).encode()
    body = head + values.tobytes()
    return (f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n"
            f"Inference-Header-Content-Length: {len(head)}\r\n\r\n").encode() + body


class TlsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = serve(cls.addClassCleanup)

    def test_inference(self):
        for make, module, address in ((http_client, triton_http, self.server.url),
                                      (grpc_client, triton_grpc, self.server.grpc_url)):
            client = make(address)
            self.addCleanup(client.close)
            self.assertTrue(client.is_server_ready())
            for values in (LARGE[:2], LARGE, LARGE[:5000], np.tile(LARGE, 20)):
                result = client.infer("copy", [make_input(module, "in0", values)])
                np.testing.assert_array_equal(result.as_numpy("out0"), values)

    def test_metrics(self):
        self.assertIn(b"nv_inference_request_success", get(self.server.metrics_url, "/metrics"))

    def test_clients_can_tell_the_server_from_others(self):
        client = http_client(self.server.url, authority="stranger")
        self.addCleanup(client.close)
        with self.assertRaises(ssl.SSLError):
            client.is_server_live()
        with grpc_client(self.server.grpc_url, authority="stranger") as client:
            with self.assertRaises(InferenceServerException) as caught:
                client.is_server_live()
            self.assertEqual(caught.exception.status(), "StatusCode.UNAVAILABLE")

    def test_plain_bytes_get_nothing(self):
        for address in (self.server.url, self.server.metrics_url):
            with connect(address) as connection:
                connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: h\r\n\r\n")
                try:
                    self.assertNotIn(b"HTTP/1.1", read_all(connection))
                except ConnectionResetError:
                    pass

    def test_old_versions_are_refused(self):
        old = context()
        old.minimum_version = ssl.TLSVersion.TLSv1_1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with connect(self.server.url) as connection, self.assertRaises((ssl.SSLError, ConnectionResetError)):
            old.wrap_socket(connection, server_hostname="127.0.0.1")
        newer = context()
        newer.maximum_version = ssl.TLSVersion.TLSv1_2
        with newer.wrap_socket(connect(self.server.url), server_hostname="127.0.0.1") as connection:
            self.assertEqual(connection.version(), "TLSv1.2")
            connection.sendall(infer_request("copy", LARGE[:2]))
            self.assertTrue(connection.recv(1 << 16).startswith(b"HTTP/1.1 200"))

    def test_a_slow_reader_gets_every_byte(self):
        values = np.tile(LARGE, 14)  # more than the sockets between the two hold
        with context().wrap_socket(connect(self.server.url, 1 << 16), server_hostname="127.0.0.1") as connection:
            for _ in range(2):
                connection.sendall(infer_request("copy", values))
                received = bytearray()
                while not received.endswith(values[-1000:].tobytes()):
                    part = connection.recv(1 << 16)
                    self.assertTrue(part)
                    received += part
                self.assertTrue(received.startswith(b"HTTP/1.1 200"))
                self.assertEqual(received[-values.nbytes:], values.tobytes())

    def test_a_client_that_says_it_sends_no_more_gets_its_answer(self):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = context().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        with connect(self.server.url) as connection:
            def flush():
                if outgoing.pending:
                    connection.sendall(outgoing.read())

            def step(call):
                while True:
                    try:
                        result = call()
                        flush()
                        return result
                    except ssl.SSLWantReadError:
                        flush()
                        more = connection.recv(1 << 16)
                        if not more:
                            return b""
                        incoming.write(more)
            step(session.do_handshake)
            step(lambda: session.write(infer_request("slow", LARGE[:2])))
            with self.assertRaises(ssl.SSLWantReadError):
                session.unwrap()
            flush()
            connection.shutdown(socket.SHUT_WR)
            received = b""
            while part := step(lambda: session.read(1 << 16)):
                received += part
                if received.endswith(LARGE[:2].tobytes()):
                    break
        self.assertTrue(received.startswith(b"HTTP/1.1 200"), received)
        self.assertTrue(received.endswith(LARGE[:2].tobytes()))

    def test_clients_that_break_off_harm_nobody(self):
        for _ in range(20):
            raw = connect(self.server.url, 4096)
            connection = context().wrap_socket(raw, server_hostname="127.0.0.1")
            connection.sendall(infer_request("copy", LARGE))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()  # a reset, while the answer is written
            with connect(self.server.url) as half:
                half.sendall(b"\x16\x03\x01\x02\x00\x01")  # a handshake that stops
        client = http_client(self.server.url)
        self.addCleanup(client.close)
        self.assertTrue(client.is_server_ready())


class LoadTest(unittest.TestCase):
    def load(self, address, authority):
        return subprocess.run([os.environ["DULY"], "load", "--url", f"grpcs://{address}", "--tls-ca", str(folder / f"{authority}.pem"),
                               "--model", "copy", "--rate", "50", "--duration", "200ms", "--warmup", "0s", "--require", "on_time>=100%"],
                              capture_output=True, text=True, timeout=60)

    def test_grpc_is_encrypted(self):
        server = serve(self.addCleanup)
        done = self.load(server.grpc_url, "authority")
        self.assertEqual(done.returncode, 0, done.stderr)
        done = self.load(server.grpc_url, "stranger")
        self.assertEqual(done.returncode, 1)
        self.assertIn("--tls-ca", done.stderr)


class MutualTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = serve(cls.addClassCleanup, "--tls-client-ca", str(folder / "authority.pem"), "--host", "127.0.0.1")

    def test_clients_need_a_certificate_of_the_authority(self):
        for client in (None, "impostor"):
            for address in (self.server.url, self.server.metrics_url):
                with self.subTest(client=client, address=address):
                    with self.assertRaises((ssl.SSLError, ConnectionError)):
                        if get(address, "/metrics", client) == b"":
                            raise ConnectionError("ended without an answer")
            with grpc_client(self.server.grpc_url, client=client) as rejected:
                with self.assertRaises(InferenceServerException) as caught:
                    rejected.is_server_live()
                self.assertEqual(caught.exception.status(), "StatusCode.UNAVAILABLE")

    def test_those_with_one_are_served(self):
        self.assertIn(b"nv_inference_request_success", get(self.server.metrics_url, "/metrics", "client"))
        for make, module, address in ((http_client, triton_http, self.server.url),
                                      (grpc_client, triton_grpc, self.server.grpc_url)):
            client = make(address, client="client")
            self.addCleanup(client.close)
            result = client.infer("copy", [make_input(module, "in0", LARGE)])
            np.testing.assert_array_equal(result.as_numpy("out0"), LARGE)


class StartTest(unittest.TestCase):
    def serve(self, *flags):
        return subprocess.run([os.environ["DULY"], "serve", "--model-repository", str(folder / "models"), "--check",
                               *map(str, flags)], capture_output=True, text=True, timeout=WAIT, check=False)

    def test_faults_are_found_before_the_start(self):
        certificate, key = folder / "server.pem", folder / "server.key"
        (folder / "text.pem").write_text("no PEM\n")
        for words, *flags in (("--tls-key FILE", "--tls-cert", certificate), ("--tls-cert FILE", "--tls-key", key),
                              ("--tls-cert FILE", "--tls-client-ca", folder / "authority.pem"),
                              ("text.pem", "--tls-cert", folder / "text.pem", "--tls-key", key),
                              ("text.pem", "--tls-cert", certificate, "--tls-key", folder / "text.pem"),
                              ("client.key", "--tls-cert", certificate, "--tls-key", folder / "client.key"),
                              ("none.pem", "--tls-cert", folder / "none.pem", "--tls-key", key),
                              ("text.pem", "--tls-cert", certificate, "--tls-key", key, "--tls-client-ca",
                               folder / "text.pem")):
            run = self.serve(*flags)
            self.assertEqual(run.returncode, 2, (flags, run.stderr))
            self.assertIn(words, run.stderr)

    def test_other_machines_must_be_known_not_only_encrypted(self):
        own = ("--host", "0.0.0.0", "--tls-cert", folder / "server.pem", "--tls-key", folder / "server.key")
        run = self.serve(*own)
        self.assertEqual(run.returncode, 2, run.stderr)
        self.assertIn("--tls-client-ca", run.stderr)
        run = self.serve(*own, "--tls-client-ca", folder / "authority.pem")
        self.assertEqual(run.returncode, 0, run.stderr)


if __name__ == "__main__":
    unittest.main()

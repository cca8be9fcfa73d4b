# SPDX-License-Identifier: Apache-2.0
"""Clients that cost what they can: connections, headers, parameters, bodies without end, the wrong protocol. Time and
memory stay bounded, the answer says why, and others are served meanwhile. DULY names the program."""

import contextlib
import http.client
import json
import os
import pathlib
import resource
import socket
import sys
import tempfile
import threading
import time
import unittest

import grpc
import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.grpc import service_pb2, service_pb2_grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from copy_models import make_input  # noqa: E402
from harness import Server, copy_model  # noqa: E402

WAIT = 30  # seconds, for what takes less than one
SOON = 5  # seconds, for an answer while others misbehave
IDLE = 2000
FILES = 2 * IDLE + 500
VALUES = np.array([1, 2], np.float32)
# A sanitizer keeps what is freed, and takes its time.
SANITIZED = b"__asan_init" in pathlib.Path(os.environ["DULY"]).read_bytes()
MEMORY_FACTOR, CPU_FACTOR = (4, 10) if SANITIZED else (1, 1)
folder = None


def setUpModule():
    global folder
    temporary = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(temporary.cleanup)
    folder = pathlib.Path(temporary.name)
    copy_model(folder / "models", "copy", [("FP32", [-1])])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def request_bytes(target, body, headers=""):
    return f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def infer_body(**members):
    return {"inputs": [{"name": "in0", "datatype": "FP32", "shape": [1], "data": [1]}], **members}


class HostileCase(unittest.TestCase):
    flags = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(os.environ["DULY"], folder / "models", *cls.flags)
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)

    def connect(self, address=None):
        host, port = (address or self.server.url).rsplit(":", 1)
        connection = socket.create_connection((host, int(port)), timeout=WAIT)
        self.addCleanup(connection.close)
        return connection

    def send_until_answered(self, connection, pieces):
        """Sends until there is an answer, or the server reads no more. The answer's code and text."""
        connection.settimeout(WAIT)
        with contextlib.suppress(OSError):
            for piece in pieces:
                connection.sendall(piece)
        reply = http.client.HTTPResponse(connection)
        reply.begin()
        return reply.status, reply.read().decode()

    def post(self, target, body, headers=None):
        connection = http.client.HTTPConnection(self.server.url, timeout=WAIT)
        self.addCleanup(connection.close)
        connection.request("POST", target, body, headers or {})
        reply = connection.getresponse()
        return reply.status, reply.read().decode()

    def assert_serves_others(self):
        """A new client of each protocol, soon."""
        started = time.monotonic()
        for module, url in ((triton_http, self.server.url), (triton_grpc, self.server.grpc_url)):
            with module.InferenceServerClient(url) as client:
                result = client.infer("copy", [make_input(module, "in0", VALUES)])
                np.testing.assert_array_equal(result.as_numpy("out0"), VALUES)
        self.assertLess(time.monotonic() - started, SOON)

    @contextlib.contextmanager
    def bounded(self, megabytes, cpu_seconds):
        """What happens inside takes no more of the server."""
        self.assert_serves_others()  # what is allocated once is there
        before, cpu_before = self.server.reset_peak_memory(), self.server.cpu_seconds()
        yield
        self.assertLess(self.server.cpu_seconds() - cpu_before, CPU_FACTOR * cpu_seconds)
        self.assertLess(self.server.peak_memory() - before, MEMORY_FACTOR * megabytes << 20)
        self.assert_serves_others()


class IdleTest(HostileCase):
    """Started with few files, as many systems do; the process may have more."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server("prlimit", folder / "models")
        cls.server.command[:1] = ["prlimit", f"--nofile=256:{FILES}", os.environ["DULY"]]
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)

    def check_idle(self, address, first_bytes, kilobytes_each):
        self.assert_serves_others()
        before = self.server.memory()
        connections = [self.connect(address) for _ in range(IDLE)]
        for connection in connections:
            connection.sendall(first_bytes)
        self.assert_serves_others()
        each = (self.server.memory() - before) / IDLE
        print(f"{address}: {each / 1024:.1f} KiB for each idle connection")
        self.assertLess(each, MEMORY_FACTOR * kilobytes_each << 10)
        for connection in connections:
            connection.setblocking(False)
            with self.assertRaises(BlockingIOError):  # it is open, and says no more
                while connection.recv(65536):
                    pass
            connection.close()

    def test_http(self):
        self.check_idle(self.server.url, b"", 24)

    def test_unfinished_heads(self):
        self.check_idle(self.server.url, b"GET /v2", 24)

    def test_grpc(self):
        self.check_idle(self.server.grpc_url, b"", 96)


class HeaderTest(HostileCase):
    def test_very_many(self):
        with self.bounded(8, 1):
            code, text = self.send_until_answered(
                self.connect(), [b"GET /v2 HTTP/1.1\r\n", *(b"a%d: b\r\n" % i for i in range(100_000)), b"\r\n"])
        self.assertEqual(code, 431)
        self.assertIn("the header is larger than 65536 bytes", text)

    def test_very_long(self):
        for start, expected in ((b"GET /v2 HTTP/1.1\r\na: ", 431), (b"GET /", 414)):
            with self.bounded(8, 1):
                code, text = self.send_until_answered(self.connect(), [start, *[b"x" * (1 << 20)] * 100])
            self.assertEqual(code, expected)
            self.assertIn("is longer than 8192 bytes", text)

    def test_grpc_metadata(self):
        with grpc.insecure_channel(self.server.grpc_url) as channel, self.bounded(16, 4):
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            for metadata in ([("a", "x" * (4 << 20))], [(f"a{i}", "b") for i in range(100_000)]):
                with self.assertRaises(grpc.RpcError) as caught:
                    stub.ServerLive(service_pb2.ServerLiveRequest(), metadata=metadata, timeout=WAIT)
                self.assertIn(caught.exception.code(), (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE,
                                                        grpc.StatusCode.INTERNAL))


class SizeTest(HostileCase):
    def grpc_call(self, method, message, timeout=WAIT):
        options = [("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(self.server.grpc_url, options=options) as channel:
            call = channel.unary_unary(f"/inference.GRPCInferenceService/{method}",
                                       request_serializer=lambda raw: raw, response_deserializer=lambda raw: raw)
            with self.assertRaises(grpc.RpcError) as caught:
                call(message, timeout=timeout)
            return caught.exception.code(), caught.exception.details()

    def test_many_parameters_take_time_in_proportion(self):
        def cpu(count):
            body = json.dumps(infer_body(parameters={f"parameter_{i}": i for i in range(count)})).encode()
            before = self.server.cpu_seconds()
            for _ in range(5):
                self.assertEqual(self.post("/v2/models/copy/infer", body)[0], 200)
            return self.server.cpu_seconds() - before

        with self.bounded(64, 5):
            self.assertLess(cpu(40_000), CPU_FACTOR * 2)

    def test_many_parameters_over_grpc(self):
        request = service_pb2.ModelInferRequest(model_name="copy")
        request.inputs.add(name="in0", datatype="FP32", shape=[2])
        request.raw_input_contents.append(VALUES.tobytes())
        for i in range(40_000):
            request.parameters[f"parameter_{i}"].int64_param = i
        with grpc.insecure_channel(self.server.grpc_url) as channel, self.bounded(64, 5):
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            for _ in range(5):
                self.assertEqual(stub.ModelInfer(request, timeout=WAIT).raw_output_contents[0], VALUES.tobytes())

    def test_very_many_inputs(self):
        one = {"name": "in0", "datatype": "FP32", "shape": [1], "data": [1]}
        for inputs in ([one] * 100_000, [{**one, "name": f"in{i}"} for i in range(100_000)]):
            body = json.dumps({"inputs": inputs}).encode()
            with self.bounded(96, 2):
                code, text = self.post("/v2/models/copy/infer", body)
            self.assertEqual(code, 400)
            self.assertIn("input 'in", text)
        body = json.dumps(infer_body(outputs=[{"name": "out0"}] * 100_000)).encode()
        with self.bounded(64, 2):
            self.assertEqual(self.post("/v2/models/copy/infer", body)[0], 400)

    def test_very_many_inputs_over_grpc(self):
        request = service_pb2.ModelInferRequest(model_name="copy")
        for i in range(100_000):
            request.inputs.add(name=f"in{i}", datatype="FP32", shape=[1])
        with self.bounded(128, 2):
            code, text = self.grpc_call("ModelInfer", request.SerializeToString())
        self.assertEqual(code, grpc.StatusCode.INVALID_ARGUMENT)
        self.assertIn("input 'in", text)

    def test_messages_that_are_larger_in_memory(self):
        # Two bytes each: an empty input, an empty tensor, an empty element of BYTES within an input's contents.
        elements = b"\x42\x00" * (24 << 20)

        def field(number, value):
            length, size = b"", len(value)
            while size > 0x7F:
                length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
            return bytes([number << 3 | 2]) + length + bytes([size]) + value

        for message in (b"\x2a\x00" * (24 << 20), b"\x3a\x00" * (24 << 20), field(5, field(5, elements))):
            with self.bounded(400, 5):
                code, text = self.grpc_call("ModelInfer", message)
            self.assertEqual(code, grpc.StatusCode.RESOURCE_EXHAUSTED)
            self.assertIn("the message would take more than", text)

    def test_deep_nesting(self):
        deep = "[" * 100_000
        for body in (deep, deep + "]" * 100_000, '{"a":' * 100_000, '{"inputs":' + deep, f'{{"x":{deep}}}',
                     f'{{"inputs":[{{"name":"in0","datatype":"FP32","shape":[1],"data":{deep}}}]}}',
                     f'{{"inputs":[{{"name":"in0","datatype":"FP32","shape":[1],"parameters":{deep}}}]}}',
                     f'{{"parameters":{{"a":{deep}}}}}'):
            for target in ("/v2/models/copy/infer", "/v2/repository/index", "/v2/repository/models/copy/load",
                           "/v2/repository/models/copy/unload", "/v2/logging",
                           "/v2/systemsharedmemory/region/r/register"):
                with self.subTest(target=target, body=body[:20]):
                    code, text = self.post(target, body)
                    self.assertIn(code, (400, 501), text)
        self.assert_serves_others()

    def test_json_that_is_larger_in_memory(self):
        for body in (b'{"a":[' + b"[]," * (16 << 20) + b"0]}", b'{"a":[' + b"1," * (24 << 20) + b"0]}"):
            for target in ("/v2/repository/index", "/v2/repository/models/copy/load", "/v2/logging"):
                with self.subTest(target=target), self.bounded(200, 20):
                    code, text = self.post(target, body)
                    self.assertEqual(code, 400, text)
                    self.assertIn("more than", text)


class EndlessTest(HostileCase):
    flags = ("--http-max-input-size", "1MiB", "--http-input-memory", "32MiB")

    def test_chunks_without_end(self):
        head = b"POST /v2/models/copy/infer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        for chunk in (b"10000\r\n" + b"x" * 65536 + b"\r\n", b"1\r\nx\r\n" * 10_000):
            with self.bounded(16, 3):
                code, text = self.send_until_answered(self.connect(), [head, *[chunk] * 500])
            self.assertEqual(code, 413)
            self.assertIn("larger than", text)

    def test_trailers_without_end(self):
        head = b"POST /v2/models/copy/infer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        with self.bounded(16, 3):
            code, _ = self.send_until_answered(self.connect(), [head, *[b"a: b\r\n" * 10_000] * 100])
        self.assertIn(code, (400, 431))

    def test_a_message_without_end(self):
        options = [("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(self.server.grpc_url, options=options) as channel, self.bounded(64, 3):
            call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer",
                                       request_serializer=lambda raw: raw, response_deserializer=lambda raw: raw)
            with self.assertRaises(grpc.RpcError) as caught:
                call(bytes(256 << 20), timeout=WAIT)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)

    def test_a_stream_that_reads_no_answer(self):
        request = service_pb2.ModelInferRequest(model_name="copy")
        request.inputs.add(name="in0", datatype="FP32", shape=[1 << 16])
        request.raw_input_contents.append(bytes(4 << 16))
        stop = threading.Event()

        def requests():
            while not stop.is_set():
                yield request

        with grpc.insecure_channel(self.server.grpc_url) as channel, self.bounded(400, WAIT):
            stream = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(requests(), timeout=3)
            with self.assertRaises(grpc.RpcError) as caught:
                threading.Event().wait(2)
                while True:
                    next(stream)
            stop.set()
            self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)


class SlowTest(HostileCase):
    def test_slow_writers_hold_up_nobody(self):
        body = json.dumps(infer_body()).encode()
        message = request_bytes("/v2/models/copy/infer", body)
        connections = [self.connect() for _ in range(50)]
        for connection in connections:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(message)):
            for connection in connections:
                connection.sendall(message[at:at + 1])
            if at % 40 == 0:
                self.assert_serves_others()
        for connection in connections:
            code, text = self.send_until_answered(connection, [])
            self.assertEqual(code, 200, text)


class WrongProtocolTest(HostileCase):
    PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"

    def test_http2_on_the_http_port(self):
        for address in (self.server.url, self.server.metrics_url):
            connection = self.connect(address)
            code, text = self.send_until_answered(connection, [self.PREFACE])
            self.assertEqual(code, 505)
            self.assertIn("HTTP/1.1", text)
            connection.shutdown(socket.SHUT_WR)
            self.assertEqual(connection.recv(1), b"")

    def test_a_grpc_client_on_the_http_port(self):
        with grpc.insecure_channel(self.server.url) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            with self.assertRaises(grpc.RpcError) as caught:
                stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=WAIT)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)

    def test_http1_on_the_grpc_port(self):
        for message in (b"GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n", request_bytes("/v2/models/copy/infer", b"{}"),
                        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\n" * 100):
            connection = self.connect(self.server.grpc_url)
            connection.sendall(message)
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(65536):
                    pass
        self.assert_serves_others()

    def test_upgrades_are_not_taken(self):
        connection = self.connect()
        code, _ = self.send_until_answered(connection, [
            b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"])
        self.assertEqual(code, 200)


if __name__ == "__main__":
    unittest.main()

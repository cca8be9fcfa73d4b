# SPDX-License-Identifier: Apache-2.0
"""Tokens, their scopes and the refusal to be open by accident, with the unmodified tritonclient and raw requests. DULY
names the program."""

import contextlib
import hashlib
import http.client
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import unittest

import grpc
import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tritonclient.utils import InferenceServerException

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from copy_models import make_input  # noqa: E402
from harness import Server, copy_model  # noqa: E402

WAIT = 30  # seconds, for what takes milliseconds
VALUES = np.array([1, 2], np.float32)
SCOPES = {"camera": "infer", "dashboard": "read", "operator": "control"}
server = None
folder = None


def setUpModule():
    global server, folder
    temporary = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(temporary.cleanup)
    folder = pathlib.Path(temporary.name)
    copy_model(folder / "models", "copy", [("FP32", [-1])])
    lines = [f"  - {{name: {name}, sha256: {hashlib.sha256(name.encode()).hexdigest()}, scopes: [{scope}]}}\n"
             for name, scope in SCOPES.items()]
    lines.append(f"  - {{name: meter, sha256: {hashlib.sha256(b'meter').hexdigest()}, scopes: [infer], "
                 "max_rate: 2/min}\n")
    lines.append(f"  - {{name: loader, sha256: {hashlib.sha256(b'loader').hexdigest()}, scopes: [infer, read]}}\n")
    (folder / "tokens.yaml").write_text("tokens:\n" + "".join(lines))
    server = Server(os.environ["DULY"], folder / "models", "--tokens", str(folder / "tokens.yaml"),
                    "--model-control-mode", "explicit", "--load-model", "copy", "--allow-client-shm")
    server.__enter__()
    unittest.addModuleCleanup(server.__exit__, None, None, None)


def bearer(token):
    return {"authorization": f"Bearer {token}"} if token else {}


class ClientCases:
    """For both protocols; a call takes the headers that carry the token."""

    def calls(self):
        values = make_input(self.module, "in0", VALUES)
        return {
            "infer": [lambda headers: self.client.infer("copy", [values], headers=headers),
                      lambda headers: self.client.get_system_shared_memory_status(headers=headers)],
            "read": [lambda headers: self.client.get_server_metadata(headers=headers),
                     lambda headers: self.client.is_model_ready("copy", headers=headers),
                     lambda headers: self.client.get_model_metadata("copy", headers=headers),
                     lambda headers: self.client.get_model_config("copy", headers=headers),
                     lambda headers: self.client.get_inference_statistics("copy", headers=headers),
                     lambda headers: self.client.get_model_repository_index(headers=headers)],
            "control": [lambda headers: self.client.load_model("copy", headers=headers),
                        lambda headers: self.client.get_log_settings(headers=headers),
                        lambda headers: self.client.get_trace_settings("copy", headers=headers),
                        lambda headers: self.client.update_trace_settings(settings={"trace_rate": "7"},
                                                                          headers=headers)],
        }

    def test_health_is_open(self):
        self.assertTrue(self.client.is_server_live())
        self.assertTrue(self.client.is_server_ready())

    def test_a_token_opens_its_scope_only(self):
        for scope, calls in self.calls().items():
            for index, call in enumerate(calls):
                for token, granted in SCOPES.items():
                    with self.subTest(scope=scope, call=index, token=token):
                        if granted == scope:
                            self.assertIsNot(call(bearer(token)), False)
                        else:
                            self.assert_refused(self.forbidden, f"lacks the scope '{scope}'", call, token)

    def test_a_rate_is_kept_over_both_protocols(self):
        values = make_input(self.module, "in0", VALUES)
        refused = []
        for _ in range(2):
            try:
                self.client.infer("copy", [values], headers=bearer("meter"))
            except InferenceServerException as error:
                refused.append((error.status(), error.message()))
        self.assertTrue(refused)
        for status, message in refused:
            self.assertEqual(status, self.too_many)
            self.assertIn("more than", message)

    def test_nothing_opens_without_a_known_token(self):
        for scope, calls in self.calls().items():
            for index, call in enumerate(calls):
                with self.subTest(scope=scope, call=index):
                    self.assert_refused(self.unknown, "needs a token", call, None)
                    self.assert_refused(self.unknown, "the token is not known", call, "nobody")


class HttpTest(ClientCases, unittest.TestCase):
    module = triton_http
    unknown, forbidden, too_many = "401", "403", "429"

    def setUp(self):
        self.client = triton_http.InferenceServerClient(server.url)
        self.addCleanup(self.client.close)

    def assert_refused(self, code, words, call, token):
        try:
            result = call(bearer(token))
        except InferenceServerException as error:
            self.assertEqual(error.status(), code)
            self.assertIn(words, error.message())
        else:
            self.assertIs(result, False)  # how it says that a model is not ready

    def request(self, address, method, target, headers):
        connection = http.client.HTTPConnection(address, timeout=WAIT)
        self.addCleanup(connection.close)
        connection.putrequest(method, target)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse()

    def test_codes_and_challenge(self):
        for address in (server.url, server.metrics_url):
            reply = self.request(address, "GET", "/metrics", {})
            self.assertEqual(reply.status, 401)
            self.assertEqual(reply.headers["WWW-Authenticate"], "Bearer")
            self.assertEqual(self.request(address, "GET", "/metrics", bearer("camera")).status, 403)
            reply = self.request(address, "GET", "/metrics", bearer("dashboard"))
            self.assertEqual(reply.status, 200)
            self.assertIn(b"nv_inference_request_success", reply.read())

    def test_the_answer_does_not_wait_for_the_body(self):
        for token, code in ((None, 401), ("nobody", 401), ("dashboard", 403)):
            headers = {"Content-Length": str(60 << 20), **bearer(token)}
            self.assertEqual(self.request(server.url, "POST", "/v2/models/copy/infer", headers).status, code)


class GrpcTest(ClientCases, unittest.TestCase):
    module = triton_grpc
    unknown, forbidden = "StatusCode.UNAUTHENTICATED", "StatusCode.PERMISSION_DENIED"
    too_many = "StatusCode.RESOURCE_EXHAUSTED"

    def setUp(self):
        self.client = triton_grpc.InferenceServerClient(server.grpc_url)
        self.addCleanup(self.client.close)
        self.channel = grpc.insecure_channel(server.grpc_url)
        self.addCleanup(self.channel.close)

    def assert_refused(self, code, words, call, token):
        with self.assertRaises(InferenceServerException) as caught:
            call(bearer(token))
        self.assertEqual(caught.exception.status(), code)
        self.assertIn(words, caught.exception.message())

    def stream(self, token):
        """What a stream with one request brings: an answer or an error."""
        answers = queue.Queue()
        with triton_grpc.InferenceServerClient(server.grpc_url) as client:
            client.start_stream(lambda result, error: answers.put((result, error)), headers=bearer(token))
            # It raises when the refusal was there first.
            with contextlib.suppress(InferenceServerException):
                client.async_stream_infer("copy", [make_input(triton_grpc, "in0", VALUES)])
            return answers.get(timeout=WAIT)

    def test_streams(self):
        result, error = self.stream("camera")
        self.assertIsNone(error)
        np.testing.assert_array_equal(result.as_numpy("out0"), VALUES)
        for token, code in ((None, self.unknown), ("nobody", self.unknown), ("operator", self.forbidden)):
            result, error = self.stream(token)
            self.assertIsNone(result)
            self.assertEqual(error.status(), code)

    def test_health_service_is_open(self):
        reply = health_pb2_grpc.HealthStub(self.channel).Check(health_pb2.HealthCheckRequest(), timeout=WAIT)
        self.assertEqual(reply.status, health_pb2.HealthCheckResponse.SERVING)

    def reflect(self, token):
        stub = reflection_pb2_grpc.ServerReflectionStub(self.channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        return list(stub.ServerReflectionInfo(iter([request]), metadata=list(bearer(token).items()), timeout=WAIT))

    def test_reflection_needs_read(self):
        names = [service.name for service in self.reflect("dashboard")[0].list_services_response.service]
        self.assertIn("inference.GRPCInferenceService", names)
        for token, code in ((None, grpc.StatusCode.UNAUTHENTICATED), ("nobody", grpc.StatusCode.UNAUTHENTICATED),
                            ("camera", grpc.StatusCode.PERMISSION_DENIED)):
            with self.assertRaises(grpc.RpcError) as caught:
                self.reflect(token)
            self.assertEqual(caught.exception.code(), code)


class LoadTest(unittest.TestCase):
    def load(self, url, token):
        (folder / "token").write_text(f"{token}\n")
        return subprocess.run([os.environ["DULY"], "load", "--url", url, "--model", "copy", "--rate", "50", "--duration", "200ms",
                               "--warmup", "0s", "--require", "on_time>=100%", "--token-file", str(folder / "token")],
                              capture_output=True, text=True, timeout=WAIT)

    def test_it_shows_its_token(self):
        for url in (f"http://{server.url}", f"grpc://{server.grpc_url}"):
            done = self.load(url, "loader")
            self.assertEqual(done.returncode, 0, done.stderr)
            done = self.load(url, "nobody")
            self.assertEqual(done.returncode, 1)
            self.assertIn("token", done.stderr)

    def test_a_file_without_a_token_is_a_fault(self):
        for text in ("", "two words", "\x00"):
            done = self.load(f"http://{server.url}", text)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn("--token-file: it holds something else: expected one line with a token", done.stderr)


class StartTest(unittest.TestCase):
    def serve(self, *flags):
        return subprocess.run(
            [os.environ["DULY"], "serve", "--model-repository", str(folder / "models"), "--check", *flags],
            capture_output=True, text=True, timeout=WAIT, check=False)

    def test_refuses_to_be_open_by_accident(self):
        for host in ("0.0.0.0", "::", "192.0.2.1", "example.invalid"):
            run = self.serve("--host", host)
            self.assertEqual(run.returncode, 2, run.stderr)
            self.assertIn(f"--host {host}", run.stderr)
            for way in ("--tokens", "127.0.0.1", "--insecure"):
                self.assertIn(way, run.stderr)

    def test_the_ways_out(self):
        for flags in (["--host", "0.0.0.0", "--insecure"], ["--host", "::1"], ["--host", "localhost"],
                      ["--host", "127.1.2.3"], ["--host", "0.0.0.0", "--tokens", str(folder / "tokens.yaml")]):
            run = self.serve(*flags)
            self.assertEqual(run.returncode, 0, run.stderr)

    def test_the_refusal_does_not_need_check(self):
        run = subprocess.run([os.environ["DULY"], "serve", "--model-repository", str(folder / "models"), "--host",
                              "0.0.0.0"], capture_output=True, text=True, timeout=WAIT, check=False)
        self.assertEqual(run.returncode, 2, run.stderr)

    def test_faults_of_the_file_have_their_places(self):
        bad = folder / "bad.yaml"
        bad.write_text("tokens:\n  - {name: a, sha256: abc, scopes: [infer, write]}\nmore: 1\n")
        run = self.serve("--tokens", str(bad))
        self.assertEqual(run.returncode, 2)
        for place in ("2:23: ", "2:44: ", "3:1: "):
            self.assertIn(f"{bad}:{place}", run.stderr)
        self.assertEqual(self.serve("--tokens", str(folder / "none.yaml")).returncode, 2)


if __name__ == "__main__":
    unittest.main()

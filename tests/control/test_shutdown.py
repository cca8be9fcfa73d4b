# SPDX-License-Identifier: Apache-2.0
"""SIGTERM while requests of both protocols wait and run: every accepted one is answered. DULY names the program."""

import os
import pathlib
import queue
import signal
import sys
import tempfile
import unittest

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from copy_models import make_input  # noqa: E402
from harness import STOP_SECONDS, Server, copy_model  # noqa: E402

EACH = 8  # requests per protocol
WAIT = 30  # seconds, for what takes about four


class ShutdownTest(unittest.TestCase):
    def test_answers_what_it_accepted_and_refuses_the_rest(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        copy_model(folder.name, "slow", [("FP32", [1])], delay="300ms")
        server = Server(os.environ["DULY"], folder.name)
        server.__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        http_client = http.InferenceServerClient(server.url, concurrency=EACH)
        grpc_client = grpc.InferenceServerClient(server.grpc_url)
        stream_client = grpc.InferenceServerClient(server.grpc_url)
        # The stream ends behind its last answer, which may be before the last one of the other calls.
        unary, streamed = queue.Queue(), queue.Queue()
        stream_client.start_stream(lambda result, error: streamed.put((result, error)))

        def values(i):
            return np.array([i], np.float32)

        by_http = [http_client.async_infer("slow", [make_input(http, "in0", values(i))]) for i in range(EACH)]
        for i in range(EACH):
            tensor = make_input(grpc, "in0", values(i))
            grpc_client.async_infer("slow", [tensor], lambda result, error: unary.put((result, error)))
            stream_client.async_stream_infer("slow", [tensor])
        server.await_live("slow", 3 * EACH)
        os.kill(server.process.pid, signal.SIGTERM)

        answers = [call.get_result(timeout=WAIT).as_numpy("out0")[0] for call in by_http]
        for results in (unary, streamed):
            for _ in range(EACH):
                result, error = results.get(timeout=WAIT)
                self.assertIsNone(error, error)
                answers.append(result.as_numpy("out0")[0])
        self.assertEqual(sorted(answers), sorted(3 * list(range(EACH))))
        self.assertEqual(server.process.wait(STOP_SECONDS), 0)
        with self.assertRaises((InferenceServerException, OSError)):
            http.InferenceServerClient(server.url).is_server_live()
        # Whatever the end of the stream tells, it is told after the answers.
        stream_client.stop_stream(cancel_requests=True)
        grpc_client.close()
        http_client.close()


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: Apache-2.0
"""Patience, promise and the end of a server, seen by a client. DULY names the program."""

import http.client
import json
import os
import pathlib
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import Server, copy_model  # noqa: E402

SERVICE_S = 0.3
LIMIT_US = 20000


def infer(url, model, parameters):
    """Status, headers, body and seconds of one request on a connection of its own."""
    connection = http.client.HTTPConnection(url, timeout=20)
    body = json.dumps({"parameters": parameters,
                       "inputs": [{"name": "in0", "datatype": "FP32", "shape": [1], "data": [1.5]}]})
    connection.connect()
    begin = time.monotonic()
    connection.request("POST", f"/v2/models/{model}/infer", body)
    response = connection.getresponse()
    answer = json.loads(response.read())
    elapsed = time.monotonic() - begin
    connection.close()
    return response.status, response.headers, answer, elapsed


class OneSlot(unittest.TestCase):
    """One device with one slot, and a model that holds it for 300 ms."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        repository = pathlib.Path(self.folder.name) / "models"
        repository.mkdir()
        copy_model(repository, "slow", [("FP32", [1])], delay="300ms")
        config = pathlib.Path(self.folder.name) / "node.yaml"
        config.write_text("devices: [{name: cpu, kind: cpu, slots: 1, threads: 1}]\n")
        self.server = Server(os.environ["DULY"], repository, "--config", str(config))

    def together(self, count, parameters):
        """That many requests, each sent when the one before it is under way."""
        results = [None] * count

        def send(index):
            results[index] = infer(self.server.url, "slow", parameters)

        threads = [threading.Thread(target=send, args=(index,)) for index in range(count)]
        for thread in threads:
            thread.start()
            time.sleep(LIMIT_US / 1e6)
        for thread in threads:
            thread.join()
        return results

    def test_patience_ends_at_its_instant_not_with_the_running_batch(self):
        with self.server:
            first, *others = self.together(4, {"timeout": LIMIT_US})
            self.assertEqual(first[0], 200)
            for status, _, answer, elapsed in others:
                self.assertEqual(status, 504)
                self.assertIn("error", answer)
                self.assertGreaterEqual(elapsed, LIMIT_US / 1e6)
                # The running batch ends 240 ms after the arrival at the earliest.
                self.assertLess(elapsed, 0.2)

    def test_a_promise_that_cannot_be_kept_is_refused_at_once(self):
        with self.server:
            for status, headers, answer, elapsed in self.together(2, {"slo_us": LIMIT_US}):
                self.assertEqual(status, 503)
                self.assertGreaterEqual(int(headers["Retry-After"]), 1)
                self.assertIn("error", answer)
                self.assertLess(elapsed, SERVICE_S / 2)

    def test_sigterm_answers_what_was_accepted_and_exits_with_0(self):
        with self.server:
            results = []
            threads = [threading.Thread(target=lambda: results.append(infer(self.server.url, "slow", {})))
                       for _ in range(3)]
            for thread in threads:
                thread.start()
            stats = http.client.HTTPConnection(self.server.url, timeout=20)
            while True:
                stats.request("GET", "/metrics")
                text = stats.getresponse().read().decode()
                pending = [line for line in text.splitlines() if line.startswith("nv_inference_pending_request_count{")]
                if pending and float(pending[0].split()[-1]) >= 2:
                    break
            stats.close()
            self.assertEqual(self.server.stop(), 0)
            for thread in threads:
                thread.join()
            self.assertEqual([result[0] for result in results], [200, 200, 200])


if __name__ == "__main__":
    unittest.main()

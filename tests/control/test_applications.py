# SPDX-License-Identifier: Apache-2.0
"""Applications that come and go while `duly serve` runs: admission by prediction, requests under the accepted promise, and hot
spots, over HTTP. DULY names the program."""

import hashlib
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

ROUTE = "/v2/duly/applications"
NODE = """
devices:
  - {name: board, kind: emulated, profile: board.yaml}
applications:
  - {name: fixed, model: slow, slo: 500ms, rate: 5/s}
"""
BOARD = """
variants:
  - {model: slow, variant: default, device: "*", points: [{rows: 1, mean: 20ms}]}
  - {model: fast, variant: default, device: "*", points: [{rows: 1, mean: 5ms}]}
"""
INPUT = {"inputs": [{"name": "in0", "shape": [1], "datatype": "FP32", "data": [1]}]}


class Applications(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        folder = pathlib.Path(temporary.name)
        for name in ("slow", "fast"):
            copy_model(folder / "models", name, [("FP32", [-1])])
        (folder / "node.yaml").write_text(NODE)
        (folder / "board.yaml").write_text(BOARD)
        self.folder = folder

    def serve(self, *flags):
        server = Server(os.environ["DULY"], self.folder / "models", "--config", str(self.folder / "node.yaml"), *flags)
        server.__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        return server

    @staticmethod
    def call(server, method, target, body=None, token=None):
        connection = http.client.HTTPConnection(server.url, timeout=30)
        headers = {"authorization": f"Bearer {token}"} if token else {}
        connection.request(method, target, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        return response.status, json.loads(text) if text else None

    def ask(self, server, name, model, rate, slo, **more):
        return self.call(server, "POST", ROUTE, {"name": name, "model": model, "rate_per_s": rate, "slo_ms": slo, **more})

    def infer(self, server, model, application):
        return self.call(server, "POST", f"/v2/models/{model}/infer",
                         {**INPUT, "parameters": {"application": application, "duly_report": True}})

    def test_admission(self):
        server = self.serve()
        status, listed = self.call(server, "GET", ROUTE)
        self.assertEqual(status, 200)
        (fixed,) = listed["applications"]
        self.assertEqual((fixed["name"], fixed["declared"], fixed["device"]), ("fixed", True, "board"))
        self.assertAlmostEqual(fixed["utilization"], 0.1)

        self.assertEqual(self.infer(server, "fast", "shop")[0], 400)
        status, shop = self.ask(server, "shop", "fast", 20, 100)
        self.assertEqual((status, shop["accepted"], shop["slo_of"]), (200, True, "p95"))
        self.assertAlmostEqual(shop["utilization"], 0.2)
        predicted = shop["predicted"]
        self.assertTrue(5 < predicted["mean_ms"] < predicted["p95_ms"] < predicted["p99_ms"] < 100, predicted)
        status, answer = self.infer(server, "fast", "shop")
        self.assertEqual((status, answer["parameters"]["outcome"]), (200, "on_time"))

        status, refused = self.ask(server, "hasty", "slow", 5, 15)
        self.assertEqual((status, refused["constraint"], refused["application"]), (409, "latency", "hasty"))
        status, refused = self.ask(server, "heavy", "slow", 40, 1000)
        self.assertEqual((status, refused["constraint"], refused["bound"]), (409, "utilization", 0.8))
        self.assertIn("heavy", refused["error"])
        self.assertEqual(self.ask(server, "shop", "fast", 1, 100)[0], 409)
        self.assertEqual(self.ask(server, "lost", "none", 1, 100)[0], 404)
        status, wrong = self.ask(server, "wrong", "fast", "many", 100)
        self.assertEqual(status, 400)
        self.assertIn("'rate_per_s'", wrong["error"])

        self.assertEqual(self.call(server, "DELETE", f"{ROUTE}/fixed")[0], 400)
        self.assertEqual(self.call(server, "DELETE", f"{ROUTE}/shop")[0], 200)
        self.assertEqual(self.call(server, "DELETE", f"{ROUTE}/shop")[0], 404)
        self.assertEqual(self.call(server, "POST", f"{ROUTE}/shop", {})[0], 405)
        self.assertEqual(self.infer(server, "fast", "shop")[0], 400)
        self.assertEqual([a["name"] for a in self.call(server, "GET", ROUTE)[1]["applications"]], ["fixed"])

    def metrics(self, server):
        connection = http.client.HTTPConnection(server.metrics_url, timeout=30)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return text

    def test_the_accepted_promise_holds_at_once(self):
        server = self.serve()
        self.assertEqual(self.ask(server, "quick", "fast", 1, 150)[0], 200)
        others = [threading.Thread(target=self.infer, args=(server, "slow", "fixed")) for _ in range(15)]
        for other in others:
            other.start()
        end = time.monotonic() + 30
        # Ten or more wait: 200 ms of work.
        while 'nv_inference_pending_request_count{model="slow",version="1"} 1' not in self.metrics(server):
            self.assertLess(time.monotonic(), end)
        # In their order it would come too late; by its promise it is next.
        status, answer = self.infer(server, "fast", "quick")
        self.assertEqual((status, answer["parameters"]["outcome"]), (200, "on_time"))
        for other in others:
            other.join()

    def test_scopes(self):
        scopes = {"camera": "infer", "dashboard": "read", "operator": "control"}
        lines = [f"  - {{name: {name}, sha256: {hashlib.sha256(name.encode()).hexdigest()}, scopes: [{scope}]}}\n"
                 for name, scope in scopes.items()]
        (self.folder / "tokens.yaml").write_text("tokens:\n" + "".join(lines))
        server = self.serve("--tokens", str(self.folder / "tokens.yaml"))
        body = {"name": "a", "model": "fast", "rate_per_s": 1, "slo_ms": 100}
        for method, target, allowed in (("GET", ROUTE, "dashboard"), ("POST", ROUTE, "operator"),
                                        ("DELETE", f"{ROUTE}/a", "operator")):
            self.assertEqual(self.call(server, method, target, body)[0], 401)
            for name in scopes:
                expected = 200 if name == allowed else 403
                self.assertEqual(self.call(server, method, target, body, name)[0], expected, (method, name))

    def test_metrics_name_it(self):
        server = self.serve()
        self.assertEqual(self.ask(server, "shop", "fast", 20, 100)[0], 200)
        text = self.metrics(server)
        self.assertIn('duly_hot_application{application="shop"} 0', text)
        self.assertIn('duly_hot_spots_total{application="shop"} 0', text)
        self.assertIn('duly_requests_total{application="shop",outcome="on_time"} 0', text)


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: Apache-2.0
"""Answers from the response cache, by the unmodified tritonclient over both protocols. DULY names the program."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import urllib.request

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.http as http

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))
from copy_models import make_input  # noqa: E402
from harness import Server, copy_model  # noqa: E402

MIB = "local,size=1MiB"
SECONDS = 60


class ResponseCacheTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.repository = pathlib.Path(folder.name)
        for name in ("kept", "plain"):
            copy_model(self.repository, name, [("FP32", [-1])], max_rows=4)
        with open(self.repository / "kept" / "config.pbtxt", "a") as config:
            config.write("response_cache { enable: true }\n")

    def serve(self, *flags):
        self.server = self.enterContext(Server(os.environ["DULY"], self.repository, "--model-control-mode", "explicit",
                                               "--load-model", "*", *flags))
        self.grpc = self.enterContext(grpc.InferenceServerClient(self.server.grpc_url))
        self.http = self.enterContext(http.InferenceServerClient(self.server.url))

    def infer(self, values, client=None, model="kept"):
        """Whether the answer, which is checked, came from the cache."""
        module = http if client is self.http else grpc
        values = np.asarray(values, dtype=np.float32)
        result = (client or self.grpc).infer(model, [make_input(module, "in0", values)], parameters={"duly_report": True})
        np.testing.assert_array_equal(result.as_numpy("out0"), values)
        response = result.get_response()
        return "cached" in (response["parameters"] if module is http else response.parameters)

    def counts(self, model="kept"):
        """Of both protocols: hits, misses, answers, rows computed."""
        stats = self.http.get_inference_statistics(model)["model_stats"][0]
        inference = stats["inference_stats"]
        found = [int(inference[name]["count"]) for name in ("cache_hit", "cache_miss", "success")]
        message = self.grpc.get_inference_statistics(model).model_stats[0]
        self.assertEqual(found, [message.inference_stats.cache_hit.count, message.inference_stats.cache_miss.count,
                                 message.inference_stats.success.count])
        return (*found, int(stats["inference_count"]))

    def test_hits_follow_misses_over_both_protocols(self):
        self.serve("--cache-config", MIB)
        self.assertFalse(self.infer([[1, 2]]))
        self.assertTrue(self.infer([[1, 2]]))
        self.assertTrue(self.infer([[1, 2]], self.http))
        self.assertFalse(self.infer([[1, 3]]))
        self.assertFalse(self.infer([[1], [2]]), "the same bytes in another shape")
        self.assertEqual(self.counts(), (2, 3, 5, 4))
        self.assertFalse(self.infer([[1, 2]], model="plain"))
        self.assertFalse(self.infer([[1, 2]], model="plain"))
        self.assertEqual(self.counts("plain"), (0, 0, 2, 2))
        self.assertEqual(self.http.get_model_config("kept")["response_cache"], {"enable": True})
        with urllib.request.urlopen(f"http://{self.server.metrics_url}/metrics") as reply:
            metrics = reply.read().decode()
        for line in ("nv_cache_num_hits_per_model{model=\"kept\",version=\"1\"} 2",
                     "nv_cache_num_misses_per_model{model=\"kept\",version=\"1\"} 3",
                     "nv_inference_request_success{model=\"kept\",version=\"1\"} 5",
                     "nv_inference_count{model=\"kept\",version=\"1\"} 4",
                     "duly_requests_total{application=\"kept\",outcome=\"on_time\"} 5"):
            self.assertIn(line, metrics)
        self.assertIn("nv_cache_hit_duration_per_model{model=\"kept\"", metrics)
        self.assertIn("nv_cache_miss_duration_per_model{model=\"kept\"", metrics)
        self.assertNotIn("nv_cache_num_hits_per_model{model=\"plain\"", metrics)

    def test_a_reload_forgets(self):
        self.serve("--cache-config", MIB)
        self.infer([[1, 2]])
        self.assertTrue(self.infer([[1, 2]]))
        self.grpc.load_model("kept")
        self.assertFalse(self.infer([[1, 2]]))
        self.assertTrue(self.infer([[1, 2]]))

    def test_the_longest_unused_gives_way(self):
        self.serve("--cache-config", "local,size=4KiB")  # three answers of 800 bytes
        rows = [np.full((1, 200), value) for value in range(4)]
        for row in rows[:3]:
            self.assertFalse(self.infer(row))
        self.assertTrue(self.infer(rows[0]))
        self.assertFalse(self.infer(rows[3]))
        self.assertEqual([self.infer(rows[i]) for i in (0, 2, 3, 1)], [True, True, True, False])
        self.assertFalse(self.infer(np.zeros((4, 400))), "too large")
        self.assertFalse(self.infer(np.zeros((4, 400))))

    def test_nothing_is_kept_unless_the_server_is_asked(self):
        self.serve()
        self.infer([[1, 2]])
        self.assertFalse(self.infer([[1, 2]]))
        self.assertIn("model 'kept' has a response_cache", self.server.log.read_text())

    def test_other_caches_are_refused(self):
        for flag in ("redis,host=x", "local,size=", "local,size=0", "local"):
            done = subprocess.run([os.environ["DULY"], "serve", "--model-repository", self.repository, "--cache-config", flag],
                                  capture_output=True, text=True, timeout=SECONDS)
            self.assertNotEqual(done.returncode, 0, flag)
            self.assertIn(f"--cache-config {flag}: expected local,size=BYTES", done.stderr)


if __name__ == "__main__":
    unittest.main()

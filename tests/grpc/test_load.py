# SPDX-License-Identifier: Apache-2.0
"""`duly load` against `duly serve` over both protocols. DULY names the program."""

import json
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from copy_models import serve  # noqa: E402

SECONDS = 60  # for what takes one

server = None


def setUpModule():
    global server
    server, _ = serve(unittest.addModuleCleanup)


class LoadTest(unittest.TestCase):
    def load(self, url, *flags):
        command = [os.environ["DULY"], "load", "--url", url, "--model", "copy_FP32", "--rate", "200/s", "--duration", "500ms", "--warmup", "0s",
                   "--seed", "7", "--json", "-", *flags]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_both_protocols_send_the_same(self):
        http, grpc = (self.load(url, "--slo", "10s") for url in (f"http://{server.url}", f"grpc://{server.grpc_url}"))
        for report in (http, grpc):
            total = report["total"]
            self.assertGreater(total["sent"], 50)
            self.assertEqual(total["on_time"], total["sent"], report)
            self.assertGreater(total["on_time_device_s"], 0)
            self.assertEqual(report["applications"][0]["variants"], {"default": total["sent"]})
        self.assertEqual(http["total"]["sent"], grpc["total"]["sent"])

    def test_refusals_have_their_reason(self):
        report = self.load(f"grpc://{server.grpc_url}", "--slo", "1us")
        total = report["total"]
        self.assertEqual(total["rejected"] + total["late"] + total["on_time"], total["sent"], report)
        self.assertGreater(total["rejected"], 0)
        self.assertIn("model 'copy_FP32': rejected: by prediction the answer would come after its SLO", total["reasons"])


if __name__ == "__main__":
    unittest.main()

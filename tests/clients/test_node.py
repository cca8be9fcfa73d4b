# SPDX-License-Identifier: Apache-2.0
"""Node's gRPC client and its fetch against `duly serve`: starts the server and runs node/clients.test.js. DULY names the
program, DEPS the folder .deps."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from harness import Server, copy_model  # noqa: E402

SECONDS = 120


class NodeTest(unittest.TestCase):
    def test_clients(self):
        with tempfile.TemporaryDirectory() as folder:
            copy_model(folder, "two", [("FP32", [2]), ("INT64", [2])], max_rows=8)
            copy_model(folder, "texts", [("BYTES", [-1])])
            copy_model(folder, "slow", [("FP32", [1])], delay="300ms")
            with Server(os.environ["DULY"], folder) as server:
                environment = {**os.environ, "DULY_HTTP_URL": server.url, "DULY_GRPC_URL": server.grpc_url,
                               "NODE_PATH": str(pathlib.Path(os.environ["DEPS"]) / "node" / "node_modules"),
                               "PROTO": str(HERE.parent.parent / "proto" / "inference.proto")}
                done = subprocess.run([shutil.which("node"), "--test", str(HERE / "node" / "clients.test.js")], env=environment,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertRegex(done.stdout, r"tests [1-9]", "no test ran")
        self.assertRegex(done.stdout, r"skipped 0")


if __name__ == "__main__":
    unittest.main(verbosity=2)

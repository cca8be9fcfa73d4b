# SPDX-License-Identifier: Apache-2.0
"""A back end from outside: the lines of docs/backends.md, by the compiler and the one header that an author has. DULY names the program."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import tritonclient.grpc as grpc
from tritonclient.utils import InferenceServerException

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from copy_models import make_input  # noqa: E402
from harness import Server  # noqa: E402

PLUG_IN = "src/backend/plug_in"
FENCE = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
SERVE = re.compile(r"^duly serve (.*)\n", re.MULTILINE)
SECONDS = 60


class PlugInTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        # Nothing else of the source tree is there.
        for name in ("duly_backend.h", "example/scale.c"):
            (self.folder / PLUG_IN / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / PLUG_IN / name, self.folder / PLUG_IN / name)
        build, self.curl = FENCE.findall((ROOT / "docs" / "backends.md").read_text())
        self.flags = SERVE.search(build)[1].split()
        self.shell(SERVE.sub("", build))

    def shell(self, script):
        return subprocess.run(["bash", "-euc", script], cwd=self.folder, check=True, capture_output=True, text=True,
                              timeout=SECONDS).stdout

    def serve(self, *more):
        repository = self.flags.index("--model-repository") + 1
        config = self.flags.index("--config") + 1
        return Server(os.environ["DULY"], self.folder / self.flags[repository], "--config",
                      str(self.folder / self.flags[config]), *more)

    def test_documented_lines_answer(self):
        with self.serve() as server:
            reply = json.loads(self.shell(self.curl.replace("localhost:8000", server.url)))
            self.assertEqual(reply["outputs"][0]["data"], [6.0, 12.0])
            with grpc.InferenceServerClient(server.grpc_url) as client:
                values = np.arange(10, dtype=np.float32).reshape(5, 2)
                result = client.infer("triple", [make_input(grpc, "x", values)])
                np.testing.assert_array_equal(result.as_numpy("y"), 6 * values)
                metadata = client.get_model_metadata("triple", as_json=True)
                self.assertEqual(metadata["platform"], "plug-in")

    def test_bad_model_fails_its_load_with_its_file(self):
        model = self.folder / "plugged" / "triple" / "1" / "model.txt"
        with self.serve("--model-control-mode", "explicit") as server:
            with grpc.InferenceServerClient(server.grpc_url) as client:
                text = model.read_text()
                model.write_text("scale 2\n")
                with self.assertRaises(InferenceServerException) as caught:
                    client.load_model("triple")
                self.assertIn(f"{model}: {self.folder}/libscale.so: not a model: expected the lines", str(caught.exception))
                model.write_text(text)
                client.load_model("triple")
                self.assertTrue(client.is_model_ready("triple"))

    def test_what_is_no_back_end_is_refused_at_the_start(self):
        (self.folder / "libscale.so").write_text("not a library")
        with self.assertRaises(RuntimeError) as caught:
            with self.serve():
                pass
        self.assertIn("device 'npu'", str(caught.exception))
        self.assertIn("libscale.so: cannot be loaded: ", str(caught.exception))


if __name__ == "__main__":
    unittest.main()

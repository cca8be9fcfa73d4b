# SPDX-License-Identifier: Apache-2.0
"""Loading and unloading models while `duly serve` runs, by the unmodified tritonclient over both protocols. DULY names the program."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))
from copy_models import make_input  # noqa: E402
from harness import Server, copy_model  # noqa: E402

IDENTITY = TESTS.parent / "src/backend/onnxruntime/testdata/identity_fp32.onnx"
WAIT = 30  # seconds, for what takes less than one
CONFIG = """{"backend":"copy","max_batch_size":4,
             "input":[{"name":"in0","data_type":"TYPE_INT32","dims":[1]}],
             "output":[{"name":"out0","data_type":"TYPE_INT32","dims":[1]}]}"""


def await_true(holds):
    end = time.monotonic() + WAIT
    while not holds():
        if time.monotonic() > end:
            raise AssertionError("did not come true in time")
        time.sleep(0.01)


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.repository = pathlib.Path(folder.name) / "models"
        self.repository.mkdir()
        self.folder = pathlib.Path(folder.name)

    def serve(self, *flags):
        server = Server(os.environ["DULY"], self.repository, *flags)
        server.__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        return server


class BothProtocols:
    """What the clients of both protocols have in common."""

    def setUp(self):
        super().setUp()
        for name in "ab":
            copy_model(self.repository, name, [("FP32", [-1])])
        self.server = self.serve("--model-control-mode", "explicit")
        self.client = self.connect()
        self.addCleanup(self.client.close)

    def states(self):
        return {(name, version): state for name, version, state in self.index()}

    def infer(self, model, values, client=None):
        tensor = make_input(self.module, "in0", values)
        return (client or self.client).infer(model, [tensor]).as_numpy("out0")

    def assert_error(self, words, call):
        with self.assertRaises(InferenceServerException) as caught:
            call()
        self.assertIn(words, caught.exception.message())

    def test_loads_and_unloads(self):
        values = np.arange(3, dtype=np.float32)
        self.assertEqual(self.states(), {("a", ""): "", ("b", ""): ""})
        self.assertFalse(self.is_ready("a"))
        self.assert_error("unknown model 'a'", lambda: self.infer("a", values))
        self.client.load_model("a")
        self.assertTrue(self.is_ready("a"))
        np.testing.assert_array_equal(self.infer("a", values), values)
        self.assertEqual(self.states(), {("a", "1"): "READY", ("b", ""): ""})
        self.client.unload_model("a")
        self.assertFalse(self.is_ready("a"))
        self.assert_error("model 'a' is not loaded", lambda: self.infer("a", values))
        await_true(lambda: self.states() == {("a", "1"): "UNAVAILABLE", ("b", ""): ""})

    def test_takes_the_configuration_and_files_of_the_client(self):
        self.client.load_model("a", config=CONFIG)
        values = np.array([[7]], np.int32)
        np.testing.assert_array_equal(self.infer("a", values), values)
        self.client.load_model("made", config='{"backend":"onnxruntime"}',
                               files={"file:3/model.onnx": IDENTITY.read_bytes()})
        self.assertEqual(self.client.get_model_metadata("made", **self.as_json)["versions"], ["3"])
        self.assertTrue(self.is_ready("made"))

    def test_refuses_what_makes_no_sense(self):
        self.assert_error("model 'nope' is not in", lambda: self.client.load_model("nope"))
        self.assert_error("cannot be the name of a model", lambda: self.client.load_model(".."))
        self.assert_error("expected file:VERSION/NAME", lambda: self.client.load_model(
            "x", config="{}", files={"file:../../x": b"x"}))
        self.assert_error("not a model that ONNX Runtime", lambda: self.client.load_model(
            "x", config='{"backend":"onnxruntime"}', files={"file:1/model.onnx": b"nonsense"}))
        self.assert_error("parameter 'config'", lambda: self.client.load_model("a", config="{"))
        self.client.unload_model("never there")

    def test_a_failed_reload_leaves_what_is_served(self):
        self.client.load_model("a")
        (self.repository / "a/config.pbtxt").write_text("max_batch_size: -1")
        self.assert_error("config.pbtxt:1:1: ", lambda: self.client.load_model("a"))
        values = np.ones(2, np.float32)
        np.testing.assert_array_equal(self.infer("a", values), values)

    def test_reloads_under_load_lose_nothing(self):
        self.client.load_model("a")
        values = np.arange(5, dtype=np.float32)
        stop = threading.Event()
        faults, answers = [], [0]

        def keep_asking():
            client = self.connect()
            try:
                while not stop.is_set():
                    np.testing.assert_array_equal(self.infer("a", values, client), values)
                    answers[0] += 1
            except Exception as fault:  # noqa: BLE001
                faults.append(fault)
            finally:
                client.close()

        threads = [threading.Thread(target=keep_asking) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(25):
            self.client.load_model("a")
        before = answers[0]
        await_true(lambda: answers[0] > before or faults)
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(faults, [])


class HttpTest(BothProtocols, Case):
    module = http
    as_json = {}

    def connect(self):
        return http.InferenceServerClient(self.server.url)

    def index(self):
        return [(entry["name"], entry.get("version", ""), entry.get("state", ""))
                for entry in self.client.get_model_repository_index()]

    def is_ready(self, model):
        return self.client.is_model_ready(model)


class GrpcTest(BothProtocols, Case):
    module = grpc
    as_json = {"as_json": True}

    def connect(self):
        return grpc.InferenceServerClient(self.server.grpc_url)

    def index(self):
        return [(entry.name, entry.version, entry.state) for entry in self.client.get_model_repository_index().models]

    def is_ready(self, model):
        try:
            return self.client.is_model_ready(model)
        except InferenceServerException:
            return False  # unknown, as the peer says it


class ModesTest(Case):
    def connect(self, server):
        client = http.InferenceServerClient(server.url)
        self.addCleanup(client.close)
        return client

    def test_models_named_at_the_start(self):
        for name in "abc":
            copy_model(self.repository, name, [("FP32", [-1])])
        client = self.connect(self.serve("--model-control-mode=explicit", "--load-model=a", "--load-model=c"))
        self.assertEqual([client.is_model_ready(name) for name in "abc"], [True, False, True])
        client = self.connect(self.serve("--model-control-mode=explicit", "--load-model=*"))
        self.assertEqual([client.is_model_ready(name) for name in "abc"], [True, True, True])

    def test_other_modes_refuse_clients(self):
        copy_model(self.repository, "a", [("FP32", [-1])])
        client = self.connect(self.serve())
        for call in (client.load_model, client.unload_model):
            with self.assertRaises(InferenceServerException) as caught:
                call("a")
            self.assertIn("--model-control-mode explicit", caught.exception.message())
        self.assertTrue(client.is_model_ready("a"))

    def test_poll_follows_the_repository(self):
        copy_model(self.repository, "a", [("FP32", [-1])])
        client = self.connect(self.serve("--model-control-mode", "poll", "--repository-poll-secs", "1"))
        self.assertTrue(client.is_model_ready("a"))
        copy_model(self.repository, "b", [("FP32", [-1])])
        shutil.rmtree(self.repository / "a")
        await_true(lambda: client.is_model_ready("b") and not client.is_model_ready("a"))

    def test_what_cannot_be_loaded_at_the_start(self):
        copy_model(self.repository, "good", [("FP32", [-1])])
        copy_model(self.repository, "bad", [("FP32", [-1])])
        (self.repository / "bad/config.pbtxt").write_text("backend: 'python'")
        with self.assertRaisesRegex(RuntimeError, "config.pbtxt:1:1: backend 'python' is not served"):
            self.serve()
        client = self.connect(self.serve("--exit-on-error=false"))
        self.assertTrue(client.is_model_ready("good"))
        self.assertFalse(client.is_model_ready("bad"))
        self.assertFalse(client.is_server_ready())
        client = self.connect(self.serve("--exit-on-error=false", "--strict-readiness=false"))
        self.assertTrue(client.is_server_ready())

    def test_a_recorded_run_with_loads_is_replayed(self):
        for name in "ab":
            copy_model(self.repository, name, [("FP32", [-1])])
        log = self.folder / "run.log"
        server = self.serve("--model-control-mode", "explicit", "--load-model", "a", "--record", str(log))
        client = self.connect(server)
        values = make_input(http, "in0", np.ones(3, np.float32))
        for _ in range(5):
            client.load_model("b")
            client.infer("a", [values])
            client.infer("b", [values])
            client.unload_model("b")
        server.stop()
        replay = subprocess.run([os.environ["DULY"], "replay", log], capture_output=True, text=True)
        self.assertEqual(replay.returncode, 0, replay.stdout + replay.stderr)
        printed = subprocess.run([os.environ["DULY"], "log", "print", log], capture_output=True, text=True).stdout
        self.assertEqual(printed.count("'b' version 1 is loaded"), 5)
        self.assertEqual(printed.count("'b' version 1 is unloaded"), 5)


if __name__ == "__main__":
    unittest.main()

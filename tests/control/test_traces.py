# SPDX-License-Identifier: Apache-2.0
"""Trace settings by the unmodified tritonclient over both protocols, and the traces that come of them. DULY names the
program."""

import json
import os
import pathlib
import queue
import sys
import tempfile
import time
import unittest

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from copy_models import make_input, make_repository  # noqa: E402
from harness import Server  # noqa: E402

WAIT = 30  # seconds, for what takes less than one
RAN = ["REQUEST_START", "QUEUE_START", "COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START", "COMPUTE_END",
       "REQUEST_END"]
HTTP = ["HTTP_RECV_START", "HTTP_RECV_END", *RAN, "HTTP_SEND_START", "HTTP_SEND_END"]
GRPC = ["GRPC_WAITREAD_START", "GRPC_WAITREAD_END", *RAN, "GRPC_SEND_START", "GRPC_SEND_END"]
OFF = {"trace_level": ["OFF"], "trace_rate": "1000", "trace_count": "-1", "log_frequency": "0", "trace_file": "",
       "trace_mode": "triton"}


def plain(reply):
    """gRPC's form of the settings as HTTP's."""
    return {name: list(value.value) if name == "trace_level" else value.value[0]
            for name, value in reply.settings.items()}


def tensor(module, values=(1,)):
    return [make_input(module, "in0", np.array(values, np.float32))]


class TracesTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.repository = pathlib.Path(folder.name, "models")
        self.traces = pathlib.Path(folder.name, "traces")
        self.traces.mkdir()
        make_repository(self.repository)

    def serve(self, *flags):
        server = Server(os.environ["DULY"], self.repository, *(f"--trace-config={flag}" for flag in flags))
        server.__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        self.http = http.InferenceServerClient(server.url)
        self.addCleanup(self.http.close)
        self.grpc = grpc.InferenceServerClient(server.grpc_url)
        self.addCleanup(self.grpc.close)

    def read(self, name, count):
        """The traces in a file, once there are so many."""
        end = time.monotonic() + WAIT
        while True:
            file = self.traces / name
            traces = json.loads(file.read_text()) if file.exists() else []
            if len(traces) >= count or time.monotonic() > end:
                self.assertEqual(len(traces), count)
                return traces
            time.sleep(0.01)

    def spans(self, trace, names):
        """The times by name, which are those of `names` and follow each other."""
        self.assertEqual([stamp["name"] for stamp in trace["timestamps"]], names)
        times = [stamp["ns"] for stamp in trace["timestamps"]]
        self.assertEqual(times, sorted(times))
        self.assertGreater(times[0], 0)
        self.assertLess(times[-1] - times[0], WAIT * 10**9)
        return dict(zip(names, times))

    def assert_error(self, words, call):
        with self.assertRaises(InferenceServerException) as caught:
            call()
        self.assertIn(words, caught.exception.message())

    def test_times_are_those_of_answer_and_statistics(self):
        file = self.traces / "all.json"
        self.serve("level=TIMESTAMPS", "rate=1", f"triton,file={file}")
        for client, module, names in ((self.http, http, HTTP), (self.grpc, grpc, GRPC)):
            with self.subTest(module=module.__name__):
                file_count = len(json.loads(file.read_text()))
                before = self.http.get_inference_statistics("slow")["model_stats"][0]["inference_stats"]
                started = time.monotonic_ns()
                result = client.infer("slow", tensor(module), request_id="mine", parameters={"duly_report": True})
                ended = time.monotonic_ns()
                trace = self.read("all.json", file_count + 1)[-1]
                self.assertEqual((trace["id"], trace["model_name"], trace["model_version"], trace["request_id"]),
                                 (file_count + 1, "slow", 1, "mine"))
                times = self.spans(trace, names)
                self.assertGreater(times["REQUEST_START"], started)
                self.assertLess(times["REQUEST_END"], ended)
                after = self.http.get_inference_statistics("slow")["model_stats"][0]["inference_stats"]
                took = {name: after[name]["ns"] - before[name]["ns"] for name in after}
                self.assertEqual(times["COMPUTE_START"] - times["QUEUE_START"], took["queue"])
                self.assertEqual(times["COMPUTE_END"] - times["QUEUE_START"], took["success"])
                self.assertEqual(times["COMPUTE_OUTPUT_START"] - times["COMPUTE_INPUT_END"], took["compute_infer"])
                self.assertEqual(times["COMPUTE_END"] - times["COMPUTE_OUTPUT_START"], took["compute_output"])
                self.assertGreaterEqual(times["COMPUTE_INPUT_END"] - times["COMPUTE_START"], took["compute_input"])
                response = result.get_response()
                said = response["parameters"] if module is http else {
                    name: value.int64_param for name, value in response.parameters.items()}
                self.assertEqual((times["COMPUTE_START"] - times["QUEUE_START"]) // 1000, said["queue_us"])
                self.assertEqual((times["COMPUTE_END"] - times["COMPUTE_START"]) // 1000, said["compute_us"])

    def test_settings_over_both_protocols(self):
        self.serve(f"dir={self.traces}")
        self.assertIn("trace", self.http.get_server_metadata()["extensions"])
        self.assertEqual(self.http.get_trace_settings(), OFF)
        self.assertEqual(plain(self.grpc.get_trace_settings()), OFF)
        self.assert_error("there is no file", lambda: self.http.update_trace_settings(
            settings={"trace_level": ["TIMESTAMPS"]}))
        on = {"trace_level": ["TIMESTAMPS"], "trace_rate": "2", "trace_file": "slow.json"}
        changed = self.http.update_trace_settings("slow", on)
        self.assertEqual(changed, {**OFF, **on, "trace_file": str(self.traces / "slow.json")})
        self.assertEqual(plain(self.grpc.get_trace_settings("slow")), changed)
        self.assertEqual(plain(self.grpc.get_trace_settings()), OFF)
        self.assertEqual(plain(self.grpc.update_trace_settings("slow", {"trace_rate": None, "trace_count": "3"})),
                         {**changed, "trace_rate": "1000", "trace_count": "3"})
        self.assertEqual(plain(self.grpc.update_trace_settings("slow", dict.fromkeys(OFF))), OFF)
        for client in (self.http, self.grpc):
            self.assert_error("Request for unknown model : nope", lambda: client.get_trace_settings("nope"))
            self.assert_error("unknown trace setting 'x'", lambda: client.update_trace_settings(settings={"x": "1"}))
            self.assert_error("'trace_rate': expected", lambda: client.update_trace_settings(
                settings={"trace_rate": "-1"}))
            self.assert_error("name of a file", lambda: client.update_trace_settings(
                settings={"trace_file": "../trace.json"}))
        self.assertEqual(self.http.get_trace_settings(), OFF)

    def test_files_of_clients_need_a_folder(self):
        self.serve()
        for client in (self.http, self.grpc):
            self.assert_error("can not be updated through network protocol", lambda: client.update_trace_settings(
                settings={"trace_file": str(self.traces / "trace.json"), "trace_level": ["TIMESTAMPS"]}))
        self.assertEqual(list(self.traces.iterdir()), [])

    def test_one_in_rate_until_the_count_in_numbered_files(self):
        self.serve(f"dir={self.traces}")
        self.http.update_trace_settings("copy_FP32", {
            "trace_level": ["TIMESTAMPS", "TENSORS"], "trace_rate": "3", "trace_count": "3", "log_frequency": "2",
            "trace_file": "some.json"})
        for index in range(1, 13):
            self.http.infer("copy_FP32", tensor(http, [index, 0.5]), request_id=str(index))
        self.assertEqual(self.http.get_trace_settings("copy_FP32")["trace_count"], "0")
        traces = [*self.read("some.json.0", 6), *self.read("some.json.1", 3)]
        self.assertEqual([trace["request_id"] for trace in traces if "request_id" in trace], ["3", "6", "9"])
        for trace in traces:
            if "timestamps" in trace:
                self.spans(trace, HTTP)
        self.assertEqual([(trace["activity"], trace["tensor"]) for trace in traces
                          if trace["id"] == 2 and "tensor" in trace],
                         [("TENSOR_QUEUE_INPUT", {"name": "in0", "data": "6,0.5", "shape": "2", "dtype": "FP32"}),
                          ("TENSOR_BACKEND_OUTPUT", {"name": "out0", "data": "6,0.5", "shape": "2", "dtype": "FP32"})])
        self.assertEqual(len(list(self.traces.iterdir())), 2)

    def test_streams_and_what_never_ran(self):
        self.serve(f"triton,file={self.traces / 'all.json'}", "rate=1", "level=TIMESTAMPS")
        results = queue.Queue()
        self.grpc.start_stream(lambda result, error: results.put((result, error)))
        for index in range(2):
            self.grpc.async_stream_infer("copy_FP32", tensor(grpc), request_id=str(index))
        for _ in range(2):
            self.assertIsNone(results.get(timeout=WAIT)[1])
        self.grpc.stop_stream()
        self.assert_error("by prediction", lambda: self.http.infer("slow", tensor(http), parameters={"slo_us": 1000}))
        traces = self.read("all.json", 3)
        for trace in traces[:2]:
            self.spans(trace, GRPC)
        self.spans(traces[2], [name for name in HTTP if not name.startswith("COMPUTE")])


if __name__ == "__main__":
    unittest.main()

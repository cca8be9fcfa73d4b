# SPDX-License-Identifier: Apache-2.0
"""The unmodified tritonclient[http] against `duly serve`. DULY names the program."""

import asyncio
import pathlib
import sys
import time
import unittest
import urllib.error
import urllib.request
import zlib

import numpy as np
import tritonclient.http as http
import tritonclient.http.aio as aio
from tritonclient.utils import InferenceServerException

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from copy_models import CLASSES, VALUES, assert_same, make_input, serve  # noqa: E402
from shared_memory import NotAllowedCases  # noqa: E402

WAIT = 30  # seconds, for what takes less than one
server = None


def setUpModule():
    global server
    server, _ = serve(unittest.addModuleCleanup)


def large_request(module, binary):
    """Of `large`, with values that compress well: inputs, version and outputs."""
    values = np.zeros((1, 3, 224, 224), np.float32)
    values[0, 0] = np.arange(224)
    return ([make_input(module, "in0", values, binary_data=binary)], "",
            [module.InferRequestedOutput("out0", binary_data=binary)])


def assert_large(test, result):
    values = result.as_numpy("out0")
    np.testing.assert_array_equal(values[0, 0, 5], np.arange(224))
    test.assertEqual(values[0, 1:].any(), False)


class SyncTest(unittest.TestCase):
    def setUp(self):
        self.client = http.InferenceServerClient(server.url)
        self.addCleanup(self.client.close)

    def assert_error(self, status, words, call):
        with self.assertRaises(InferenceServerException) as caught:
            call()
        self.assertIn(words, caught.exception.message())
        self.assertEqual(str(caught.exception.status()), str(status))

    def test_health_and_metadata(self):
        self.assertTrue(self.client.is_server_live())
        self.assertTrue(self.client.is_server_ready())
        self.assertTrue(self.client.is_model_ready("two"))
        self.assertTrue(self.client.is_model_ready("two", "1"))
        self.assertFalse(self.client.is_model_ready("nope"))
        self.assertEqual(self.client.get_server_metadata()["name"], "duly")
        metadata = self.client.get_model_metadata("two")
        self.assertEqual([tensor["shape"] for tensor in metadata["inputs"]], [[-1, 2], [-1, 2]])
        config = self.client.get_model_config("two")
        self.assertEqual(config["max_batch_size"], 8)
        self.assertEqual(config["input"][1]["data_type"], "TYPE_INT32")
        names = {entry["name"] for entry in self.client.get_model_repository_index()}
        self.assertLessEqual({"two", "large", "slow"}, names)

    def test_every_datatype(self):
        for datatype, values in VALUES.items():
            for binary_in in (True, False):
                for binary_out in (True, False):
                    if datatype == "FP16" and not (binary_in and binary_out):
                        continue  # has no JSON form
                    with self.subTest(datatype=datatype, binary_in=binary_in, binary_out=binary_out):
                        given = values
                        if datatype == "BYTES" and not binary_in:
                            given = np.array([v if isinstance(v, str) else v.decode() for v in values], np.object_)
                        result = self.client.infer(
                            f"copy_{datatype}",
                            [make_input(http, "in0", given, datatype, binary_data=binary_in)],
                            outputs=[http.InferRequestedOutput("out0", binary_data=binary_out)])
                        assert_same(self, result.as_numpy("out0"), values)

    def test_outputs_are_binary_by_default_and_requests_have_ids(self):
        floats = np.array([[1, 2], [3, 4]], np.float32)
        ints = np.array([[5, 6], [7, 8]], np.int32)
        result = self.client.infer(
            "two", [make_input(http, "in1", ints), make_input(http, "in0", floats)], request_id="a \"b\"")
        self.assertEqual(result.get_response()["id"], 'a "b"')
        self.assertIn("binary_data_size", result.get_output("out0")["parameters"])
        np.testing.assert_array_equal(result.as_numpy("out0"), floats)
        np.testing.assert_array_equal(result.as_numpy("out1"), ints)

    def test_large_tensors(self):
        values = np.arange(3 * 224 * 224, dtype=np.float32).reshape(1, 3, 224, 224)
        for binary in (True, False):
            result = self.client.infer("large", [make_input(http, "in0", values, binary_data=binary)],
                                       outputs=[http.InferRequestedOutput("out0", binary_data=binary)])
            np.testing.assert_array_equal(result.as_numpy("out0"), values)

    def test_compression_both_ways(self):
        for coding in ("gzip", "deflate"):
            for binary in (True, False):
                with self.subTest(coding=coding, binary=binary):
                    assert_large(self, self.client.infer(
                        "large", *large_request(http, binary), request_compression_algorithm=coding,
                        response_compression_algorithm=coding))
        values, ints = VALUES["FP32"].reshape(1, 2), VALUES["INT32"].reshape(1, 2)
        result = self.client.infer("two", [make_input(http, "in0", values), make_input(http, "in1", ints)],
                                   request_compression_algorithm="gzip", response_compression_algorithm="gzip")
        np.testing.assert_array_equal(result.as_numpy("out0"), values)
        np.testing.assert_array_equal(result.as_numpy("out1"), ints)

    def test_a_bomb_costs_no_more_than_the_largest_body(self):
        # 10 GiB in 10 MiB.
        zeros = zlib.compressobj(wbits=-15)
        block = zeros.compress(bytes(1 << 20)) + zeros.flush(zlib.Z_FULL_FLUSH)
        start = zlib.compressobj(wbits=31)
        bomb = start.flush(zlib.Z_FULL_FLUSH) + 10240 * block
        before = server.peak_memory()
        for _ in range(3):
            request = urllib.request.Request(f"http://{server.url}/v2/models/large/infer", bomb,
                                             {"Content-Encoding": "gzip"})
            started = time.monotonic()
            with self.assertRaises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, timeout=WAIT)
            self.assertLess(time.monotonic() - started, WAIT / 2)
            with caught.exception as answer:
                self.assertEqual(answer.code, 413)
        # The body, the largest that it may become, and its half while it grew.
        self.assertLess(server.peak_memory() - before, 140 << 20)

    def test_classification(self):
        values = np.array([[0.25, 1, 0.5, 2], [3, -1, 0, 0]], np.float32)
        for binary in (True, False):
            result = self.client.infer("classes", [make_input(http, "in0", values)],
                                       outputs=[http.InferRequestedOutput("out0", binary_data=binary, class_count=2)])
            self.assertEqual(result.get_output("out0")["datatype"], "BYTES")
            assert_same(self, result.as_numpy("out0"), CLASSES)
        # One output of two; no labels, and fewer values than classes.
        ints = np.array([[5, 7]], np.int32)
        result = self.client.infer("two", [make_input(http, "in0", values[:1, :2]), make_input(http, "in1", ints)],
                                   outputs=[http.InferRequestedOutput("out1", class_count=9),
                                            http.InferRequestedOutput("out0")])
        assert_same(self, result.as_numpy("out1"), np.array([[b"7:1", b"5:0"]], np.object_))
        np.testing.assert_array_equal(result.as_numpy("out0"), values[:1, :2])
        # What has no JSON form has classes all the same.
        result = self.client.infer("copy_FP16", [make_input(http, "in0", VALUES["FP16"])],
                                   outputs=[http.InferRequestedOutput("out0", binary_data=False, class_count=1)])
        assert_same(self, result.as_numpy("out0"), np.array([b"0.500000:0"], np.object_))
        self.assert_error(400, "no largest values", lambda: self.client.infer(
            "copy_BYTES", [make_input(http, "in0", VALUES["BYTES"])],
            outputs=[http.InferRequestedOutput("out0", class_count=1)]))
        self.assert_error(400, "1 or more", lambda: self.client.infer(
            "classes", [make_input(http, "in0", values)], outputs=[http.InferRequestedOutput("out0", class_count=-1)]))
        self.assertIn("classification", self.client.get_server_metadata()["extensions"])
        self.assertEqual(self.client.get_model_config("classes")["output"][0]["label_filename"], "labels.txt")

    def test_client_faults(self):
        good = make_input(http, "in0", VALUES["FP32"])
        self.assert_error(404, "unknown model 'nope'", lambda: self.client.infer("nope", [good]))
        self.assert_error(404, "has no version 7", lambda: self.client.infer("copy_FP32", [good], model_version="7"))
        self.assert_error(400, "is not one of model",
                          lambda: self.client.infer("copy_FP32", [make_input(http, "x", VALUES["FP32"])]))
        self.assert_error(400, "datatype 'INT8'",
                          lambda: self.client.infer("copy_FP32", [make_input(http, "in0", VALUES["INT8"])]))
        self.assert_error(400, "shape [2]: expected [-1,2]",
                          lambda: self.client.infer("two", [good, make_input(http, "in1", VALUES["INT32"])]))
        self.assert_error(400, "is missing", lambda: self.client.infer("copy_FP32", []))
        self.assert_error(501, "sequence", lambda: self.client.infer("copy_FP32", [good], sequence_id=3))
        # The connection is as good as before.
        self.client.infer("copy_FP32", [good])

    def test_log_settings(self):
        before = self.client.get_log_settings()
        self.assertEqual(before, {"log_file": "", "log_info": True, "log_warning": True, "log_error": True,
                                  "log_verbose_level": 0, "log_format": "default"})
        changed = self.client.update_log_settings({"log_info": False, "log_verbose_level": 2, "log_format": "ISO8601"})
        self.assertEqual(changed, {**before, "log_info": False, "log_verbose_level": 2, "log_format": "ISO8601"})
        self.assertEqual(self.client.get_log_settings(), changed)
        self.assert_error(400, "standard error", lambda: self.client.update_log_settings({"log_file": "/tmp/log"}))
        self.assert_error(400, "unknown log setting 'x'", lambda: self.client.update_log_settings({"x": True}))
        self.assertEqual(self.client.update_log_settings(before), before)

    def test_patience_ends_in_the_queue(self):
        tensor = make_input(http, "in0", np.zeros(1, np.float32))
        client = http.InferenceServerClient(server.url, concurrency=4)
        self.addCleanup(client.close)
        calls = [client.async_infer("slow", [tensor], timeout=20000) for _ in range(4)]
        codes = []
        for call in calls:
            try:
                call.get_result()
                codes.append("200")
            except InferenceServerException as error:
                codes.append(str(error.status()))
        self.assertIn("200", codes)
        self.assertIn("504", codes)
        self.assertLessEqual(set(codes), {"200", "504"})

    def test_statistics_and_metrics_count_what_was_served(self):
        tensor = make_input(http, "in0", VALUES["UINT16"])
        stats = lambda: self.client.get_inference_statistics("copy_UINT16")["model_stats"][0]  # noqa: E731
        before = stats()["inference_stats"]["success"]["count"]
        for _ in range(3):
            self.client.infer("copy_UINT16", [tensor])
        self.assertEqual(stats()["inference_stats"]["success"]["count"], before + 3)
        self.assertIn(f'nv_inference_request_success{{model="copy_UINT16",version="1"}} {before + 3}\n', server.metrics())


class SharedMemoryTest(NotAllowedCases, unittest.TestCase):
    module = http
    unimplemented = "501"

    def url(self):
        return server.url


class AsyncTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        # The debug mode of these tests prints whatever takes 0.1 s, which a busy machine often does.
        asyncio.get_running_loop().slow_callback_duration = 60

    async def test_many_at_once(self):
        async with aio.InferenceServerClient(server.url) as client:
            self.assertTrue(await client.is_server_ready())

            async def one(index):
                values = np.full((1, 2), index, np.float32)
                ints = np.full((1, 2), -index, np.int32)
                binary = index % 2 == 0
                result = await client.infer(
                    "two", [make_input(aio, "in0", values, binary_data=binary), make_input(aio, "in1", ints)],
                    outputs=[aio.InferRequestedOutput("out0", binary_data=binary)])
                np.testing.assert_array_equal(result.as_numpy("out0"), values)
                self.assertIsNone(result.as_numpy("out1"))

            await asyncio.gather(*(one(index) for index in range(50)))

    async def test_compression_both_ways(self):
        async with aio.InferenceServerClient(server.url) as client:
            for coding in ("gzip", "deflate"):
                assert_large(self, await client.infer(
                    "large", *large_request(aio, False), request_compression_algorithm=coding,
                    response_compression_algorithm=coding))
            # Its HTTP library asks for gzip on its own, everywhere.
            assert_large(self, await client.infer("large", *large_request(aio, False)))
            statistics = await client.get_inference_statistics()
            self.assertGreater(len(statistics["model_stats"]), 5)

    async def test_faults(self):
        async with aio.InferenceServerClient(server.url) as client:
            with self.assertRaises(InferenceServerException) as caught:
                await client.infer("nope", [])
            self.assertIn("unknown model", caught.exception.message())


if __name__ == "__main__":
    unittest.main()

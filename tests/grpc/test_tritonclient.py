# SPDX-License-Identifier: Apache-2.0
"""The unmodified tritonclient[grpc], health and reflection clients against `duly serve`. DULY names the program."""

import asyncio
import os
import pathlib
import queue
import sys
import threading
import time
import unittest

import grpc
import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from copy_models import CLASSES, VALUES, assert_same, make_input, serve  # noqa: E402
from harness import Server  # noqa: E402
from shared_memory import NotAllowedCases  # noqa: E402

WAIT = 30  # seconds, for what takes milliseconds
server = None
folder = None


def setUpModule():
    global server, folder
    server, folder = serve(unittest.addModuleCleanup)


class SyncTest(unittest.TestCase):
    def setUp(self):
        self.client = triton.InferenceServerClient(server.grpc_url)
        self.addCleanup(self.client.close)

    def assert_error(self, status, words, call):
        with self.assertRaises(InferenceServerException) as caught:
            call()
        self.assertIn(words, caught.exception.message())
        self.assertEqual(caught.exception.status(), f"StatusCode.{status}")

    def test_health_and_metadata(self):
        self.assertTrue(self.client.is_server_live())
        self.assertTrue(self.client.is_server_ready())
        self.assertTrue(self.client.is_model_ready("two"))
        self.assertTrue(self.client.is_model_ready("two", "1"))
        self.assert_error("NOT_FOUND", "unknown model 'nope'", lambda: self.client.is_model_ready("nope"))
        self.assert_error("INVALID_ARGUMENT", "version 'x'", lambda: self.client.is_model_ready("two", "x"))
        self.assertEqual(self.client.get_server_metadata().name, "duly")
        metadata = self.client.get_model_metadata("two")
        self.assertEqual([list(tensor.shape) for tensor in metadata.inputs], [[-1, 2], [-1, 2]])
        config = self.client.get_model_config("two", as_json=True)["config"]
        self.assertEqual(config["max_batch_size"], 8)
        self.assertEqual(config["input"][1]["data_type"], "TYPE_INT32")
        names = {entry.name for entry in self.client.get_model_repository_index().models}
        self.assertLessEqual({"two", "large", "slow"}, names)

    def test_every_datatype(self):
        for datatype, values in VALUES.items():
            with self.subTest(datatype=datatype):
                result = self.client.infer(f"copy_{datatype}", [make_input(triton, "in0", values, datatype)],
                                           outputs=[triton.InferRequestedOutput("out0")])
                assert_same(self, result.as_numpy("out0"), values)

    def test_ids_reports_and_large_tensors(self):
        values = np.arange(3 * 224 * 224, dtype=np.float32).reshape(1, 3, 224, 224)
        result = self.client.infer("large", [make_input(triton, "in0", values)], request_id="a \"b\"",
                                   parameters={"duly_report": True})
        np.testing.assert_array_equal(result.as_numpy("out0"), values)
        response = result.get_response()
        self.assertEqual(response.id, 'a "b"')
        self.assertEqual(response.parameters["outcome"].string_param, "on_time")
        self.assertEqual(response.parameters["batch_rows"].int64_param, 1)

    def test_classification(self):
        values = np.array([[0.25, 1, 0.5, 2], [3, -1, 0, 0]], np.float32)
        inputs, wanted = [make_input(triton, "in0", values)], [triton.InferRequestedOutput("out0", class_count=2)]
        result = self.client.infer("classes", inputs, outputs=wanted)
        assert_same(self, result.as_numpy("out0"), CLASSES)
        results = queue.Queue()
        self.client.start_stream(lambda result, error: results.put((result, error)))
        self.client.async_stream_infer("classes", inputs, outputs=wanted)
        assert_same(self, results.get(timeout=WAIT)[0].as_numpy("out0"), CLASSES)
        self.client.stop_stream()
        self.assert_error("INVALID_ARGUMENT", "1 or more", lambda: self.client.infer(
            "classes", inputs, outputs=[triton.InferRequestedOutput("out0", class_count=-1)]))
        self.assert_error("INVALID_ARGUMENT", "no largest values", lambda: self.client.infer(
            "copy_BOOL", [make_input(triton, "in0", VALUES["BOOL"])],
            outputs=[triton.InferRequestedOutput("out0", class_count=1)]))

    def test_compression(self):
        for coding in ("gzip", "deflate"):
            values = np.zeros((1, 3, 224, 224), np.float32)
            values[0, 0] = np.arange(224)
            result = self.client.infer("large", [make_input(triton, "in0", values)], compression_algorithm=coding)
            np.testing.assert_array_equal(result.as_numpy("out0"), values)
            results = queue.Queue()
            self.client.start_stream(lambda result, error: results.put((result, error)), compression_algorithm=coding)
            self.client.async_stream_infer("large", [make_input(triton, "in0", values)])
            result, error = results.get(timeout=WAIT)
            self.assertIsNone(error)
            np.testing.assert_array_equal(result.as_numpy("out0"), values)
            self.client.stop_stream()

    def test_client_faults(self):
        good = make_input(triton, "in0", VALUES["FP32"])
        self.assert_error("NOT_FOUND", "unknown model 'nope'", lambda: self.client.infer("nope", [good]))
        self.assert_error("NOT_FOUND", "has no version 7",
                          lambda: self.client.infer("copy_FP32", [good], model_version="7"))
        self.assert_error("INVALID_ARGUMENT", "is not one of model",
                          lambda: self.client.infer("copy_FP32", [make_input(triton, "x", VALUES["FP32"])]))
        self.assert_error("INVALID_ARGUMENT", "datatype 'INT8'",
                          lambda: self.client.infer("copy_FP32", [make_input(triton, "in0", VALUES["INT8"])]))
        self.assert_error("INVALID_ARGUMENT", "is missing", lambda: self.client.infer("copy_FP32", []))
        self.assert_error("UNIMPLEMENTED", "sequence",
                          lambda: self.client.infer("copy_FP32", [good], sequence_id=3))
        self.client.infer("copy_FP32", [good])

    def test_log_settings(self):
        def values(reply):
            return {name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in reply.settings.items()}

        before = values(self.client.get_log_settings())
        self.assertEqual(before, {"log_file": "", "log_info": True, "log_warning": True, "log_error": True,
                                  "log_verbose_level": 0, "log_format": "default"})
        changed = values(self.client.update_log_settings({"log_warning": False, "log_verbose_level": 1}))
        self.assertEqual(changed, {**before, "log_warning": False, "log_verbose_level": 1})
        self.assertEqual(values(self.client.get_log_settings()), changed)
        self.assert_error("INVALID_ARGUMENT", "standard error",
                          lambda: self.client.update_log_settings({"log_file": "/tmp/log"}))
        self.assertEqual(values(self.client.update_log_settings(before)), before)

    def test_promises_and_patience(self):
        tensor = make_input(triton, "in0", np.zeros(1, np.float32))
        self.assert_error("RESOURCE_EXHAUSTED", "by prediction",
                          lambda: self.client.infer("slow", [tensor], parameters={"slo_us": 20000}))
        results = queue.Queue()
        for _ in range(4):
            self.client.async_infer("slow", [tensor], lambda result, error: results.put(error), timeout=20000)
        codes = [error.status() if error else "OK" for error in (results.get(timeout=WAIT) for _ in range(4))]
        self.assertIn("OK", codes)
        self.assertIn("StatusCode.DEADLINE_EXCEEDED", codes)

    def test_work_of_calls_past_their_deadline_is_not_done(self):
        tensor = make_input(triton, "in0", np.zeros(1, np.float32))
        executions = lambda: self.client.get_inference_statistics("slow").model_stats[0].execution_count  # noqa: E731
        before = executions()
        started = time.monotonic()
        first = queue.Queue()
        self.client.async_infer("slow", [tensor], lambda result, error: first.put(error))
        results = queue.Queue()
        for _ in range(5):
            self.client.async_infer("slow", [tensor], lambda result, error: results.put(error), client_timeout=0.05)
        for _ in range(5):
            self.assertEqual(results.get(timeout=WAIT).status(), "StatusCode.DEADLINE_EXCEEDED")
        self.assertIsNone(first.get(timeout=WAIT))
        self.client.infer("slow", [tensor])
        # One run each for the first and the last, and one at most for each slot that took one at once.
        self.assertLess(executions() - before, 6, f"in {time.monotonic() - started:.1f} s")

    def test_cancelled_calls_leave_the_queue(self):
        tensor = make_input(triton, "in0", np.zeros(1, np.float32))
        for _ in range(3):
            done = threading.Event()
            call = self.client.async_infer("slow", [tensor], lambda result, error: done.set())
            call.cancel()
            self.assertTrue(done.wait(WAIT))
        self.client.infer("slow", [tensor])

    def test_statistics(self):
        tensor = make_input(triton, "in0", VALUES["UINT16"])
        stats = lambda: self.client.get_inference_statistics("copy_UINT16").model_stats[0]  # noqa: E731
        before = stats().inference_stats.success.count
        for _ in range(3):
            self.client.infer("copy_UINT16", [tensor])
        self.assertEqual(stats().inference_stats.success.count, before + 3)
        self.assertGreater(len(self.client.get_inference_statistics().model_stats), 3)


class StreamTest(unittest.TestCase):
    def setUp(self):
        self.client = triton.InferenceServerClient(server.grpc_url)
        self.addCleanup(self.client.close)
        self.results = queue.Queue()

    def start(self, **kwargs):
        self.client.start_stream(lambda result, error: self.results.put((result, error)), **kwargs)

    def take(self, count):
        return [self.results.get(timeout=WAIT) for _ in range(count)]

    def test_many_in_flight_come_back_with_their_ids(self):
        self.start()
        for i in range(200):
            values = np.full((1, 2), i, np.float32)
            self.client.async_stream_infer("two", [make_input(triton, "in0", values),
                                                   make_input(triton, "in1", values.astype(np.int32))], request_id=str(i))
        seen = {}
        for result, error in self.take(200):
            self.assertIsNone(error)
            seen[result.get_response().id] = result.as_numpy("out0")[0, 0]
        self.assertEqual(seen, {str(i): i for i in range(200)})
        self.client.stop_stream()

    def test_failures_do_not_end_the_stream(self):
        self.start()
        good = make_input(triton, "in0", VALUES["FP32"])
        self.client.async_stream_infer("nope", [good], request_id="bad")
        self.client.async_stream_infer("copy_FP32", [good], request_id="good")
        outcomes = self.take(2)
        self.assertEqual(sorted(error is not None for _, error in outcomes), [False, True])
        bad = next(error for _, error in outcomes if error is not None)
        self.assertIn("unknown model 'nope'", bad.message())
        self.client.stop_stream()

    def test_real_codes_end_it_where_the_client_asks_for_them(self):
        self.start(headers={"triton_grpc_error": "true"})
        self.client.async_stream_infer("nope", [make_input(triton, "in0", VALUES["FP32"])])
        _, error = self.take(1)[0]
        self.assertEqual(error.status(), "StatusCode.NOT_FOUND")

    def test_the_last_response_is_marked_for_who_wants_it(self):
        self.start()
        self.client.async_stream_infer("copy_FP32", [make_input(triton, "in0", VALUES["FP32"])],
                                       enable_empty_final_response=True)
        self.client.async_stream_infer("copy_FP32", [make_input(triton, "in0", VALUES["FP32"])])
        responses = [result.get_response() for result, _ in self.take(2)]
        self.assertEqual([len(response.outputs) for response in responses], [1, 1])
        marked = [response for response in responses if "triton_final_response" in response.parameters]
        self.assertEqual(len(marked), 1)
        self.assertTrue(marked[0].parameters["triton_final_response"].bool_param)

    def test_a_cancelled_stream_takes_its_requests_along(self):
        self.start()
        tensor = make_input(triton, "in0", np.zeros(1, np.float32))
        for _ in range(20):
            self.client.async_stream_infer("slow", [tensor])
        self.client.stop_stream(cancel_requests=True)
        started = time.monotonic()
        triton.InferenceServerClient(server.grpc_url).infer("slow", [tensor])
        self.assertLess(time.monotonic() - started, 20 * 0.3 / 2, "the twenty were executed first")


class RawTest(unittest.TestCase):
    """What the client library never sends."""

    def setUp(self):
        self.channel = grpc.insecure_channel(server.grpc_url)
        self.addCleanup(self.channel.close)
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(self.channel)

    def request(self, datatype, **contents):
        request = service_pb2.ModelInferRequest(model_name=f"copy_{datatype}")
        tensor = request.inputs.add(name="in0", datatype=datatype, shape=[2])
        tensor.contents.CopyFrom(service_pb2.InferTensorContents(**contents))
        return request

    def test_typed_contents(self):
        fields = {"BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
                  "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents",
                  "UINT32": "uint_contents", "UINT64": "uint64_contents", "FP32": "fp32_contents",
                  "FP64": "fp64_contents"}
        for datatype, field in fields.items():
            with self.subTest(datatype=datatype):
                values = VALUES[datatype]
                response = self.stub.ModelInfer(self.request(datatype, **{field: values.tolist()}))
                self.assertEqual(response.raw_output_contents[0], values.tobytes())
        response = self.stub.ModelInfer(self.request("BYTES", bytes_contents=[b"", b"\xff\x00"]))
        self.assertEqual(response.raw_output_contents[0], b"\0\0\0\0\2\0\0\0\xff\0")

    def assert_refused(self, words, request, code=grpc.StatusCode.INVALID_ARGUMENT):
        with self.assertRaises(grpc.RpcError) as caught:
            self.stub.ModelInfer(request)
        self.assertEqual(caught.exception.code(), code)
        self.assertIn(words, caught.exception.details())

    def test_contents_that_do_not_fit(self):
        self.assert_refused("128 is no INT8", self.request("INT8", int_contents=[1, 128]))
        self.assert_refused("65536 is no UINT16", self.request("UINT16", uint_contents=[65536, 0]))
        self.assert_refused("4 bytes of data: expected 8", self.request("FP32", fp32_contents=[1]))
        self.assert_refused("FP16 has no typed contents", self.request("FP16"))
        mixed = self.request("FP32", fp32_contents=[1, 2])
        mixed.raw_input_contents.append(b"\0" * 8)
        self.assert_refused("beside raw_input_contents", mixed)
        short = service_pb2.ModelInferRequest(model_name="copy_FP32", raw_input_contents=[b"", b""])
        short.inputs.add(name="in0", datatype="FP32", shape=[0])
        self.assert_refused("2 raw_input_contents: expected one for each of the 1 inputs", short)
        huge = service_pb2.ModelInferRequest(model_name="copy_FP32", raw_input_contents=[b""])
        huge.inputs.add(name="in0", datatype="FP32", shape=[2**62])
        self.assert_refused("too many elements", huge)

    def test_bytes_that_are_no_message(self):
        call = self.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer",
                                        request_serializer=lambda raw: raw, response_deserializer=lambda raw: raw)
        with self.assertRaises(grpc.RpcError) as caught:
            call(b"\xff" * 100)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)

    def test_compressed_calls_of_every_kind(self):
        with grpc.insecure_channel(server.grpc_url, compression=grpc.Compression.Gzip) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            self.assertEqual(stub.ServerMetadata(service_pb2.ServerMetadataRequest()).name, "duly")
            # Long enough to be really sent compressed, and short enough for the answer's trailer, which names it.
            with self.assertRaises(grpc.RpcError) as caught:
                stub.ModelMetadata(service_pb2.ModelMetadataRequest(name="n" * 4000))
            self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)

    def test_a_bomb_costs_no_more_than_the_largest_message(self):
        with Server(os.environ["DULY"], folder, "--http-max-input-size", "1MiB") as own, \
                grpc.insecure_channel(own.grpc_url, options=[("grpc.max_send_message_length", -1)]) as channel:
            service = "/inference.GRPCInferenceService"
            raw = {"request_serializer": lambda raw: raw, "response_deserializer": lambda raw: raw}
            before = own.peak_memory()
            for method in ("ModelInfer", "RepositoryModelLoad"):
                with self.assertRaises(grpc.RpcError) as caught:
                    channel.unary_unary(f"{service}/{method}", **raw)(bytes(128 << 20), timeout=WAIT,
                                                                      compression=grpc.Compression.Gzip)
                self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
                self.assertIn("when it is decompressed", caught.exception.details())
            self.assertLess(own.peak_memory() - before, 16 << 20)

    def test_health_and_reflection(self):
        health = health_pb2_grpc.HealthStub(self.channel)
        for name in ("", "inference.GRPCInferenceService"):
            status = health.Check(health_pb2.HealthCheckRequest(service=name)).status
            self.assertEqual(status, health_pb2.HealthCheckResponse.SERVING, name)
        with self.assertRaises(grpc.RpcError) as caught:
            health.Check(health_pb2.HealthCheckRequest(service="nope"))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)
        services = ProtoReflectionDescriptorDatabase(self.channel).get_services()
        self.assertIn("inference.GRPCInferenceService", services)


class SharedMemoryTest(NotAllowedCases, unittest.TestCase):
    module = triton
    unimplemented = "StatusCode.UNIMPLEMENTED"

    def url(self):
        return server.grpc_url


class AsyncTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        # The debug mode of these tests prints whatever takes 0.1 s, which a busy machine often does.
        asyncio.get_running_loop().slow_callback_duration = 60

    async def test_unary_and_stream(self):
        async with aio.InferenceServerClient(server.grpc_url) as client:
            self.assertTrue(await client.is_server_ready())
            values = VALUES["FP32"]
            result = await client.infer("copy_FP32", [make_input(aio, "in0", values)])
            np.testing.assert_array_equal(result.as_numpy("out0"), values)

            async def requests():
                for i in range(20):
                    yield {"model_name": "copy_FP32", "inputs": [make_input(aio, "in0", values)], "request_id": str(i)}

            result = await client.infer("copy_FP32", [make_input(aio, "in0", values)], compression_algorithm="gzip")
            np.testing.assert_array_equal(result.as_numpy("out0"), values)

            ids = []
            async for result, error in client.stream_infer(requests()):
                self.assertIsNone(error)
                ids.append(result.get_response().id)
            self.assertEqual(sorted(ids, key=int), [str(i) for i in range(20)])


class LifecycleTest(unittest.TestCase):
    def test_terminated_servers_answer_what_they_took_and_end_their_streams(self):
        with Server(os.environ["DULY"], folder) as own:
            client = triton.InferenceServerClient(own.grpc_url)
            tensor = make_input(triton, "in0", np.zeros(1, np.float32))
            results = queue.Queue()
            client.start_stream(lambda result, error: results.put(error))
            client.async_stream_infer("slow", [tensor], request_id="s")
            unary = queue.Queue()
            client.async_infer("slow", [tensor], lambda result, error: unary.put(error))
            own.await_live("slow", 2)
            self.assertEqual(own.stop(), 0)
            self.assertIsNone(unary.get(timeout=WAIT))
            self.assertIsNone(results.get(timeout=WAIT))
            self.assertEqual(results.get(timeout=WAIT).status(), "StatusCode.UNAVAILABLE")
            client.close()


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: Apache-2.0
"""The unmodified InferenceRESTClient and InferenceGRPCClient of KServe against `duly serve`, in the environment
.deps/kserve. DULY names the program."""

import os
import pathlib
import sys
import tempfile
import unittest

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import Server, copy_model  # noqa: E402

FLOATS = np.array([[0.5, -3.4e38]], np.float32)
NUMBERS = np.array([[7, -(2**53)]], np.int64)
TEXTS = np.array(["", 'a "quoted" word, é'], np.object_)
server = None


def setUpModule():
    global server
    folder = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(folder.cleanup)
    copy_model(folder.name, "two", [("FP32", [2]), ("INT64", [2])], max_rows=8)
    copy_model(folder.name, "texts", [("BYTES", [-1])])
    server = Server(os.environ["DULY"], folder.name)
    server.__enter__()
    unittest.addModuleCleanup(server.__exit__, None, None, None)


def make_request(model, binary=True, request_id=None, outputs=None, parameters=None, **tensors):
    inputs = []
    for name, values in tensors.items():
        datatype = {np.dtype(np.float32): "FP32", np.dtype(np.int64): "INT64"}.get(values.dtype, "BYTES")
        inputs.append(InferInput(name, list(values.shape), datatype))
        inputs[-1].set_data_from_numpy(values, binary_data=binary)
    return InferRequest(model, inputs, request_id=request_id, parameters=parameters, request_outputs=outputs)


class Cases:
    """What both clients do; `infer` is theirs."""

    def assert_two(self, response):
        self.assertEqual((response.model_name, response.id), ("two", "k1"))
        np.testing.assert_array_equal(response.get_output_by_name("out0").as_numpy(), FLOATS)
        np.testing.assert_array_equal(response.get_output_by_name("out1").as_numpy(), NUMBERS)

    async def test_binary_tensors(self):
        self.assert_two(await self.infer(make_request("two", request_id="k1", in0=FLOATS, in1=NUMBERS)))

    async def test_tensors_in_the_message(self):
        request = make_request("two", binary=False, request_id="k1", in0=FLOATS, in1=NUMBERS)
        self.assert_two(await self.infer(request))

    async def test_texts(self):
        for binary in (True, False):
            with self.subTest(binary=binary):
                response = await self.infer(make_request("texts", binary=binary, in0=TEXTS))
                self.assertEqual(response.outputs[0].shape, [2])
                got = [v if isinstance(v, bytes) else v.encode() for v in response.outputs[0].as_numpy().flat]
                self.assertEqual(got, [text.encode() for text in TEXTS])

    async def test_requested_outputs(self):
        for binary in (True, False):
            with self.subTest(binary=binary):
                outputs = [RequestedOutput("out1", {"binary_data": binary})]
                response = await self.infer(make_request("two", outputs=outputs, in0=FLOATS, in1=NUMBERS))
                self.assertEqual([output.name for output in response.outputs], ["out1"])
                np.testing.assert_array_equal(response.outputs[0].as_numpy(), NUMBERS)

    async def test_parameters(self):
        response = await self.infer(make_request("two", parameters={"duly_report": True}, in0=FLOATS, in1=NUMBERS))
        self.assertEqual(self.value(response.parameters["outcome"]), "on_time")


class RestTest(Cases, unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.url = f"http://{server.url}"
        self.client = InferenceRESTClient(RESTConfig(protocol="v2"))
        self.addAsyncCleanup(self.client.close)

    async def infer(self, request):
        return await self.client.infer(self.url, request, model_name=request.model_name)

    def value(self, parameter):
        return parameter

    async def test_health(self):
        self.assertTrue(await self.client.is_server_live(self.url))
        self.assertTrue(await self.client.is_server_ready(self.url))
        self.assertTrue(await self.client.is_model_ready(self.url, "two"))

    async def test_unknown_model(self):
        with self.assertRaises(httpx.HTTPStatusError) as caught:
            await self.infer(make_request("absent", in0=FLOATS))
        self.assertEqual(caught.exception.response.status_code, 404)
        self.assertIn("unknown model 'absent'", caught.exception.response.text)


class GrpcTest(Cases, unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.client = InferenceGRPCClient(server.grpc_url)
        self.addAsyncCleanup(self.client.close)

    async def infer(self, request):
        return await self.client.infer(request)

    def value(self, parameter):
        return parameter.string_param

    async def test_health(self):
        self.assertTrue(await self.client.is_server_live())
        self.assertTrue(await self.client.is_server_ready())
        self.assertTrue(await self.client.is_model_ready("two"))

    async def test_unknown_model(self):
        with self.assertRaises(grpc.RpcError) as caught:
            await self.infer(make_request("absent", in0=FLOATS))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)


if __name__ == "__main__":
    unittest.main(verbosity=2)

# SPDX-License-Identifier: Apache-2.0
"""System shared memory over gRPC: the unmodified tritonclient[grpc] against `duly serve --allow-client-shm`."""

import pathlib
import queue
import sys
import unittest

import numpy as np
import tritonclient.grpc as triton
import tritonclient.utils.shared_memory as shm

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import shared_memory  # noqa: E402

WAIT = 30  # seconds, for what takes milliseconds


def setUpModule():
    shared_memory.set_up_module(unittest.addModuleCleanup)


class GrpcTest(shared_memory.SharedMemoryCases, unittest.TestCase):
    module = triton
    codes = {"invalid": "StatusCode.INVALID_ARGUMENT", "exists": "StatusCode.ALREADY_EXISTS",
             "not found": "StatusCode.NOT_FOUND", "unimplemented": "StatusCode.UNIMPLEMENTED"}

    def url(self):
        return shared_memory.server.grpc_url

    def extensions(self):
        return self.client.get_server_metadata().extensions

    def regions(self, name=""):
        regions = self.client.get_system_shared_memory_status(name).regions
        return [(key, region.key, region.offset, region.byte_size) for key, region in regions.items()]

    def cuda_regions(self):
        return list(self.client.get_cuda_shared_memory_status().regions)

    def shape_of(self, result, name):
        output = result.get_output(name)
        self.assertEqual(output.parameters["shared_memory_region"].string_param, "taken")
        self.assertEqual(output.parameters["shared_memory_byte_size"].int64_param, 2048)
        self.assertEqual(output.parameters["shared_memory_offset"].int64_param, 100)
        self.assertEqual(list(result.get_response().raw_output_contents), [b""])
        return list(output.shape)

    def start(self, model, inputs, outputs):
        results = queue.Queue()
        self.client.async_infer(model, inputs, lambda result, error: results.put(error), outputs=outputs)
        # The next call of this channel comes behind it.
        self.client.is_server_live()
        return lambda: self.assertIsNone(results.get(timeout=WAIT))

    def test_streams(self):
        values = np.array([1, 2], np.float32)
        region, _ = self.register("r", 1024, values.tobytes())
        results = queue.Queue()
        self.client.start_stream(lambda result, error: results.put(error))
        for i in range(1, 9):
            self.client.async_stream_infer("copy_FP32", [self.shared_input("r", values)],
                                           outputs=[self.shared_output("r", 8, offset=8 * i)])
        self.client.async_stream_infer("copy_FP32", [self.shared_input("r", values)],
                                       outputs=[self.shared_output("r", 4, offset=512)])
        errors = [results.get(timeout=WAIT) for _ in range(9)]
        self.client.stop_stream()
        self.assertEqual(sum(error is None for error in errors), 8)
        self.assertIn("expected at most the shared_memory_byte_size 4", next(e for e in errors if e).message())
        np.testing.assert_array_equal(shm.get_contents_as_numpy(region, np.float32, [8, 2], 8), [values] * 8)

    def test_contents_beside_shared_memory(self):
        self.register("r", 64)
        tensor = self.shared_input("r", np.zeros(2, np.float32))
        tensor._get_tensor().contents.fp32_contents.extend([1, 2])
        self.assert_error("invalid", "input 'in0' has both contents and shared memory region 'r'",
                          lambda: self.client.infer("copy_FP32", [tensor]))


if __name__ == "__main__":
    unittest.main()

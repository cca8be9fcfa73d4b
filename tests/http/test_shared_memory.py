# SPDX-License-Identifier: Apache-2.0
"""System shared memory over HTTP: the unmodified tritonclient[http] against `duly serve --allow-client-shm`."""

import pathlib
import sys
import unittest

import tritonclient.http as http

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import shared_memory  # noqa: E402


def setUpModule():
    shared_memory.set_up_module(unittest.addModuleCleanup)


class HttpTest(shared_memory.SharedMemoryCases, unittest.TestCase):
    module = http
    codes = {"invalid": "400", "exists": "400", "not found": "404", "unimplemented": "501"}

    def url(self):
        return shared_memory.server.url

    def extensions(self):
        return self.client.get_server_metadata()["extensions"]

    def regions(self, name=""):
        return [(region["name"], region["key"], region["offset"], region["byte_size"])
                for region in self.client.get_system_shared_memory_status(name)]

    def cuda_regions(self):
        return self.client.get_cuda_shared_memory_status()

    def shape_of(self, result, name):
        output = result.get_output(name)
        # The C++ client expects binary data of an output with parameters.
        self.assertEqual(set(output), {"name", "datatype", "shape"})
        return output["shape"]

    def start(self, model, inputs, outputs):
        # async_infer runs in a greenlet: it has to get its turn before the next call.
        client = http.InferenceServerClient(self.url(), concurrency=2)
        self.addCleanup(client.close)
        call = client.async_infer(model, inputs, outputs=outputs)
        client.is_server_live()
        return call.get_result


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: Apache-2.0
"""System shared memory with the unmodified tritonclient, for both of its protocols. DULY names the program."""

import os
import tempfile
import threading
import uuid

import numpy as np
import tritonclient.utils.shared_memory as shm
from copy_models import VALUES, assert_same, make_repository
from harness import Server
from tritonclient.utils import InferenceServerException, serialize_byte_tensor

LARGE = (1, 3, 224, 224)
server = None


def set_up_module(add_cleanup):
    global server
    folder = tempfile.TemporaryDirectory()
    add_cleanup(folder.cleanup)
    make_repository(folder.name)
    server = Server(os.environ["DULY"], folder.name, "--allow-client-shm")
    server.__enter__()
    add_cleanup(server.__exit__, None, None, None)


def bytes_of(values):
    return serialize_byte_tensor(values).item() if values.dtype == np.object_ else values.tobytes()


class SharedMemoryCases:
    """Mixed into a TestCase that has `module` (of tritonclient), `url()`, `regions()` and the `codes` of its protocol."""

    def setUp(self):
        self.client = self.module.InferenceServerClient(self.url())
        self.addCleanup(self.client.close)
        self.client.unregister_system_shared_memory()
        self.client.unregister_cuda_shared_memory()
        self.addCleanup(self.client.unregister_system_shared_memory)

    def assert_error(self, code, words, call):
        with self.assertRaises(InferenceServerException) as caught:
            call()
        self.assertIn(words, caught.exception.message())
        self.assertEqual(str(caught.exception.status()), self.codes[code])

    def object(self, byte_size, contents=b""):
        """A shared memory object of the client; its handle and its key."""
        key = f"/duly-test-{uuid.uuid4().hex}"
        handle = shm.create_shared_memory_region(key[1:], key, byte_size, create_only=True)
        self.addCleanup(shm.destroy_shared_memory_region, handle)
        if contents:
            shm.set_shared_memory_region(handle, [np.frombuffer(contents, np.uint8)])
        return handle, key

    def register(self, name, byte_size, contents=b""):
        handle, key = self.object(byte_size, contents)
        self.client.register_system_shared_memory(name, key, byte_size)
        return handle, key

    def shared_input(self, region, values, byte_size=None, offset=0, name="in0", datatype=None):
        tensor = self.module.InferInput(name, list(values.shape), datatype or "FP32")
        tensor.set_shared_memory(region, len(bytes_of(values)) if byte_size is None else byte_size, offset=offset)
        return tensor

    def shared_output(self, region, byte_size, offset=0, name="out0"):
        output = self.module.InferRequestedOutput(name)
        output.set_shared_memory(region, byte_size, offset=offset)
        return output

    def echo(self, region="r", values=VALUES["FP32"], **kwargs):
        return self.client.infer("copy_FP32", [self.shared_input(region, values, **kwargs)])

    def test_extension_is_listed(self):
        self.assertIn("system_shared_memory", self.extensions())

    def test_regions_come_and_go(self):
        self.assertEqual(self.regions(), [])
        _, first = self.register("first", 64)
        _, second = self.object(4096)
        self.client.register_system_shared_memory("a second one", second[1:], 128, offset=256)
        self.assertEqual(sorted(self.regions()), [("a second one", second[1:], 256, 128), ("first", first, 0, 64)])
        self.assertEqual(self.regions("first"), [("first", first, 0, 64)])
        self.assert_error("not found", "'nope' is not registered", lambda: self.regions("nope"))
        self.assert_error("exists", "'first' is registered already",
                          lambda: self.client.register_system_shared_memory("first", first, 64))
        self.client.unregister_system_shared_memory("nope")
        self.client.unregister_system_shared_memory("first")
        self.assertEqual([name for name, *_ in self.regions()], ["a second one"])
        self.client.unregister_system_shared_memory()
        self.assertEqual(self.regions(), [])

    def test_registrations_that_cannot_be(self):
        _, key = self.object(64)
        for bad_key, byte_size, offset, words in (
                ("/duly-test-absent", 64, 0, "cannot be opened"), ("/../shm" + key, 64, 0, "expected the name of"),
                ("", 64, 0, "expected the name of"), (key, 65, 0, "beyond the 64 bytes"),
                (key, 64, 1, "beyond the 64 bytes"), (key, 2**64 - 1, 1, "expected less together"),
                (key, 0, 0, "expected 1 or more")):
            with self.subTest(key=bad_key, byte_size=byte_size, offset=offset):
                self.assert_error("invalid", words, lambda: self.client.register_system_shared_memory(
                    "bad", bad_key, byte_size, offset=offset))
        self.assertEqual(self.regions(), [])

    def test_there_is_no_cuda(self):
        self.assertEqual(self.cuda_regions(), [])
        self.assert_error("unimplemented", "takes no CUDA memory",
                          lambda: self.client.register_cuda_shared_memory("c", b"0" * 64, 0, 64))
        self.client.unregister_cuda_shared_memory("c")

    def test_every_datatype_through_regions(self):
        given, _ = self.register("given", 4096)
        taken, _ = self.register("taken", 4096)
        for datatype, values in VALUES.items():
            with self.subTest(datatype=datatype):
                contents = np.frombuffer(bytes_of(values), np.uint8)
                shm.set_shared_memory_region(given, [contents], offset=32)
                result = self.client.infer(
                    f"copy_{datatype}", [self.shared_input("given", values, offset=32, datatype=datatype)],
                    outputs=[self.shared_output("taken", 2048, offset=100)])
                got = shm.get_contents_as_numpy(taken, values.dtype, values.shape, offset=100)
                assert_same(self, got, values)
                self.assertEqual(self.shape_of(result, "out0"), list(values.shape))

    def test_beside_tensors_in_the_message(self):
        floats, ints = np.array([[1, 2]], np.float32), np.array([[3, 4]], np.int32)
        region, _ = self.register("r", 64, floats.tobytes())
        plain = self.module.InferInput("in1", [1, 2], "INT32")
        plain.set_data_from_numpy(ints)
        for inputs in ([self.shared_input("r", floats), plain], [plain, self.shared_input("r", floats)]):
            result = self.client.infer("two", inputs, outputs=[self.shared_output("r", 8, offset=32),
                                                               self.module.InferRequestedOutput("out1")])
            np.testing.assert_array_equal(result.as_numpy("out1"), ints)
            np.testing.assert_array_equal(shm.get_contents_as_numpy(region, np.float32, [1, 2], 32), floats)
        result = self.client.infer("two", [self.shared_input("r", floats), plain])
        np.testing.assert_array_equal(result.as_numpy("out0"), floats)

    def test_large_tensors(self):
        values = np.arange(np.prod(LARGE), dtype=np.float32).reshape(LARGE)
        self.register("given", values.nbytes, values.tobytes())
        taken, _ = self.register("taken", values.nbytes)
        self.client.infer("large", [self.shared_input("given", values)],
                          outputs=[self.shared_output("taken", values.nbytes)])
        np.testing.assert_array_equal(shm.get_contents_as_numpy(taken, np.float32, LARGE), values)

    def test_client_faults_name_tensor_and_region(self):
        values = VALUES["FP32"]
        self.register("r", 64, values.tobytes())
        for words, how in (("input 'in0': shared memory region 'x' is not registered", {"region": "x"}),
                           ("beyond the 64 bytes of shared memory region 'r'", {"offset": 60}),
                           ("shared_memory_byte_size 4 in region 'r': expected 8", {"byte_size": 4}),
                           ("shared_memory_byte_size 12 in region 'r': expected 8", {"byte_size": 12})):
            self.assert_error("invalid", words, lambda: self.echo(**how))
        good = self.shared_input("r", values)
        self.assert_error("invalid", "output 'out0': 8 bytes: expected at most the shared_memory_byte_size 7",
                          lambda: self.client.infer("copy_FP32", [good], outputs=[self.shared_output("r", 7)]))
        self.assert_error("invalid", "output 'out0': shared memory region 'x' is not registered",
                          lambda: self.client.infer("copy_FP32", [good], outputs=[self.shared_output("x", 8)]))
        text = np.array(["ab", "c"], np.object_)
        self.register("text", 64, bytes_of(text))
        self.assert_error("invalid", "(shared memory region 'text')", lambda: self.client.infer(
            "copy_BYTES", [self.shared_input("text", text, byte_size=10, datatype="BYTES")]))
        np.testing.assert_array_equal(self.echo().as_numpy("out0"), values)

    def test_truncated_and_removed_objects(self):
        values = VALUES["FP32"]
        handle, key = self.register("r", 8192, values.tobytes())
        path = f"/dev/shm{key}"
        os.truncate(path, 0)
        self.assert_error("invalid", "has become shorter", self.echo)
        self.register("whole", 64, values.tobytes())
        self.assert_error("invalid", "output 'out0': the shared memory object", lambda: self.client.infer(
            "copy_FP32", [self.shared_input("whole", values)], outputs=[self.shared_output("r", 8)]))
        self.assertEqual(os.path.getsize(path), 0)
        os.truncate(path, 8192)
        shm.set_shared_memory_region(handle, [values])
        os.rename(path, path + "-gone")
        self.addCleanup(os.rename, path + "-gone", path)  # the client wants to remove it itself
        np.testing.assert_array_equal(self.echo().as_numpy("out0"), values)
        self.assertTrue(self.client.is_server_live())

    def test_objects_truncated_all_the_time(self):
        values = np.zeros(LARGE, np.float32)
        _, key = self.register("r", 2 * values.nbytes)
        stop = threading.Event()

        def truncate():
            with open(f"/dev/shm{key}", "r+b") as file:
                while not stop.is_set():
                    file.truncate(0)
                    file.truncate(2 * values.nbytes)

        thread = threading.Thread(target=truncate)
        thread.start()
        try:
            for _ in range(100):
                try:
                    self.client.infer("large", [self.shared_input("r", values)],
                                      outputs=[self.shared_output("r", values.nbytes, offset=values.nbytes)])
                except InferenceServerException as error:
                    self.assertEqual(str(error.status()), self.codes["invalid"])
        finally:
            stop.set()
            thread.join()
        self.assertTrue(self.client.is_server_live())

    def test_unregistered_while_a_request_uses_it(self):
        values = np.array([7], np.float32)
        region, _ = self.register("r", 64, values.tobytes())
        call = self.start("slow", [self.shared_input("r", values)], [self.shared_output("r", 4, offset=32)])
        server.await_live("slow", 1)
        self.client.unregister_system_shared_memory()
        call()
        np.testing.assert_array_equal(shm.get_contents_as_numpy(region, np.float32, [1], 32), values)
        self.assert_error("invalid", "is not registered", self.echo)


class NotAllowedCases:
    """The same, of a server that was not told to allow it."""

    def test_shared_memory_is_not_allowed(self):
        client = self.module.InferenceServerClient(self.url())
        self.addCleanup(client.close)
        tensor = self.module.InferInput("in0", [2], "FP32")
        tensor.set_shared_memory("r", 8)
        for call in (client.get_system_shared_memory_status, client.unregister_system_shared_memory,
                     lambda: client.register_system_shared_memory("r", "/r", 8), client.get_cuda_shared_memory_status,
                     client.unregister_cuda_shared_memory, lambda: client.infer("copy_FP32", [tensor])):
            with self.assertRaises(InferenceServerException) as caught:
                call()
            self.assertIn("shared memory is not allowed on this server", caught.exception.message())
            self.assertEqual(str(caught.exception.status()), self.unimplemented)

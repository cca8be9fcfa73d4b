# SPDX-License-Identifier: Apache-2.0
"""What the tests with tritonclient share: the models that they serve, a value of each data type, inputs."""

import os
import tempfile

import numpy as np
from harness import Server, copy_model
from tritonclient.utils import np_to_triton_dtype

VALUES = {
    "BOOL": np.array([True, False]),
    "UINT8": np.array([0, 255], np.uint8),
    "UINT16": np.array([0, 65535], np.uint16),
    "UINT32": np.array([0, 2**32 - 1], np.uint32),
    "UINT64": np.array([0, 2**64 - 1], np.uint64),
    "INT8": np.array([-128, 127], np.int8),
    "INT16": np.array([-32768, 32767], np.int16),
    "INT32": np.array([-(2**31), 2**31 - 1], np.int32),
    "INT64": np.array([-(2**63), 2**63 - 1], np.int64),
    "FP16": np.array([0.5, -65504], np.float16),
    "FP32": np.array([0.1, -3.4e38], np.float32),
    "FP64": np.array([0.1, -1.7e308], np.float64),
    "BYTES": np.array(["", 'a "quoted" word, é and 0\x00'.encode()], np.object_),
}
# Of `classes`, the largest two of [[0.25, 1, 0.5, 2], [3, -1, 0, 0]].
CLASSES = np.array([[b"2.000000:3", b"1.000000:1:dog"], [b"3.000000:0:cat", b"0.000000:2:a bird"]], np.object_)


def make_repository(folder):
    """copy_<datatype> of any length, `classes` (up to 8 rows of 4, the first 3 with a
    label), `two` (up to 8 rows of FP32 and INT32), `large`, `slow` (300 ms)."""
    for name in VALUES:
        copy_model(folder, f"copy_{name}", [(name, [-1])])
    copy_model(folder, "classes", [("FP32", [4])], max_rows=8, labels=["cat", "dog", "a bird"])
    copy_model(folder, "two", [("FP32", [2]), ("INT32", [2])], max_rows=8)
    copy_model(folder, "large", [("FP32", [1, 3, 224, 224])])
    copy_model(folder, "slow", [("FP32", [1])], delay="300ms")


def serve(add_cleanup):
    """Serves such a repository until the clean-up; returns the server and the repository's folder."""
    folder = tempfile.TemporaryDirectory()
    add_cleanup(folder.cleanup)
    make_repository(folder.name)
    server = Server(os.environ["DULY"], folder.name)
    server.__enter__()
    add_cleanup(server.__exit__, None, None, None)
    return server, folder.name


def make_input(module, name, values, datatype=None, **how):
    """An input of tritonclient's `module`; `how` is what its set_data_from_numpy takes."""
    tensor = module.InferInput(name, list(values.shape), datatype or np_to_triton_dtype(values.dtype))
    tensor.set_data_from_numpy(values, **how)
    return tensor


def assert_same(test, got, expected):
    """Arrays as a client gives them back; texts may come as bytes."""
    if expected.dtype == np.object_:
        test.assertEqual(got.shape, expected.shape)
        as_bytes = [[v.encode() if isinstance(v, str) else v for v in values.flat] for values in (got, expected)]
        test.assertEqual(as_bytes[0], as_bytes[1])
    else:
        test.assertEqual(got.dtype, expected.dtype)
        np.testing.assert_array_equal(got, expected)

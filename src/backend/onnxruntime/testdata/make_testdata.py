#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the ONNX files beside this script: the smallest models that show one property each.

    .deps/venv/bin/python src/backend/onnxruntime/testdata/make_testdata.py
"""
import pathlib

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper

FOLDER = pathlib.Path(__file__).parent

ALL_TYPES = {
    "bool": T.BOOL, "uint8": T.UINT8, "uint16": T.UINT16, "uint32": T.UINT32, "uint64": T.UINT64,
    "int8": T.INT8, "int16": T.INT16, "int32": T.INT32, "int64": T.INT64, "fp16": T.FLOAT16,
    "bf16": T.BFLOAT16, "fp32": T.FLOAT, "fp64": T.DOUBLE, "bytes": T.STRING,
}


def value(name, shape, dtype=T.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def save(name, inputs, outputs, nodes=(), initializers=(), opset=17, ir_version=8,
         check=True):
    graph = helper.make_graph(list(nodes), name, inputs, outputs, list(initializers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)],
                              ir_version=ir_version, producer_name="duly")
    if check:
        onnx.checker.check_model(model, full_check=True)
    onnx.save(model, FOLDER / f"{name}.onnx")


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, **attributes)


def constant(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


# The models of the conformance suite.
for type_name, dtype in ALL_TYPES.items():
    save(f"identity_{type_name}", [value("x", ["n", "m"], dtype)], [value("y", ["n", "m"], dtype)],
         [node("Identity", ["x"], ["y"])])
save("pair", [value("a", ["n", "m"]), value("b", ["n", "k"], T.INT32)],
     [value("p", ["n", "m"]), value("q", ["n", "k"], T.INT32)],
     [node("Identity", ["a"], ["p"]), node("Identity", ["b"], ["q"])])

# Real arithmetic, to compare batches with runs alone.
rng = np.random.default_rng(7)
save("mlp", [value("x", ["n", 16])], [value("y", ["n", 4])],
     [node("Gemm", ["x", "w1", "b1"], ["h"]), node("Relu", ["h"], ["r"]),
      node("Gemm", ["r", "w2", "b2"], ["y"])],
     [constant("w1", rng.normal(size=(16, 12)).astype(np.float32)),
      constant("b1", rng.normal(size=12).astype(np.float32)),
      constant("w2", rng.normal(size=(12, 4)).astype(np.float32)),
      constant("b2", rng.normal(size=4).astype(np.float32))])
save("sum_and_difference", [value("a", ["n", 2]), value("b", ["n", 2])],
     [value("sum", ["n", 2]), value("difference", ["n", 2])],
     [node("Add", ["a", "b"], ["sum"]), node("Sub", ["a", "b"], ["difference"])])

# Strings that a kernel really computes with.
save("repeat", [value("x", ["n", 2], T.STRING)], [value("y", ["n", 4], T.STRING)],
     [node("Concat", ["x", "x"], ["y"], axis=1)])

# Neither input nor output says how many dimensions it has: common in practice, against the rules.
save("unknown_rank", [value("x", None)], [value("y", None)], [node("Neg", ["x"], ["y"])],
     check=False)

# An input with a default, which makes it optional.
save("optional_bias", [value("x", ["n", 2]), value("bias", [1, 2])], [value("y", ["n", 2])],
     [node("Add", ["x", "bias"], ["y"])], [constant("bias", np.array([[10, 20]], np.float32))])

# Outputs that are not computed by a run.
save("passthrough", [value("x", ["n", 2])], [value("x", ["n", 2]), value("y", ["n", 2])],
     [node("Neg", ["x"], ["y"])])
save("constant_output", [value("x", [2])], [value("y", [2]), value("c", [3])],
     [node("Neg", ["x"], ["y"]), node("Identity", ["k"], ["c"])],
     [constant("k", np.array([1, 2, 3], np.float32))])

# What cannot be served, or not in batches.
save("fixed_first_dimension", [value("x", [1, 3])], [value("y", [1, 3])],
     [node("Neg", ["x"], ["y"])])
save("loses_rows", [value("x", ["n", 2])], [value("y", ["k", 2])],
     [node("Compress", ["x", "first"], ["y"], axis=0)], [constant("first", np.array([True]))])
save("needs_six_elements", [value("x", ["m"])], [value("y", [2, 3])],
     [node("Reshape", ["x", "shape"], ["y"])], [constant("shape", np.array([2, 3], np.int64))])
save("scalar", [value("x", [])], [value("y", [])], [node("Neg", ["x"], ["y"])])
save("sequence_output", [value("x", ["n", 2])],
     [helper.make_tensor_sequence_value_info("y", T.FLOAT, None), value("z", ["n", 2])],
     [node("SequenceConstruct", ["x", "x"], ["y"]), node("Neg", ["x"], ["z"])])
save("float8_input", [value("x", ["n", 2], T.FLOAT8E4M3FN)], [value("y", ["n", 2])],
     [node("Cast", ["x"], ["y"], to=T.FLOAT)], opset=19, ir_version=9)
# A graph that names an operator that does not exist.
save("unknown_operator", [value("x", ["n", 2])], [value("y", ["n", 2])],
     [node("Frobnicate", ["x"], ["y"])], check=False)

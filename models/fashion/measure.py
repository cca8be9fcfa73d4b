#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the Fashion-MNIST family on the 10 000 test images, and writes its duly.yaml.

The only script here that reads the test set. Nothing is chosen by what it prints: which variants
there are, and how they were trained, was settled before. Needs numpy and onnxruntime.
"""

import argparse
import math
import pathlib
import subprocess
import sys

import numpy as np
import onnxruntime
from dataset import as_input, read_test

HERE = pathlib.Path(__file__).resolve().parent
MODEL = HERE.parent / "repository/fashion"
VARIANTS = ("xxs", "xs", "s", "s-int8", "m", "m-int8", "ens2", "ens2-int8")
DEFAULT = "m-int8"
ROWS = 32  # max_batch_size in config.pbtxt
HEADER = f"""\
# How Duly serves this model. Written by models/fashion/measure.py; do not edit.
# s, m and ens2 are here to compare: their int8 forms are as accurate, faster and smaller. Differences
# of accuracy below about 0.3 points, so all from s on, can be chance (models/fashion/README.md).
default_variant: {DEFAULT}
warmup: 2
variants:
"""


def answers(path, images):
    """The class that the variant gives each image."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    batches = [as_input(images[start : start + ROWS]) for start in range(0, len(images), ROWS)]
    return np.concatenate(
        [session.run(["logits"], {"image": batch})[0].argmax(1) for batch in batches]
    )


def mebibytes(path):
    """Resident memory, measured in a process of its own."""
    command = [sys.executable, HERE.parent / "memory.py", path, "--rows", str(ROWS)]
    return math.ceil(float(subprocess.run(command, check=True, capture_output=True).stdout))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write duly.yaml, not only print")
    arguments = parser.parse_args()
    images, labels = read_test()
    text, previous = HEADER, None
    print(f"onnxruntime {onnxruntime.__version__}, {len(images)} images")
    print("variant     accuracy %   z to the one above   memory MiB       bytes")
    for name in VARIANTS:
        path = MODEL / "1" / f"{name}.onnx"
        right = answers(path, images) == labels
        accuracy, memory = 100 * right.mean(), mebibytes(path)
        # Paired (McNemar): of the images that only one of the two gets right, who gets more?
        z = ""
        if previous is not None:
            gained, lost = int((right & ~previous).sum()), int((previous & ~right).sum())
            z = f"{(gained - lost) / math.sqrt(max(gained + lost, 1)):.1f}"
        previous = right
        print(
            f"{name:<11} {accuracy:10.2f} {z:>20} {memory:12} {path.stat().st_size:11}", flush=True
        )
        text += f"""\
  - name: {name}
    file: {name}.onnx
    accuracy: {accuracy:.2f}
    dataset: Fashion-MNIST test, 10 000 images
    method: measured
    source: models/fashion/measure.py
    memory: {memory}MiB
"""
    if arguments.write:
        (MODEL / "duly.yaml").write_text(text)


if __name__ == "__main__":
    main()

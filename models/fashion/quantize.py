#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the int8 forms of trained variants, and says what that costs on the validation images.

Static quantization (QDQ, 8 bits unsigned for activations, signed for weights, per channel),
calibrated with 1 000 of the training images. Weights keep to 7 bits: processors without dot-product
instructions (AVX2 without VNNI) add pairs of products in 16 bits, which saturate with 8, and the
accuracy would depend on the machine. Needs numpy, onnx and onnxruntime.
"""

import argparse
import json
import pathlib
import tempfile

import onnx
import onnxruntime
from dataset import INSTALLED, as_input, read_training
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)

CALIBRATION_IMAGES = 1000
ROWS = 100  # of a batch


class Images(CalibrationDataReader):
    def __init__(self, images):
        self.batches = iter(
            [{"image": as_input(images[i : i + ROWS])} for i in range(0, len(images), ROWS)]
        )

    def get_next(self):
        return next(self.batches, None)


def quantize(source, target, images):
    with tempfile.NamedTemporaryFile(suffix=".onnx") as prepared:
        quant_pre_process(str(source), prepared.name, skip_symbolic_shape=True)
        quantize_static(
            prepared.name,
            str(target),
            Images(images),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
        )
    # The optimizer declares every domain that it knows; a runtime may not know them all.
    model = onnx.load(target)
    used = {node.domain for node in model.graph.node}
    kept = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    onnx.save(model, target)


def accuracy(path, data):
    """Share of right answers, in percentage points."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    images, labels = data
    right = 0
    for start in range(0, len(images), ROWS):
        (logits,) = session.run(["logits"], {"image": as_input(images[start : start + ROWS])})
        right += int((logits.argmax(1) == labels[start : start + ROWS]).sum())
    return 100 * right / len(images)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folder", type=pathlib.Path, help="holds NAME.onnx; NAME-int8.onnx is added"
    )
    parser.add_argument("names", nargs="+", help="variants to quantize")
    parser.add_argument("--data", type=pathlib.Path, default=INSTALLED)
    arguments = parser.parse_args()
    training, validation = read_training(arguments.data)
    for name in arguments.names:
        source = arguments.folder / f"{name}.onnx"
        target = arguments.folder / f"{name}-int8.onnx"
        quantize(source, target, training[0][:CALIBRATION_IMAGES])
        before, after = accuracy(source, validation), accuracy(target, validation)
        print(f"{name}: validation {before:.2f} %, int8 {after:.2f} %")
        path = arguments.folder / "training.json"
        results = json.loads(path.read_text())
        results[target.stem] = {"validation": round(after, 2)}
        path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

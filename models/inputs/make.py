#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes real inputs of every model, and the answers to expect, in the format of README.md here.

Needs numpy only. What a reference had to compute (silero-vad's states and answers) is kept beside
this file; speech.py made it.
"""

import argparse
import pathlib
import shutil
import struct
import sys
import wave
import zlib

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "magika"), str(HERE.parent / "fashion")]

from dataset import as_input, read_test  # noqa: E402
from features import features  # noqa: E402
from samples import samples  # noqa: E402

FASHION_ROWS = 500
# Picture -> ImageNet class that all three variants give it, and its name.
PICTURES = {
    "cat": (285, "Egyptian cat"),
    "coffee": (967, "espresso"),
    "camera": (872, "tripod"),
    "rocket": (657, "missile"),
}
FRAME, CONTEXT, SAMPLE_RATE = 512, 64, 16000


def read_png(path):
    """The pixels [height, width, 3] of a PNG file of 8 bits per colour, not interlaced."""
    raw = path.read_bytes()
    at, packed = 8, b""
    while at < len(raw):
        size, kind = struct.unpack_from(">I4s", raw, at)
        body = raw[at + 8 : at + 8 + size]
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", body)
            if (depth, colour, interlaced) != (8, 2, 0):
                raise ValueError(f"{path}: not 8-bit RGB without interlace")
        elif kind == b"IDAT":
            packed += body
        at += 12 + size
    lines = zlib.decompress(packed)
    size = 3 * width
    above, rows = bytearray(size), []
    for start in range(0, len(lines), size + 1):
        filtering, line = lines[start], bytearray(lines[start + 1 : start + 1 + size])
        for i in range(size):
            a = line[i - 3] if i >= 3 else 0
            b = above[i]
            if filtering == 1:
                line[i] = (line[i] + a) & 255
            elif filtering == 2:
                line[i] = (line[i] + b) & 255
            elif filtering == 3:
                line[i] = (line[i] + (a + b) // 2) & 255
            elif filtering == 4:
                c = above[i - 3] if i >= 3 else 0
                # The Paeth predictor: of left, above and both, the one nearest to a + b - c.
                da, db, dc = abs(b - c), abs(a - c), abs(a + b - 2 * c)
                nearest = a if da <= db and da <= dc else b if db <= dc else c
                line[i] = (line[i] + nearest) & 255
        rows.append(np.frombuffer(line, np.uint8))
        above = line
    return np.stack(rows).reshape(height, width, 3)


def frames(path):
    """silero-vad's `input` [frames, 576]: every frame with the end of the one before it."""
    with wave.open(str(path)) as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (SAMPLE_RATE, 1, 2):
            raise ValueError(f"{path}: not 16 bits, mono, {SAMPLE_RATE} Hz")
        audio = np.frombuffer(file.readframes(file.getnframes()), "<i2") / np.float32(32768)
    audio = np.concatenate([np.zeros(CONTEXT, np.float32), audio])
    count = (len(audio) - CONTEXT) // FRAME
    return np.stack([audio[i * FRAME : (i + 1) * FRAME + CONTEXT] for i in range(count)])


def write(out, model, inputs, expected):
    """One model's files. inputs: name -> (datatype, array with one row per request)."""
    rows = {len(array) for _, array in inputs.values()}
    (count,) = rows
    lines = [f"model: {model}", f"rows: {count}", "inputs:"]
    for name, (datatype, array) in inputs.items():
        file = f"{model}.bin" if len(inputs) == 1 else f"{model}.{name}.bin"
        array.astype(array.dtype.newbyteorder("<")).tofile(out / file)
        shape = ", ".join(str(edge) for edge in array.shape[1:])
        lines += [f"  - name: {name}", f"    datatype: {datatype}"]
        lines += [f"    row_shape: [{shape}]", f"    file: {file}"]
    lines.append("expected:")
    lines += [f"  {key}: {value}" for key, value in expected.items()]
    (out / f"{model}.yaml").write_text("\n".join(lines) + "\n")


def listed(items):
    return f"[{', '.join(str(item) for item in items)}]"


def fashion(out):
    images, labels = (array[:FASHION_ROWS] for array in read_test())
    write(
        out,
        "fashion",
        {"image": ("FP32", as_input(images))},
        {"output": "logits", "how": "argmax", "basis": "truth", "labels": listed(labels)},
    )


def efficientnet_lite(out):
    pictures = [read_png(HERE / "pictures" / f"{name}.png") for name in PICTURES]
    array = np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32)
    write(
        out,
        "efficientnet-lite",
        {"input": ("FP32", array)},
        {
            "output": "logits",
            "how": "argmax",
            "basis": "reference",
            "labels": listed(label for label, _ in PICTURES.values()),
            "names": listed(name for _, name in PICTURES.values()),
        },
    )


def silero_vad(out):
    array = frames(HERE / "speech.wav")
    state = np.fromfile(HERE / "silero-vad.state.bin", "<f4").reshape(len(array), 2, 1, 128)
    shutil.copy(HERE / "silero-vad.output.bin", out)
    write(
        out,
        "silero-vad",
        {
            "input": ("FP32", array[:, None]),
            "state": ("FP32", state),
            "sr": ("INT64", np.full(len(array), SAMPLE_RATE, np.int64)),
        },
        {
            "output": "output",
            "how": "close",
            "basis": "reference",
            "atol": 0.001,
            "file": "silero-vad.output.bin",
        },
    )


def magika(out, labels):
    order = labels.read_text().split()
    names = [name for name, _ in samples()]
    write(
        out,
        "magika",
        {"bytes": ("INT32", np.stack([features(content) for _, content in samples()]))},
        {
            "output": "target_label",
            "how": "argmax",
            "basis": "reference",
            "labels": listed(order.index(name) for name in names),
            "names": listed(names),
        },
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path, help="folder to write to")
    parser.add_argument("--magika-labels", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    fashion(arguments.out)
    efficientnet_lite(arguments.out)
    silero_vad(arguments.out)
    magika(arguments.out, arguments.magika_labels)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the MiB that a model adds to a process that already holds ONNX Runtime.

Resident memory after loading and after three runs of the largest batch, on one thread, less what
the process had before. Needs numpy and onnxruntime, and a fresh process for every model, since
memory that was used once need not be given back.
"""

import argparse
import os
import pathlib

import numpy as np
import onnxruntime

TYPES = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(int64)": np.int64}


def resident():
    """Bytes."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("onnx", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=1, help="size of dimensions that are dynamic")
    parser.add_argument("--size", action="append", default=[], metavar="DIMENSION=N",
                        help="size of one of them")  # fmt: skip
    arguments = parser.parse_args()
    sizes = {name: int(size) for name, size in (pair.split("=") for pair in arguments.size)}

    onnxruntime.set_default_logger_severity(3)  # makes the environment
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    before = resident()
    session = onnxruntime.InferenceSession(
        arguments.onnx, options, providers=["CPUExecutionProvider"]
    )
    feed = {}
    for tensor in session.get_inputs():
        shape = [
            edge if isinstance(edge, int) else sizes.get(edge, arguments.rows)
            for edge in tensor.shape
        ]
        feed[tensor.name] = np.zeros(shape, TYPES[tensor.type])
    for _ in range(3):
        session.run(None, feed)
    print(f"{(resident() - before) / 2**20:.1f}")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Fashion-MNIST as arrays, and the one split of its training images that all scripts use."""

import gzip
import pathlib

import numpy as np

INSTALLED = pathlib.Path("/usr/share/datasets/fashion-mnist")  # Debian's dataset-fashion-mnist
TEST = pathlib.Path(__file__).resolve().parent / "test"
VALIDATION_IMAGES = 5000
SPLIT_SEED = 20250801


def read_idx(path):
    """The array in a gzipped idx file (bytes: two zeros, type, rank, then big-endian sizes)."""
    raw = gzip.open(path).read()
    sizes = np.frombuffer(raw, ">u4", raw[3], 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(sizes)


def as_input(images):
    """`image` f32 [N,1,28,28] in [0,1] of u8 [N,28,28]."""
    return (images / np.float32(255))[:, None]


def read_test():
    """Images u8 [10000,28,28] and labels u8 [10000]."""
    return tuple(
        read_idx(TEST / f"t10k-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1")
    )


def read_training(folder):
    """(images, labels) to learn from, and (images, labels) held out for validation."""
    images = read_idx(folder / "train-images-idx3-ubyte.gz")
    labels = read_idx(folder / "train-labels-idx1-ubyte.gz")
    order = np.random.default_rng(SPLIT_SEED).permutation(len(images))
    held_out, kept = order[:VALIDATION_IMAGES], order[VALIDATION_IMAGES:]
    return (images[kept], labels[kept]), (images[held_out], labels[held_out])

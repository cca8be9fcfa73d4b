# SPDX-License-Identifier: Apache-2.0
"""How the bytes of a file become magika's input.

The facts are those of the package magika 1.0.3: the config.min.json of its model standard_v3_3,
and what its code does (its comments promise to strip short files at both ends; the code does not).
"""

import numpy as np

SIDE = 1024  # bytes taken from the beginning, and as many from the end
BLOCK = 4096  # bytes looked at on either side, before white space is stripped
PADDING = 256  # one more than any byte
LEAST = 8  # a file of fewer bytes is not for the model


def features(content):
    """`bytes` i32 [2048]: the first SIDE bytes, padded behind, then the last SIDE, padded before.

    Leading white space does not count as beginning, trailing white space not as end. Raises
    ValueError where there is too little to judge.
    """
    first = content[:BLOCK].lstrip()[:SIDE]
    last = content[-BLOCK:].rstrip()[-SIDE:]
    if len(first) < LEAST:
        raise ValueError(f"fewer than {LEAST} bytes to judge")
    row = np.full(2 * SIDE, PADDING, np.int32)
    row[: len(first)] = np.frombuffer(first, np.uint8)
    row[len(row) - len(last) :] = np.frombuffer(last, np.uint8)
    return row

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Computes with ONNX Runtime what silero-vad answers to speech.wav: the state that every frame is
sent with, and the probability of speech in it. Needs numpy and onnxruntime.
"""

import argparse
import pathlib

import numpy as np
import onnxruntime
from make import HERE, SAMPLE_RATE, frames


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("onnx", type=pathlib.Path, help="silero-vad's model")
    arguments = parser.parse_args()
    session = onnxruntime.InferenceSession(arguments.onnx, providers=["CPUExecutionProvider"])
    state = np.zeros((2, 1, 128), np.float32)
    states, outputs = [], []
    for frame in frames(HERE / "speech.wav"):
        states.append(state)
        feed = {"input": frame[None], "state": state, "sr": np.array(SAMPLE_RATE)}
        output, state = session.run(["output", "stateN"], feed)
        outputs.append(output)
    np.stack(states).astype("<f4").tofile(HERE / "silero-vad.state.bin")
    np.stack(outputs).astype("<f4").tofile(HERE / "silero-vad.output.bin")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the labels of magika's model, one per line in the order of its output."""

import argparse
import json
import pathlib
import zipfile


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=pathlib.Path, help="wheel of magika")
    parser.add_argument("labels", type=pathlib.Path, help="file to write")
    arguments = parser.parse_args()
    with zipfile.ZipFile(arguments.wheel) as wheel:
        (name,) = [
            name for name in wheel.namelist() if name.endswith("/standard_v3_3/config.min.json")
        ]
        labels = json.loads(wheel.read(name))["target_labels_space"]
    arguments.labels.write_text("".join(f"{label}\n" for label in labels))


if __name__ == "__main__":
    main()

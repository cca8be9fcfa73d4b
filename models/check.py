#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks model repositories: all files are there, are valid ONNX, and are what is said of them.

Per model: config.pbtxt names the folder; every input and output that it lists is in every variant
with that type and those dimensions (a dynamic one may be said to be fixed); variants agree with
each other; label files have a line per class; duly.yaml names every ONNX file once. Prints every
fault. Needs onnx only.
"""

import argparse
import pathlib
import re
import sys

import onnx

MODELS = pathlib.Path(__file__).resolve().parent
TYPES = {
    "TYPE_FP32": onnx.TensorProto.FLOAT,
    "TYPE_INT32": onnx.TensorProto.INT32,
    "TYPE_INT64": onnx.TensorProto.INT64,
}
TOKEN = re.compile(r'#[^\n]*|"([^"]*)"|([A-Za-z_0-9.+-]+)|([][{}:,])')


def read_pbtxt(text):
    """Protobuf's text format as lists of (name, value); as much of it as our files use."""
    tokens = [match for match in TOKEN.finditer(text) if not match.group().startswith("#")]
    at = 0

    def value():
        nonlocal at
        match = tokens[at]
        at += 1
        if match.group() == "[":
            items = []
            while tokens[at].group() != "]":
                items.append(value())
                if tokens[at].group() == ",":
                    at += 1
            at += 1
            return items
        if match.group() == "{":
            return message("}")
        return match.group(1) if match.group(1) is not None else match.group(2)

    def message(end):
        nonlocal at
        fields = {}
        while at < len(tokens) and tokens[at].group() != end:
            name = tokens[at].group()
            at += 1
            if tokens[at].group() == ":":
                at += 1
            fields[name] = value()
        at += 1
        return fields

    return message(None)


def read_variants(text):
    """The variants in a duly.yaml: a list of {key: text}."""
    variants = []
    for line in text.partition("variants:")[2].splitlines():
        match = re.match(r"\s*(- )?\s*(\w+): *(.*?)(?:\s+#.*)?$", line)
        if match:
            if match[1]:
                variants.append({})
            variants[-1][match[2]] = match[3]
    return variants


def tensors(model):
    """(inputs, outputs), each name -> (type, dimensions), a dynamic dimension as -1."""

    def described(values):
        return {
            value.name: (
                value.type.tensor_type.elem_type,
                [edge.dim_value or -1 for edge in value.type.tensor_type.shape.dim],
            )
            for value in values
        }

    return described(model.graph.input), described(model.graph.output)


def check_model(folder):
    """The faults of one model's folder, as text."""
    faults = []
    config = read_pbtxt((folder / "config.pbtxt").read_text())
    if config.get("name") != folder.name:
        faults.append(f"config.pbtxt: name is {config.get('name')!r}")
    rows = [-1] if int(config.get("max_batch_size", 0)) else []

    variants = read_variants((folder / "duly.yaml").read_text())
    stated = [variant["file"] for variant in variants]
    present = {path.name for path in (folder / "1").glob("*.onnx")}
    if len(set(stated)) != len(stated) or set(stated) != present:
        faults.append(f"duly.yaml names {sorted(stated)}, version 1 holds {sorted(present)}")
    if config.get("default_model_filename", "model.onnx") not in present:
        faults.append("config.pbtxt: default_model_filename is not there")

    first = None
    for file in sorted(present):
        model = onnx.load(folder / "1" / file)
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            faults.append(f"{file}: {error}")
            continue
        actual = tensors(model)
        first = first or actual
        if actual != first:
            faults.append(f"{file}: inputs and outputs differ from those of another variant")
        for kind, found in zip(("input", "output"), actual):
            listed = config.get(kind, [])
            if listed and {tensor["name"] for tensor in listed} != set(found):
                faults.append(f"{file}: has {kind}s {sorted(found)}, not those of config.pbtxt")
                continue
            for tensor in listed:
                kind_said, said = (
                    TYPES[tensor["data_type"]],
                    rows + [int(edge) for edge in tensor["dims"]],
                )
                kind_had, had = found[tensor["name"]]
                fits = len(said) == len(had) and all(h in (-1, s) for s, h in zip(said, had))
                if kind_said != kind_had or not fits:
                    faults.append(
                        f"{file}: {tensor['name']} is {kind_had} {had}, not {kind_said} {said}"
                    )

    for tensor in config.get("output", []):
        if "label_filename" in tensor:
            labels = (folder / tensor["label_filename"]).read_text().splitlines()
            if len(labels) != int(tensor["dims"][-1]):
                faults.append(
                    f"{tensor['label_filename']}: {len(labels)} lines for {tensor['dims']}"
                )
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    fetched = MODELS.parent / ".deps/models"
    parser.add_argument(
        "repositories",
        nargs="*",
        type=pathlib.Path,
        default=[MODELS / "repository", *([fetched] if fetched.exists() else [])],
        help="default: models/repository, and .deps/models where it is",
    )
    faults = 0
    for repository in parser.parse_args().repositories:
        for folder in sorted(path.parent for path in repository.glob("*/config.pbtxt")):
            found = check_model(folder)
            faults += len(found)
            print(f"{folder.name}: {'sound' if not found else f'{len(found)} faults'}")
            for fault in found:
                print(f"  {fault}")
    sys.exit(faults > 0)


if __name__ == "__main__":
    main()

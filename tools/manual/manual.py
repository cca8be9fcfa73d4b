#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the manual page duly(1), made of what the program itself says with --help."""

import argparse
import re
import subprocess


def help_of(program, *path):
    return subprocess.run([*program, *path, "--help"], capture_output=True, text=True, check=True).stdout


def children_of(text):
    """Names of the subcommands that a help text lists."""
    block = re.search(r"^Subcommands:\n((?:  .*\n)+)", text, re.MULTILINE)
    return re.findall(r"^  (\S+)", block.group(1), re.MULTILINE) if block else []


def roff(text):
    """Text as it stands: backslashes, and dots and quotes that begin a line, mean something to roff."""
    return re.sub(r"^([.'])", r"\\&\1", text.replace("\\", "\\e").replace("-", "\\-"), flags=re.MULTILINE)


def sections(program, path=()):
    """A section for each command, parents first."""
    text = help_of(program, *path)
    title = " ".join(["duly", *path]) if path else "USAGE"
    yield f'.SH "{roff(title)}"\n.nf\n{roff(text.strip())}\n.fi\n'
    for child in children_of(text):
        yield from sections(program, (*path, child))


def manual(program):
    build = subprocess.run([*program, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    version = build.partition(" (")[0]
    return "".join([
        f'.TH DULY 1 "" "{roff(version)}" "User Commands"\n',
        ".SH NAME\nduly \\- serves DNNs on small machines and keeps their deadlines\n",
        *sections(program),
        ".SH EXIT STATUS\n0: done. 1: the work failed, or a bound asked for with \\-\\-require does not hold.\n"
        "2: bad usage, file or configuration; nothing was started.\n",
    ])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", nargs="+", help="duly, behind what runs programs of its machine")
    print(manual(parser.parse_args().program), end="")

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks what no compiler checks: who includes whom, and where time, sleep and chance may come from.

  tools/lint/lint.py [--root DIR] [--no-format] [FILE...]     default: every file that git knows or would add

Prints `file:line: rule: message` for each finding; exit status 1 if there is one. A line may be exempted by
a comment that gives the reason, on the line itself or alone on the line before:  // lint: allow(RULE) REASON
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys
from typing import Iterator, NamedTuple, Optional

# Who may include whom, besides itself. docs/architecture.md says why. A `*` stands for one folder, never for
# interface, common or registry. A new folder gets a row here in the commit that adds it.
MAY_INCLUDE = {
    "base": "",
    "model": "base",
    "queueing": "base",
    "placement": "base queueing",
    "profile": "base model",
    "device_model": "base model",
    "repository": "base model profile",
    "workload": "base model",
    "platform": "base model",
    "policy/interface": "base model profile",
    "policy/common": "base model profile queueing policy/interface",
    "policy/*": "base model profile queueing policy/interface policy/common",
    "policy/registry": "base model profile queueing policy/interface policy/common policy/*",
    "engine": "base model profile policy/interface",
    "telemetry": "base model profile policy/interface engine",
    "backend/interface": "base model",
    "backend/common": "base model profile backend/interface",
    "backend/*": "base model profile device_model backend/interface backend/common",
    "backend/registry": "base model profile backend/interface backend/common backend/*",
    "sim": "base model profile device_model repository workload policy/interface engine telemetry",
    "runtime": "base model profile platform policy/interface engine telemetry backend/interface",
    "server": "base model profile placement repository engine runtime telemetry backend/interface",
    "cli": "everything",
}

# Rings 1 and 2 are pure: no threads, no locks, no files, no sockets.
PURE = ("model", "queueing", "placement", "device_model", "policy", "engine", "sim")
IMPURE_HEADERS = re.compile(
    r"(thread|mutex|shared_mutex|condition_variable|future|semaphore|stop_token|iostream|fstream"
    r"|pthread\.h|sys/socket\.h|sys/un\.h|sys/epoll\.h|poll\.h|netdb\.h|netinet/.*|arpa/inet\.h"
    r"|boost/(asio|beast)([./].*)?|base/mutex\.h)$"
)

# Where the time is read, where threads sleep and where chance enters; everything else is handed these.
DRIVERS = (
    "src/runtime/",
    "src/server/",
    "src/cli/",
    "src/backend/emulated/",
    "src/backend/common/monotonic.cc",
    "bench/",
)
SOURCES_OF_CHANGE = {
    "clock": re.compile(
        r"::now\s*\(|\b(clock_gettime|gettimeofday|__rdtsc)\b|\bstd::time\s*\("
        r"|\btime\s*\(\s*(nullptr|NULL|0|&)|\bwait_(for|until)\s*\("
    ),
    "sleep": re.compile(r"\b(sleep_for|sleep_until|usleep|nanosleep|clock_nanosleep)\b|(?<![\w.>])sleep\s*\("),
    "random": re.compile(
        r"(?<![\w.>])s?rand\s*\(|\b(random_device|mt19937(_64)?|default_random_engine|minstd_rand0?)\b"
        r"|^\s*#\s*include\s*<random>"
    ),
}
CHANGE_HELP = {
    "clock": "the time is an argument; clocks are read in drivers (runtime, server, cli, backend/emulated)",
    "sleep": "only drivers sleep; tests wait for an event",
    "random": "draw from a RandomStream that was passed in (base/random.h)",
}

CXX = (".h", ".cc", ".c")
CODE = CXX + (".cmake", ".py", ".sh", ".proto")
TEXT = CODE + (".md", ".json", ".yaml", ".yml", ".txt", ".in")

UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")
MACHINE_PATH = re.compile(r"(?<![\w.~/}:-])/(home|Users|root|work|workspace)/\w")
ALLOW = re.compile(r"(?://|#)\s*lint:\s*allow\((\w+)\)\s*(.*)")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


class Finding(NamedTuple):
    path: str
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.message}"


def layer_of(path: str) -> Optional[str]:
    """The row of MAY_INCLUDE for a path below src/ ('policy/edf/edf.h' -> 'policy/*'); None: there is none."""
    parts = path.split("/")
    if len(parts) < 2:
        return None
    if parts[0] not in ("policy", "backend"):
        return parts[0] if parts[0] in MAY_INCLUDE else None
    second = parts[1].split(".")[0]
    if second.removesuffix("_test") == "registry":
        return f"{parts[0]}/registry"
    if len(parts) < 3:
        return None
    return f"{parts[0]}/{second}" if f"{parts[0]}/{second}" in MAY_INCLUDE else f"{parts[0]}/*"


def is_test(path: str) -> bool:
    return path.startswith(("tests/", "bench/")) or bool(
        re.search(r"_(test|test_util|bench|fuzz)\.(cc|h)$|^src/(.+/)?testing/", path)
    )


def blank_literals(source: str) -> str:
    """C++ with comments and the insides of literals replaced by spaces; offsets and lines stay."""

    def blank(match: re.Match) -> str:
        token = match.group(0)
        if match.lastgroup == "keep":
            return token
        return re.sub(r"[^\n]", " ", token)

    token = re.compile(
        r'(?P<keep>^[ \t]*#[ \t]*include[ \t]*"[^"\n]*"|\b\d[\w\']*)'  # paths; numbers with separators
        r'|R"(?P<delimiter>[^()\\\s]{0,16})\((?:.|\n)*?\)(?P=delimiter)"'
        r'|//(?:[^\n\\]|\\\n|\\)*|/\*(?:.|\n)*?\*/'
        r'|"(?:[^"\\\n]|\\.|\\\n)*"'
        r"|'(?:[^'\\\n]|\\.)*'",
        re.MULTILINE,
    )
    return token.sub(blank, source)


def check_include(path: str, quote: str, target: str) -> Iterator[tuple[str, str]]:
    if not path.startswith("src/") or is_test(path):
        return
    inner = path.removeprefix("src/")
    layer = layer_of(inner)
    if layer is None:
        return  # reported once per file
    if inner.split("/")[0] in PURE and IMPURE_HEADERS.match(target):
        yield "pure", f"{layer} is pure: no {target} (threads, locks, files and sockets belong to drivers)"
        return
    if quote == "<" or layer == "cli":
        return
    target_layer = layer_of(target)
    if target_layer is None:
        yield "include", f'"{target}" names no folder of the table: write includes from the src root'
    elif is_test("src/" + target):
        yield "include", f'"{target}" is for tests'
    elif target_layer == layer and not layer.endswith("/*"):
        return
    elif target_layer == layer and inner.split("/")[1] == target.split("/")[1]:
        return
    elif target_layer not in MAY_INCLUDE[layer].split():
        yield "include", f'{layer} may not include "{target}"; it may include: {MAY_INCLUDE[layer] or "nothing"}'


def check_cxx(path: str, source: str) -> Iterator[tuple[int, str, str]]:
    if path.startswith("src/") and layer_of(path.removeprefix("src/")) is None:
        yield 1, "include", "this folder is not in the table of tools/lint/lint.py: add it, and say why it exists"
    if path.endswith(".h") and not re.search(r"^#pragma once$", source, re.MULTILINE):
        yield 1, "once", "header without #pragma once"
    in_driver = path.startswith(DRIVERS)
    for number, line in enumerate(blank_literals(source).splitlines(), 1):
        if include := INCLUDE.match(line):
            for rule, message in check_include(path, *include.groups()):
                yield number, rule, message
        for rule, pattern in SOURCES_OF_CHANGE.items():
            allowed = (in_driver or is_test(path)) if rule != "sleep" else (in_driver and not is_test(path))
            if not allowed and pattern.search(line):
                yield number, rule, CHANGE_HELP[rule]


def check_text(path: str, source: str) -> Iterator[tuple[int, str, str]]:
    name = path.rsplit("/", 1)[-1]
    code = name.endswith(CODE) or name in ("Makefile", "CMakeLists.txt", ".clang-tidy") or source.startswith("#!")
    lines = source.splitlines()
    if code and not any("SPDX-License-Identifier: Apache-2.0" in line for line in lines[:3]):
        yield 1, "licence", "no SPDX line: SPDX-License-Identifier: Apache-2.0"
    for number, line in enumerate(lines, 1):
        if code and UNFINISHED.search(line):
            yield number, "unfinished", "finish it, or open an issue"
        if code and name != "Makefile" and "\t" in line:
            yield number, "tab", "tab character"
        if MACHINE_PATH.search(line):
            yield number, "path", "absolute path of one machine"
    if source and not source.endswith("\n"):
        yield len(lines), "newline", "no newline at the end of the file"


def lint_source(path: str, source: str) -> list[Finding]:
    """All findings of one file, whose path is relative to the root, less the lines that are exempted."""
    found = list(check_text(path, source))
    if path.endswith(CXX):
        found += check_cxx(path, source)
    lines = source.splitlines()
    allowed: set[tuple[int, str]] = set()
    for number, line in enumerate(lines, 1):
        if match := ALLOW.search(line):
            rule, reason = match.groups()
            alone = line.strip().startswith(("//", "#"))
            if reason.strip():
                allowed.add((number + 1 if alone else number, rule))
            elif path.endswith(CXX):
                found.append((number, "allow", "an exemption needs a reason: // lint: allow(RULE) REASON"))
    return sorted(Finding(path, *finding) for finding in found if finding[:2] not in allowed)


def format_findings(root: pathlib.Path, paths: list[str]) -> list[Finding]:
    """Versions of clang-format disagree with each other, so only the one in use here is asked."""
    tool = next((tool for tool in ("clang-format-14", "clang-format") if shutil.which(tool)), None)
    version = subprocess.run([tool, "--version"], capture_output=True, text=True).stdout if tool else ""
    if "version 14." not in version:
        print("lint: no clang-format 14 here: the layout was not checked", file=sys.stderr)
        return []
    found = {}
    for start in range(0, len(paths), 200):
        command = [tool, "--dry-run", "-Werror", *paths[start : start + 200]]
        output = subprocess.run(command, cwd=root, capture_output=True, text=True)
        for match in re.finditer(r"^(.+?):(\d+):\d+: (?:error|warning): ", output.stderr, re.MULTILINE):
            found.setdefault(match[1], Finding(match[1], int(match[2]), "format", f"run {tool} -i {match[1]}"))
        if output.returncode != 0 and not found:
            found[""] = Finding(paths[start], 1, "format", output.stderr.strip())
    return sorted(found.values())


def tree(root: pathlib.Path) -> list[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    output = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    return sorted({path for path in output.split("\0") if path and (root / path).is_file()})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2])
    parser.add_argument("--no-format", action="store_true", help="leave clang-format out")
    parser.add_argument("files", nargs="*", help="relative to the root")
    arguments = parser.parse_args()
    paths = arguments.files or tree(arguments.root)

    findings = []
    checked = 0
    for path in paths:
        name = path.rsplit("/", 1)[-1]
        if path.startswith("tests/corpus/"):
            continue  # bytes, whatever they look like
        if not (name.endswith(TEXT) or name in ("Makefile", ".clang-tidy") or "." not in name.lstrip(".")):
            continue
        try:
            source = (arguments.root / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        findings += lint_source(path, source)
        checked += 1
    if not arguments.no_format:
        findings += format_findings(arguments.root, [path for path in paths if path.endswith(CXX)])
    for finding in findings:
        print(finding)
    print(f"lint: {checked} files, {len(findings)} findings", file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())

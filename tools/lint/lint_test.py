#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
import pathlib
import subprocess
import sys
import tempfile
import unittest

import lint

SPDX = "// SPDX-License-Identifier: Apache-2.0\n"
ONCE = "#pragma once\n"


def rules(path: str, body: str, head: str = SPDX) -> list[str]:
    if path.endswith(".h") and head == SPDX:
        head += ONCE
    return [finding.rule for finding in lint.lint_source(path, head + body)]


class IncludeDirection(unittest.TestCase):
    def include(self, path: str, target: str) -> list[str]:
        return rules(path, f'#include "{target}"\n')

    def test_rows_of_the_table_are_enforced(self):
        for path, target, expected in [
            ("src/base/a.h", "base/b.h", []),
            ("src/base/a.h", "model/b.h", ["include"]),
            ("src/model/a.h", "profile/b.h", ["include"]),
            ("src/queueing/a.h", "model/b.h", ["include"]),
            ("src/profile/a.cc", "model/b.h", []),
            ("src/repository/a.cc", "profile/b.h", []),
            ("src/repository/a.cc", "engine/b.h", ["include"]),
            ("src/engine/a.h", "policy/interface/dispatch.h", []),
            ("src/engine/a.h", "policy/edf/edf.h", ["include"]),
            ("src/engine/a.h", "policy/registry.h", ["include"]),
            ("src/engine/a.h", "runtime/b.h", ["include"]),
            ("src/engine/a.h", "backend/interface/backend.h", ["include"]),
            ("src/telemetry/a.h", "engine/b.h", []),
            ("src/runtime/a.h", "backend/interface/backend.h", []),
            ("src/runtime/a.h", "backend/onnxruntime/b.h", ["include"]),
            ("src/runtime/a.h", "server/b.h", ["include"]),
            ("src/server/a.h", "runtime/b.h", []),
            ("src/server/a.h", "policy/interface/dispatch.h", ["include"]),
            ("src/server/a.h", "cli/b.h", ["include"]),
            ("src/cli/a.cc", "policy/edf/edf.h", []),
        ]:
            with self.subTest(path=path, target=target):
                self.assertEqual(self.include(path, target), expected)

    def test_policies_do_not_include_each_other(self):
        self.assertEqual(self.include("src/policy/edf/edf.cc", "policy/edf/config.h"), [])
        self.assertEqual(self.include("src/policy/edf/edf.cc", "policy/common/batch.h"), [])
        self.assertEqual(self.include("src/policy/edf/edf.cc", "policy/interface/dispatch.h"), [])
        self.assertEqual(self.include("src/policy/edf/edf.cc", "policy/fifo/fifo.h"), ["include"])
        self.assertEqual(self.include("src/policy/edf/edf.cc", "policy/registry.h"), ["include"])
        self.assertEqual(self.include("src/policy/registry.cc", "policy/fifo/fifo.h"), [])
        self.assertEqual(self.include("src/policy/registry/registry.cc", "policy/fifo/fifo.h"), [])

    def test_back_ends_meet_only_in_the_registry(self):
        self.assertEqual(self.include("src/backend/copy/a.cc", "backend/common/batch.h"), [])
        self.assertEqual(self.include("src/backend/common/batch.cc", "backend/copy/a.h"), ["include"])
        self.assertEqual(self.include("src/backend/emulated/a.cc", "backend/interface/backend.h"), [])
        self.assertEqual(self.include("src/backend/emulated/a.cc", "backend/onnxruntime/b.h"), ["include"])
        self.assertEqual(self.include("src/backend/emulated/a.cc", "backend/registry.h"), ["include"])
        self.assertEqual(self.include("src/backend/registry.cc", "backend/onnxruntime/b.h"), [])

    def test_tests_and_benchmarks_may_include_anything(self):
        for path in ("src/model/a_test.cc", "src/model/a_bench.cc", "src/model/a_fuzz.cc", "tests/replay_test.cc"):
            self.assertEqual(self.include(path, "server/b.h"), [])

    def test_product_code_does_not_include_test_code(self):
        self.assertEqual(self.include("src/engine/a.cc", "engine/fakes_test_util.h"), ["include"])
        self.assertEqual(self.include("src/engine/a.cc", "base/testing/temp_folder.h"), ["include"])
        self.assertEqual(self.include("src/base/testing/temp_folder.h", "base/testing/b.h"), [])

    def test_includes_are_written_from_the_root(self):
        self.assertEqual(self.include("src/model/a.cc", "outcome.h"), ["include"])
        self.assertEqual(self.include("src/model/a.cc", "../base/result.h"), ["include"])

    def test_a_folder_without_a_row_is_refused(self):
        self.assertEqual(rules("src/novel/a.cc", ""), ["include"])
        self.assertEqual(rules("src/policy/stray.h", ""), ["include"])
        self.assertEqual(self.include("src/cli/a.cc", "novel/a.h"), [])

    def test_line_is_that_of_the_include(self):
        finding = lint.lint_source("src/base/a.cc", SPDX + '\n#include "model/b.h"\n')[0]
        self.assertEqual(str(finding)[:31], "src/base/a.cc:3: include: base ")

    def test_a_commented_include_is_none(self):
        self.assertEqual(rules("src/base/a.cc", '// #include "model/b.h"\n/*\n#include "model/b.h"\n*/\n'), [])


class Purity(unittest.TestCase):
    def test_rings_1_and_2_know_no_threads_files_and_sockets(self):
        for header in ("thread", "mutex", "condition_variable", "iostream", "fstream", "sys/socket.h",
                       "netinet/in.h", "boost/asio.hpp", "boost/asio/ip/tcp.hpp", "boost/beast/http.hpp"):
            for path in ("src/engine/a.cc", "src/policy/edf/a.cc", "src/queueing/a.h", "src/model/a.h"):
                with self.subTest(path=path, header=header):
                    self.assertEqual(rules(path, f"#include <{header}>\n"), ["pure"])
            self.assertEqual(rules("src/runtime/a.cc", f"#include <{header}>\n"), [])
            self.assertEqual(rules("src/engine/a_test.cc", f"#include <{header}>\n"), [])

    def test_the_lock_wrapper_counts_as_a_lock(self):
        self.assertEqual(rules("src/engine/a.h", '#include "base/mutex.h"\n'), ["pure"])

    def test_other_headers_are_fine(self):
        self.assertEqual(rules("src/engine/a.h", "#include <vector>\n#include <mutex_like>\n"), [])


class TimeSleepAndChance(unittest.TestCase):
    CLOCK = ("auto t = std::chrono::steady_clock::now();", "clock_gettime(CLOCK_MONOTONIC, &ts);",
             "long t = std::time(nullptr);", "long t = time(NULL);", "cv.wait_for(lock, d);")
    SLEEP = ("std::this_thread::sleep_for(d);", "std::this_thread::sleep_until(t);", "usleep(5);",
             "nanosleep(&ts, nullptr);", "sleep(1);")
    RANDOM = ("int x = rand();", "std::rand();", "std::random_device d;", "std::mt19937 g(1);", "srand(1);",
              "#include <random>")

    def check(self, path: str, lines: tuple[str, ...], expected: list[str]):
        for line in lines:
            with self.subTest(path=path, line=line):
                self.assertEqual(rules(path, line + "\n"), expected)

    def test_refused_outside_drivers(self):
        for path in ("src/engine/a.cc", "src/base/a.h", "src/workload/a.cc", "src/backend/onnxruntime/a.cc"):
            self.check(path, self.CLOCK, ["clock"])
            self.check(path, self.SLEEP, ["sleep"])
            self.check(path, self.RANDOM, ["random"])

    def test_allowed_in_drivers(self):
        for path in ("src/runtime/a.cc", "src/server/a.cc", "src/cli/a.cc", "src/backend/emulated/a.cc"):
            self.check(path, self.CLOCK + self.SLEEP + self.RANDOM, [])

    def test_tests_may_read_clocks_but_not_sleep(self):
        for path in ("src/engine/a_test.cc", "src/runtime/a_test.cc", "tests/a.cc"):
            self.check(path, self.CLOCK + self.RANDOM, [])
            self.check(path, self.SLEEP, ["sleep"])

    def test_named_lines_are_exempt_if_they_say_why(self):
        line = "std::this_thread::sleep_for(d);"
        self.assertEqual(rules("tests/a.cc", f"{line}  // lint: allow(sleep) the peer polls\n"), [])
        self.assertEqual(rules("tests/a.cc", f"// lint: allow(sleep) the peer polls\n{line}\n"), [])
        self.assertEqual(rules("tests/a.cc", f"// lint: allow(sleep) the peer polls\nint x;\n{line}\n"), ["sleep"])
        self.assertEqual(rules("tests/a.cc", f"{line}  // lint: allow(clock) another rule\n"), ["sleep"])
        self.assertEqual(sorted(rules("tests/a.cc", f"{line}  // lint: allow(sleep)\n")), ["allow", "sleep"])

    def test_comments_and_literals_do_not_count(self):
        for line in ('const char* s = "sleep_for(";', "// steady_clock::now() is forbidden",
                     "/* rand() */ int x;", 'auto s = R"x(rand() " sleep_for)x";', "int grand(); grand();",
                     "timers.sleep(1);", "int x = 1'000; // rand()", "char c = '\"'; // rand()"):
            self.assertEqual(rules("src/engine/a.cc", line + "\n"), [], line)

    def test_code_behind_literals_counts(self):
        for line in ("int x = 1'000'000 + rand();", "char c = '\"'; int x = rand(); char d = '\"';",
                     'auto s = "\\"" + std::to_string(rand());', 'auto s = R"(")"; int x = rand();',
                     "int a = 2; /* x */ int x = rand(); // y"):
            self.assertEqual(rules("src/engine/a.cc", line + "\n"), ["random"], line)


class Text(unittest.TestCase):
    def test_licence_line(self):
        self.assertEqual(rules("src/base/a.cc", "int x;\n", head=""), ["licence"])
        self.assertEqual(rules("scripts/a.sh", "#!/bin/sh\n", head=""), ["licence"])
        self.assertEqual(rules(".ci/run", "#!/bin/sh\n", head=""), ["licence"])
        self.assertEqual(rules("README.md", "Duly\n", head=""), [])

    def test_pragma_once(self):
        self.assertEqual(rules("src/base/a.h", "int x;\n", head=SPDX + "\n"), ["once"])

    def test_unfinished_work(self):
        for word in ("TO" "DO", "FIX" "ME"):
            self.assertEqual(rules("src/base/a.cc", f"int x;  // {word}(me): later\n"), ["unfinished"])
        self.assertEqual(rules("src/base/a.cc", "int kMASTODONS;\n"), [])

    def test_tabs(self):
        self.assertEqual(rules("src/base/a.cc", "\tint x;\n"), ["tab"])
        self.assertEqual(rules("Makefile", "all:\n\techo\n", head="# SPDX-License-Identifier: Apache-2.0\n"), [])

    def test_paths_of_one_machine(self):
        for user in ("/home/jo/duly", "/Users/jo/duly", "/root/duly"):  # lint: allow(path) the subject
            self.assertEqual(rules("docs/a.md", f"see `{user}`\n", head=""), ["path"])
        for fine in ("build/root/x", "https://example.org/home/x", "$HOME/work/x", "/usr/include/x"):
            self.assertEqual(rules("docs/a.md", f"see `{fine}`\n", head=""), [], fine)

    def test_last_line_ends(self):
        self.assertEqual(rules("src/base/a.cc", "int x;"), ["newline"])


class Program(unittest.TestCase):
    def run_lint(self, files: dict[str, str]) -> subprocess.CompletedProcess:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["git", "init", "-q", folder], check=True)
            for name, text in files.items():
                path = pathlib.Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            program = pathlib.Path(__file__).with_name("lint.py")
            return subprocess.run([sys.executable, program, "--root", folder, "--no-format"],
                                  capture_output=True, text=True)

    def test_findings_are_printed_and_fail(self):
        result = self.run_lint({"src/base/a.cc": SPDX + '#include "model/b.h"\n', "src/base/b.cc": SPDX})
        self.assertEqual(result.returncode, 1)
        self.assertTrue(result.stdout.startswith("src/base/a.cc:2: include: "), result.stdout)
        self.assertEqual(len(result.stdout.splitlines()), 1)

    def test_a_clean_tree_passes_and_ignored_files_are_left_alone(self):
        result = self.run_lint({"src/base/a.cc": SPDX, ".gitignore": "/build/\n", "build/b.cc": "\t"})
        self.assertEqual((result.returncode, result.stdout), (0, ""))


if __name__ == "__main__":
    unittest.main()

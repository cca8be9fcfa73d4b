# SPDX-License-Identifier: Apache-2.0
"""The unmodified perf_analyzer against `duly serve`. DULY names the program, DEPS the folder .deps."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import Server, copy_model  # noqa: E402

FOLDER = pathlib.Path(os.environ["DEPS"]) / "perf_analyzer"
PROGRAM = FOLDER / "perf_analyzer"
ENVIRONMENT = {**os.environ, "LD_LIBRARY_PATH": str(FOLDER)}
SECONDS = 30
COUNT = 40
LEVEL = 5  # the most requests at once
WINDOWS = ("--measurement-mode", "count_windows", "--measurement-request-count", str(COUNT),
           "--stability-percentage", "999", "--max-trials", "3")
DELAY_US = 1000
COMPUTE_US = r"compute infer (\d+) usec"
server = None


def setUpModule():
    global server
    if not PROGRAM.exists():
        raise unittest.SkipTest(f"{PROGRAM} is not there: it exists for x86-64 only (scripts/setup.sh test)")
    linked = subprocess.run(["ldd", PROGRAM], env=ENVIRONMENT, capture_output=True, text=True, timeout=SECONDS).stdout
    missing = re.findall(r"(\S+) => not found", linked)
    if missing:
        raise unittest.SkipTest(f"this distribution has no {', '.join(missing)}, which perf_analyzer needs")
    folder = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(folder.cleanup)
    copy_model(folder.name, "single", [("FP32", [16]), ("INT64", [2])], delay=f"{DELAY_US}us")
    copy_model(folder.name, "batched", [("FP32", [16])], max_rows=8, delay=f"{DELAY_US}us")
    copy_model(folder.name, "scalar", [("FP32", [1])])
    copy_model(folder.name, "texts", [("BYTES", [-1])], delay=f"{DELAY_US}us")
    server = Server(os.environ["DULY"], folder.name, "--allow-client-shm")
    server.__enter__()
    unittest.addModuleCleanup(server.__exit__, None, None, None)


def run(protocol, *flags, model="single"):
    """The exit status and what was printed."""
    url = server.grpc_url if protocol == "grpc" else server.url
    command = [PROGRAM, "-i", protocol, "-u", url, "-m", model, *flags]
    try:
        done = subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=SECONDS)
    except subprocess.TimeoutExpired as expired:
        metrics = [line for line in server.metrics().splitlines() if f'model="{model}"' in line]
        raise AssertionError("\n".join([str(expired), str(expired.stdout), "the server says:", *metrics])) from None
    return done.returncode, done.stdout


class PerfAnalyzerTest(unittest.TestCase):
    def measure(self, protocol, *flags, levels=1, count=("--request-count", str(COUNT)), **how):
        """Runs it; the report of each level of load, with what both sides must say in it checked."""
        status, said = run(protocol, *count, *flags, **how)
        self.assertEqual(status, 0, said)
        reports = re.split(r"^Request (?:concurrency: \d+|Rate: [\d.]+ inference.*)$", said, flags=re.MULTILINE)[1:]
        self.assertEqual(len(reports), levels, said)
        for report in reports:
            self.assertGreaterEqual(self.number(r"Request count: (\d+)", report), COUNT)
            self.assertGreater(self.number(r"Throughput: ([\d.]+) infer/sec", report), 0)
            # Asked right behind the last answers, the server may not have counted them yet.
            self.assertGreaterEqual(self.number(r"Inference count: (\d+)", report), COUNT - LEVEL)
            self.assertGreater(self.number(r"Execution count: (\d+)", report), 0)
            self.assertGreaterEqual(self.number(r"Successful request count: (\d+)", report), COUNT - LEVEL)
            for part in ("overhead", "queue", "compute input", "compute infer", "compute output"):
                self.number(rf"Avg request latency: \d+ usec \(.*\b{part} (\d+) usec", report)
        return reports

    def number(self, pattern, report):
        found = re.search(pattern, report)
        self.assertIsNotNone(found, f"no '{pattern}' in:\n{report}")
        return float(found[1])

    def test_each_protocol_synchronous_and_asynchronous(self):
        for protocol in ("http", "grpc"):
            for form in ("--sync", "--async"):
                with self.subTest(protocol=protocol, form=form):
                    (report,) = self.measure(protocol, form, "--concurrency-range", "2")
                    self.assertGreaterEqual(self.number(COMPUTE_US, report), DELAY_US)

    def test_grpc_streaming(self):
        (report,) = self.measure("grpc", "--streaming", "--async", "--concurrency-range", "4")
        self.assertGreaterEqual(self.number(COMPUTE_US, report), DELAY_US)

    # It sends one value of a JSON tensor, whatever the shape.
    def test_json_tensors(self):
        self.measure("http", "--input-tensor-format", "json", "--output-tensor-format", "json", model="scalar")

    def test_windows_until_stable(self):
        self.measure("grpc", "--async", "--concurrency-range", "2", count=WINDOWS)

    def test_bytes(self):
        for protocol in ("http", "grpc"):
            with self.subTest(protocol=protocol):
                self.measure(protocol, "--shape", "in0:3", "--string-length", "20", model="texts")

    def test_system_shared_memory(self):
        for protocol in ("http", "grpc"):
            with self.subTest(protocol=protocol):
                self.measure(protocol, "--shared-memory", "system", "--output-shared-memory-size", "4096")

    def test_concurrency_levels_and_batches(self):
        reports = self.measure("grpc", "-b", "2", "--concurrency-range", "1:5:4", model="batched", levels=2, count=WINDOWS)
        for report in reports:
            self.assertEqual(self.number(r"Inference count: (\d+)", report) % 2, 0)
        # The last requests wait while others run; the only one does not.
        queues = [self.number(r"queue (\d+) usec", report) for report in reports]
        self.assertGreater(queues[1], queues[0])

    def test_request_rates(self):
        self.measure("http", "--request-rate-range", "100:200:100", levels=2, count=WINDOWS)
        self.measure("grpc", "--request-rate-range", "100", "--request-distribution", "poisson",
                     count=("--request-count", "100"))

    # Over gRPC only: it refuses the flag with HTTP.
    def test_request_parameters_are_sent(self):
        self.measure("grpc", "--request-parameter", "slo_us:5000000:int")
        status, said = run("grpc", "--request-parameter", "variant:nope:string")
        self.assertNotEqual(status, 0, said)
        self.assertIn("parameter 'variant': expected one of default, not 'nope'", said)

    def test_what_is_wrong_is_said(self):
        status, said = run("http", model="absent")
        self.assertNotEqual(status, 0)
        self.assertIn("unknown model 'absent'", said)


if __name__ == "__main__":
    unittest.main(verbosity=2)

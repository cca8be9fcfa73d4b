#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Instructions that a request costs the server, and how many of them recording and metrics take.

Runs `duly serve` under callgrind (user space only; instructions are counted, nothing is timed) and sends it two
different numbers of requests: 64 B of FP32 to the copy model, as binary tensors, one at a time over one connection. What
start and end cost cancels in the difference. A profile is given, so that nothing is measured at start, and the model
runs on the thread that read the request, as it does without valgrind. Recording and metrics are counted by the functions
that do them: the totals of two runs differ by about 1 %, because reads and wake-ups fall differently.
"""

import argparse
import json
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = ROOT / "build/release"
PROFILE = """
variants:
  - {model: copy, variant: default, device: "*", points: [{rows: 1, mean: 1us, p95: 1us, p99: 1us}]}
"""
# What does the work, by the beginning of the function's name; with all that these call.
RECORDING = ["duly::Recorder::OnEvent(", "duly::Recorder::WriteBlock("]
METRICS = ["duly::Engine::AccountBatch(", "duly::Engine::Account("]


def request():
    data = struct.pack("<16f", *(i / 16 for i in range(16)))
    head = json.dumps({"parameters": {"binary_data_output": True},
                       "inputs": [{"name": "in0", "shape": [1, 16], "datatype": "FP32",
                                   "parameters": {"binary_data_size": len(data)}}]}).encode()
    return (b"POST /v2/models/copy/infer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
            b"Inference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n" % (len(head), len(head) + len(data))
            + head + data)


def send(address, count):
    """One request after the other; every answer is looked at."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        stream = connection.makefile("rb")
        message = request()
        for _ in range(count):
            connection.sendall(message)
            status = stream.readline()
            if b" 200 " not in status:
                raise SystemExit(f"instructions: the server answered {status!r}")
            length = 0
            while (line := stream.readline().strip()):
                name, value = line.split(b":", 1)
                if name.lower() == b"content-length":
                    length = int(value)
            stream.read(length)


def run(folder, count, recorded):
    """Instructions of a whole run: in all, and by function with all that it calls."""
    (folder / "profile.yaml").write_text(PROFILE)
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    profile = folder / "callgrind.out"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}", BUILD / "duly", "serve",
               "--model-repository", ROOT / "bench/repository", "--http-port", "0", "--grpc-port", "0", "--metrics-port", "0",
               "--ready-file", ready, "--profile", folder / "profile.yaml", "--inline-below", "1s",
               "--log-level", "warning"]
    if recorded:
        command += ["--record", folder / "run.log"]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not ready.exists():
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("instructions: duly serve did not start under valgrind")
            time.sleep(0.05)
        send(json.loads(ready.read_text())["http"], count)
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=120)
    finally:
        server.kill()
        server.wait()
    text = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", profile], check=True,
                          capture_output=True, text=True).stdout
    total = int(re.search(r"([\d,]+) \(100\.0%\)\s+PROGRAM TOTALS", text)[1].replace(",", ""))
    functions = {}
    for cost, function in re.findall(r"^ *([\d,]+) \( *[\d.]+%\)\s+\S*?:(duly::.*?)(?: \[.*)?$", text, re.MULTILINE):
        functions[function] = functions.get(function, 0) + int(cost.replace(",", ""))
    return total, functions


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, nargs=2, default=[1000, 6000], metavar=("FEW", "MANY"))
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("instructions: not counted: there is no valgrind", file=sys.stderr)
        return 0
    few, many = options.requests

    per_request = {}
    with tempfile.TemporaryDirectory() as folder:
        for recorded in [False, True]:
            (less, less_by), (more, more_by) = (run(pathlib.Path(folder), n, recorded) for n in (few, many))
            by_function = {name: (cost - less_by.get(name, 0)) / (many - few) for name, cost in more_by.items()}
            per_request[recorded] = (more - less) / (many - few), by_function

    total, functions = per_request[False]
    record_functions = per_request[True][1]

    def cost(by_function, names):
        found = [max((v for f, v in by_function.items() if f.startswith(name)), default=None) for name in names]
        if None in found:
            raise SystemExit(f"instructions: {names[found.index(None)]}...) was not called")
        return sum(found)

    print("| instructions per request | count | of a request |")
    print("| --- | --- | --- |")
    for what, count in [("in all, without recording", total),
                        ("metrics and statistics: the functions that count", cost(functions, METRICS)),
                        ("recording: the functions that encode and write", cost(record_functions, RECORDING))]:
        print(f"| {what} | {count:,.0f} | {100 * count / total:.2f} % |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What loading and unloading costs: memory over many cycles, and latency while a model that is in use is replaced again and again.

A real model (Fashion-MNIST, variant m) on ONNX Runtime. Prints what docs/benchmarks.md quotes.
"""

import argparse
import http.client
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
DULY = ROOT / "build/release/duly"
sys.path.insert(0, str(ROOT / "tests"))
from harness import Server  # noqa: E402

MODEL = "garments"
RATE = 100  # per second
SLO = "100ms"


def post(server, path):
    connection = http.client.HTTPConnection(server.url, timeout=60)
    connection.request("POST", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status} {text}")
    return text


def load(server):
    post(server, f"/v2/repository/models/{MODEL}/load")


def resident_kb(server):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{server.process.pid}/status").read_text())[1])


def unload(server):
    """Returns when the memory is free."""
    post(server, f"/v2/repository/models/{MODEL}/unload")
    while '"UNLOADING"' in post(server, "/v2/repository/index"):
        time.sleep(0.001)


def cycles(repository, count):
    with Server(DULY, repository, "--model-control-mode", "explicit", "--log-level", "warning") as server:
        seen = {}
        began = time.monotonic()
        for i in range(1, count + 1):
            load(server)
            unload(server)
            if i in (1, 10, 100, count // 2, count):
                seen[i] = resident_kb(server)
                print(f"after {i} cycles: {seen[i]} kB", file=sys.stderr, flush=True)
        seconds = time.monotonic() - began
    growth = (seen[count] - seen[10]) / seen[10] * 100
    print(f"{count} cycles of load and unload, {seconds / count * 1e3:.0f} ms each: resident after the 1st, 10th, 100th, last: "
          f"{seen[1] / 1e3:.1f}, {seen[10] / 1e3:.1f}, {seen[100] / 1e3:.1f}, {seen[count] / 1e3:.1f} MB; "
          f"{growth:+.2f} % from the 10th to the last")


def drive(server, seconds, reload_every=None):
    """An open-loop client; with reload_every also reloads, so many seconds apart. The client's report and the reloads."""
    command = [DULY, "load", "--url", f"http://{server.url}", "--model", MODEL, "--rate", str(RATE), "--slo", SLO,
               "--duration", f"{seconds}s", "--warmup", "500ms", "--seed", "1", "--json", "-"]
    client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    reloads, stop = [], threading.Event()

    def keep_reloading():
        while not stop.wait(reload_every):
            began = time.monotonic()
            load(server)
            reloads.append(time.monotonic() - began)

    thread = threading.Thread(target=keep_reloading)
    if reload_every:
        thread.start()
    report = json.loads(client.communicate()[0])
    stop.set()
    if reload_every:
        thread.join()
    return report["total"], reloads


def under_load(repository, rounds, seconds):
    steady, reloading, times = [], [], []
    with Server(DULY, repository, "--model-control-mode", "explicit", "--load-model", MODEL, "--log-level", "warning") as server:
        for _ in range(rounds):
            steady.append(drive(server, seconds)[0])
            report, reloads = drive(server, seconds, reload_every=1.0)
            reloading.append(report)
            times += reloads
    print("| | sent | on time | late | rejected | failed | p50 ms | p99 ms: median (min to max) |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, reports in (("steady", steady), ("reloaded every second", reloading)):
        total = {key: sum(report[key] for report in reports) for key in ("sent", "on_time", "late", "rejected", "failed")}
        p50 = statistics.median(report["latency_ms"]["p50"] for report in reports)
        p99 = sorted(report["latency_ms"]["p99"] for report in reports)
        print(f"| {name} | {' | '.join(str(value) for value in total.values())} | {p50:.2f} "
              f"| {statistics.median(p99):.2f} ({p99[0]:.2f} to {p99[-1]:.2f}) |")
    print(f"{len(times)} reloads, {statistics.median(times) * 1e3:.0f} ms each (median)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10, help="of each round under load, and again while reloading")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        version = pathlib.Path(folder) / MODEL / "1"
        version.mkdir(parents=True)
        shutil.copy(ROOT / "models/repository/fashion/1/m.onnx", version / "model.onnx")
        if options.cycles:
            cycles(folder, options.cycles)
        if options.rounds:
            under_load(folder, options.rounds, options.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())

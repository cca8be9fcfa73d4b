#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Duly's HTTP and gRPC beside echo servers, on the same cores, in one run; then the deadline experiment.

The echo servers are the base: one reads and writes raw sockets, one is a bare Boost.Beast server with its usual
string_body, one a bare gRPC server on the stack that Duly uses. Rounds go through all servers in turn, so that a slow
minute of the machine meets each of them.
Prints the tables of docs/benchmarks.md; every figure lies in build/bench/servers.json.
"""

import argparse
import contextlib
import json
import pathlib
import platform
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = ROOT / "build/release"
sys.path.insert(0, str(ROOT / "tests"))
from harness import Server  # noqa: E402

# name, FP32 elements of the tensor, format, concurrency. 150 528 = 3 x 224 x 224.
HTTP_CASES = [
    ("64 B, concurrency 1", 16, "binary", 1),
    ("64 B, concurrency 4", 16, "binary", 4),
    ("64 B, concurrency 16", 16, "binary", 16),
    ("64 B JSON, concurrency 1", 16, "json", 1),
    ("602 kB binary, concurrency 1", 150528, "binary", 1),
    ("602 kB binary, concurrency 4", 150528, "binary", 4),
    ("602 kB binary, concurrency 16", 150528, "binary", 16),
    ("602 kB of FP32 as JSON both ways", 150528, "json", 1),
]
# Shared memory has no base beside it: what only sends back what it gets does not look into it. The same tensors in the message are its base.
SHARED_CASES = [
    ("602 kB, concurrency 1", 150528, "binary", 1),
    ("602 kB, concurrency 4", 150528, "binary", 4),
    ("602 kB over gRPC, concurrency 1", 150528, "grpc", 1),
    ("602 kB over gRPC, concurrency 4", 150528, "grpc", 4),
]
GRPC_CASES = [
    ("64 B, concurrency 1", 16, "grpc", 1),
    ("64 B, concurrency 4", 16, "grpc", 4),
    ("64 B, concurrency 64", 16, "grpc", 64),
    ("602 kB, concurrency 1", 150528, "grpc", 1),
    ("602 kB, concurrency 4", 150528, "grpc", 4),
]


@contextlib.contextmanager
def echo(program, threads):
    process = subprocess.Popen([BUILD / "bench" / program, "--threads", str(threads)], stdout=subprocess.PIPE, text=True)
    try:
        port = int(process.stdout.readline())
        yield {"http": f"127.0.0.1:{port}", "grpc": f"127.0.0.1:{port}", "pid": process.pid}
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def duly(repository, *flags):
    with Server(BUILD / "duly", repository, "--log-level", "warning", *flags) as server:
        yield {"http": server.url, "grpc": server.grpc_url, "pid": server.process.pid}


def cpu_seconds(pid):
    """What the threads of a process have run for, in user and kernel mode."""
    return sum(int(file.read_text().split()[0]) for file in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def measure(server, case, seconds, *flags):
    _, elements, form, concurrency = case
    client = (["grpc_client", "--address", server["grpc"]] if form == "grpc"
              else ["http_client", "--url", f"http://{server['http']}", *(["--json"] if form == "json" else [])])
    command = [BUILD / "bench" / client[0], *client[1:], "--model", "copy", "--elements", str(elements),
               "--concurrency", str(concurrency), "--duration", f"{seconds}s", "--warmup", "300ms", "--runs", "1", *flags]
    before = cpu_seconds(server["pid"])
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout)
    result["cpu_us"] = (cpu_seconds(server["pid"]) - before) / result["answers_in_all"] * 1e6
    return result


def deadlines(rounds):
    """Four requests, 20 ms apart, that may wait 20 ms, to a model that takes 300 ms, on one slot."""
    results = []
    with duly(ROOT / "bench/deadlines/models", "--config", ROOT / "bench/deadlines/node.yaml") as server:
        for parameter in ("timeout", "slo_us"):
            command = [BUILD / "bench/deadline_client", "--url", f"http://{server['http']}", "--parameter", parameter, "--rounds", str(rounds)]
            results.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout))
    print("\n| parameter | request | status: answers | ms: median (min to max) |")
    print("| --- | --- | --- | --- |")
    for result in results:
        for place, by_status in enumerate(result["requests"], 1):
            for status, seen in by_status.items():
                print(f"| {result['parameter']} | {place} | {status}: {seen['answers']} "
                      f"| {seen['median_ms']:.2f} ({seen['min_ms']:.2f} to {seen['max_ms']:.2f}) |")
    return results


def print_table(results, ours):
    """`results`: case to name to runs; the last column compares the one named `ours`."""
    print(f"| case | | per second: median (min to max) | p50 µs | p99 µs | CPU µs | {ours} / this |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for case, by_name in results.items():
        own = statistics.median(run["rate_per_s"] for run in by_name[ours])
        for name, runs in by_name.items():
            rates = [run["rate_per_s"] for run in runs]
            rate = statistics.median(rates)
            p50 = statistics.median(run["p50_us"] for run in runs)
            p99 = statistics.median(run["p99_us"] for run in runs)
            cpu = statistics.median(run["cpu_us"] for run in runs)
            ratio = "" if name == ours else f"{own / rate:.2f}"
            print(f"| {case} | {name} | {rate:,.0f} ({min(rates):,.0f} to {max(rates):,.0f}) | {p50:,.0f} | {p99:,.0f} | {cpu:,.0f} | {ratio} |")


def beside_bases(cases, bases, options):
    """Duly beside servers that only send back what they get; `bases`: name to program."""
    results = {}
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(echo(program, 2)) for name, program in bases.items()}
        servers["duly"] = stack.enter_context(duly(ROOT / "bench/repository"))
        for turn in range(options.rounds):
            for case in cases:
                for name, server in servers.items():
                    result = measure(server, case, options.seconds)
                    results.setdefault(case[0], {}).setdefault(name, []).append(result)
                print(f"round {turn + 1}/{options.rounds}: {case[0]}", file=sys.stderr, flush=True)

    print_table(results, "duly")
    return results


def shared_memory(options):
    """Tensors in system shared memory beside the same in the message."""
    forms = {"in the message": [], "in shared memory": ["--shared-memory"]}
    results = {}
    with duly(ROOT / "bench/repository", "--allow-client-shm") as server:
        for turn in range(options.rounds):
            for case in SHARED_CASES:
                for form, flags in forms.items():
                    results.setdefault(case[0], {}).setdefault(form, []).append(measure(server, case, options.seconds, *flags))
                print(f"round {turn + 1}/{options.rounds}: {case[0]}, shared memory", file=sys.stderr, flush=True)
    print_table(results, "in shared memory")
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement")
    parser.add_argument("--only", choices=("http", "grpc", "shared-memory", "deadlines"))
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/bench/servers.json")
    options = parser.parse_args()

    document = {"machine": platform.processor() or platform.machine()}
    if options.only in (None, "http"):
        bases = {"raw socket echo": "echo_server_raw", "bare Beast echo": "echo_server_beast"}
        document["results"] = beside_bases(HTTP_CASES, bases, options)
    if options.only in (None, "grpc"):
        document["grpc"] = beside_bases(GRPC_CASES, {"bare gRPC echo": "echo_server_grpc"}, options)
    if options.only in (None, "shared-memory"):
        document["shared_memory"] = shared_memory(options)
    if options.only in (None, "deadlines"):
        document["deadlines"] = deadlines(4 * options.rounds)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The simulator against the live server: two models on one emulated device, the same arrivals and the same services in both.

The server's own overheads are measured at each load in runs of their own, with services that never vary: what a batch takes beyond them becomes
the simulator's `batch_overhead`, what an answer takes on its way between client and engine its `link`. Everything else is predicted.
Prints what docs/benchmarks.md quotes. Beside each pair stands the machine's load average: other work on the cores is in the live
figures, and not in the simulated ones.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from harness import Server  # noqa: E402

SERVICE_MS = {"detector": 35, "classifier": 20}
NOISE_CV = 0.2
PROFILE = "variants:\n" + "".join(
    f"  - {{model: {name}, variant: default, device: board, points: [{{rows: 1, mean: {ms}ms}}]}}\n" for name, ms in SERVICE_MS.items())
TENSOR = "[ { name: 'x' data_type: TYPE_FP32 dims: [ 16 ] } ]"


DEVICES = {kind: f"kind: {kind}, noise: {{cv: {NOISE_CV}}}" for kind in ("serial", "timeslice")}
CONSTANT = "kind: serial"


def run(*command):
    process = subprocess.run([str(each) for each in command], capture_output=True, text=True, timeout=600)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\n{process.stderr}")
    return json.loads(process.stdout)


def applications(load, keys=""):
    rate = load / (sum(SERVICE_MS.values()) * 1e-3)
    return "applications:\n" + "".join(f"  - {{name: {name}-user, model: {name}, rate: {rate:.6f}/s{keys}}}\n" for name in SERVICE_MS)


def live(duly, folder, device, policy, load, seconds, seed):
    """The load generator's report, and the sums of the server's metrics by name."""
    (folder / "mix.yaml").write_text(applications(load))
    (folder / "node.yaml").write_text(
        f"devices:\n  - {{name: board, kind: emulated, profile: {folder}/profile.yaml, emulates: {{{device}}}, seed: {seed}}}\n"
        + "applications:\n" + "".join(f"  - {{name: {name}-user, model: {name}}}\n" for name in SERVICE_MS))
    with Server(duly, folder / "models", "--config", folder / "node.yaml", "--policy", policy, "--log-level", "warning") as server:
        report = run(duly, "load", folder / "mix.yaml", "--url", f"http://{server.url}", "--duration", f"{seconds}s",
                     "--warmup", "0s", "--seed", seed, "--json", "-")
        sums = {}
        for line in server.metrics().splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                name = name.split("{")[0]
                sums[name] = sums.get(name, 0) + float(value)
        return report, sums


def overheads(duly, folder, load, seconds):
    """Seconds that a batch takes beyond its service, and an answer on its way."""
    report, sums = live(duly, folder, CONSTANT, "fifo", load, seconds, 1)
    services = sum(application["sent"] * SERVICE_MS[application["model"]] * 1e-3 for application in report["applications"])
    batch = (sums["duly_device_busy_seconds_total"] - services) / sums["duly_device_batches_total"]
    in_engine = sums["duly_response_seconds_sum"] / sums["duly_response_seconds_count"]
    return batch, report["total"]["latency_ms"]["mean"] * 1e-3 - in_engine


def simulated(duly, folder, device, policy, load, seconds, seed, overhead):
    batch_us, way_us = (1e6 * each for each in overhead)
    scenario = folder / "scenario.yaml"
    scenario.write_text(
        "models:\n" + "".join(f"  - {{name: {name}}}\n" for name in SERVICE_MS)
        + f"nodes:\n  - name: node\n    devices: [{{name: board, {device}}}]\n"
        + f"    profile: profile.yaml\n    batch_overhead: {batch_us:.0f}us\n    link: {{request: {way_us / 2:.0f}us, response: {way_us / 2:.0f}us}}\n"
        + applications(load))
    return run(duly, "sim", scenario, "--policy", policy, "--duration", f"{seconds}s", "--warmup", "0s", "--seed", seed, "--json", "-")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="of each run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--policies", nargs="+", default=["fifo", "edf"])
    parser.add_argument("--devices", nargs="+", default=list(DEVICES), choices=list(DEVICES))
    parser.add_argument("--loads", type=float, nargs="+", default=[0.3, 0.6, 0.9])
    parser.add_argument("--duly", type=pathlib.Path, default=ROOT / "build/release/duly")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        (folder / "profile.yaml").write_text(PROFILE)
        for model in SERVICE_MS:
            (folder / "models" / model / "1").mkdir(parents=True)
            (folder / "models" / model / "1" / "model.onnx").write_text("not read: an emulated device answers zeros\n")
            (folder / "models" / model / "config.pbtxt").write_text(f"backend: 'onnxruntime' input {TENSOR} output {TENSOR}\n")
            # A warm-up run would take the first of the device's service times.
            (folder / "models" / model / "duly.yaml").write_text("warmup: 0\n")
        print("| load | a batch beyond its service, us | an answer on its way, us |\n| --- | --- | --- |")
        overhead = {}
        for load in options.loads:
            overhead[load] = overheads(options.duly, folder, load, options.seconds)
            print(f"| {load:g} | {1e6 * overhead[load][0]:.0f} | {1e6 * overhead[load][1]:.0f} |", flush=True)
        for name, device in ((each, DEVICES[each]) for each in options.devices):
            print(f"{name}:")
            print("| policy | load | seed | requests | p50 live, ms | simulated | off | p99 live, ms | simulated | off | load average |")
            print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
            summary = []
            for policy in options.policies:
                for load in options.loads:
                    off = {"p50": [], "p99": []}
                    for seed in options.seeds:
                        seen = live(options.duly, folder, device, policy, load, options.seconds, seed)[0]["total"]
                        busy = os.getloadavg()[0]
                        told = simulated(options.duly, folder, device, policy, load, options.seconds, seed, overhead[load])["total"]
                        cells = [policy, f"{load:g}", str(seed), f"{seen['sent']} / {told['sent']}"]
                        for key, errors in off.items():
                            a, b = seen["latency_ms"][key], told["latency_ms"][key]
                            errors.append(100 * (b / a - 1))
                            cells += [f"{a:.1f}", f"{b:.1f}", f"{errors[-1]:+.1f} %"]
                        print("| " + " | ".join(cells) + f" | {busy:.1f} |", flush=True)
                    spread = [f"{statistics.median(errors):+.1f} % ({min(errors):+.1f} to {max(errors):+.1f})" for errors in off.values()]
                    summary.append(f"| {name} | {policy} | {load:g} | {spread[0]} | {spread[1]} |")
            print("| device | policy | load | p50 off: median (least to most) | p99 off |\n| --- | --- | --- | --- | --- |")
            print("\n".join(summary), flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The simulator against the live server: two models on one emulated device, the same arrivals and the same services in both.

The server's own overhead is measured at a tenth of the load and given to the simulator as `batch_overhead`; everything else is
predicted. Prints what docs/benchmarks.md quotes. Beside each pair stands the machine's load average: other work on the cores is in the live
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


def run(*command):
    process = subprocess.run([str(each) for each in command], capture_output=True, text=True, timeout=600)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\n{process.stderr}")
    return json.loads(process.stdout)


def applications(load, keys=""):
    rate = load / (sum(SERVICE_MS.values()) * 1e-3)
    return "applications:\n" + "".join(f"  - {{name: {name}-user, model: {name}, rate: {rate:.6f}/s{keys}}}\n" for name in SERVICE_MS)


def live(duly, folder, device, policy, load, seconds, seed):
    (folder / "mix.yaml").write_text(applications(load))
    (folder / "node.yaml").write_text(
        f"devices:\n  - {{name: board, kind: emulated, profile: {folder}/profile.yaml, emulates: {{{DEVICES[device]}}}, seed: {seed}}}\n"
        + "applications:\n" + "".join(f"  - {{name: {name}-user, model: {name}}}\n" for name in SERVICE_MS))
    with Server(duly, folder / "models", "--config", folder / "node.yaml", "--policy", policy, "--log-level", "warning") as server:
        return run(duly, "load", folder / "mix.yaml", "--url", f"http://{server.url}", "--duration", f"{seconds}s",
                   "--warmup", "0s", "--seed", seed, "--json", "-")


def simulated(duly, folder, device, policy, load, seconds, seed, overhead_us):
    scenario = folder / "scenario.yaml"
    scenario.write_text(
        "models:\n" + "".join(f"  - {{name: {name}}}\n" for name in SERVICE_MS)
        + f"nodes:\n  - name: node\n    devices: [{{name: board, {DEVICES[device]}}}]\n"
        + f"    profile: profile.yaml\n    batch_overhead: {overhead_us:.0f}us\n" + applications(load))
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
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "profile.yaml").write_text(PROFILE)
        for model in SERVICE_MS:
            (folder / "models" / model / "1").mkdir(parents=True)
            (folder / "models" / model / "1" / "model.onnx").write_text("not read: an emulated device answers zeros\n")
            (folder / "models" / model / "config.pbtxt").write_text(f"backend: 'onnxruntime' input {TENSOR} output {TENSOR}\n")
            # A warm-up run would take the first of the device's service times.
            (folder / "models" / model / "duly.yaml").write_text("warmup: 0\n")
        for device in options.devices:
            calm = live(options.duly, folder, device, options.policies[0], 0.1, 20, 1)
            still = simulated(options.duly, folder, device, options.policies[0], 0.1, 20, 1, 0)
            overhead_us = max(0, 1e3 * (calm["total"]["latency_ms"]["mean"] - still["total"]["latency_ms"]["mean"]))
            print(f"{device}: overhead {overhead_us:.0f} us a request, the difference of mean latencies at load 0.1")
            print("| policy | load | seed | requests | p50 live, ms | simulated | off | p99 live, ms | simulated | off | load average |")
            print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
            summary = []
            for policy in options.policies:
                for load in options.loads:
                    off = {"p50": [], "p99": []}
                    for seed in options.seeds:
                        seen = live(options.duly, folder, device, policy, load, options.seconds, seed)["total"]
                        busy = os.getloadavg()[0]
                        told = simulated(options.duly, folder, device, policy, load, options.seconds, seed, overhead_us)["total"]
                        cells = [policy, f"{load:g}", str(seed), f"{seen['sent']} / {told['sent']}"]
                        for key, errors in off.items():
                            a, b = seen["latency_ms"][key], told["latency_ms"][key]
                            errors.append(100 * (b / a - 1))
                            cells += [f"{a:.1f}", f"{b:.1f}", f"{errors[-1]:+.1f} %"]
                        print("| " + " | ".join(cells) + f" | {busy:.1f} |", flush=True)
                    spread = [f"{statistics.median(errors):+.1f} % ({min(errors):+.1f} to {max(errors):+.1f})" for errors in off.values()]
                    summary.append(f"| {device} | {policy} | {load:g} | {spread[0]} | {spread[1]} |")
            print("| device | policy | load | p50 off: median (least to most) | p99 off |\n| --- | --- | --- | --- | --- |")
            print("\n".join(summary), flush=True)


if __name__ == "__main__":
    main()

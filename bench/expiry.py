#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How late requests expire while ONNX Runtime keeps all cores busy.

Serves real models (scripts/setup.sh models; a release build), offers much more than the machine can do with `timeout`s
of a few tens of ms, and reads from the event log by how much the timer was late inside the server: the time at which
the engine was entered less the time that it had asked for. Prints what became of the requests, and the lateness; the
documents of `duly load` and `duly replay` lie in build/bench/. Nothing else should run on the machine.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import run

OUT = run.ROOT / "build/bench"


def thread_cpu_seconds(pid):
    """CPU seconds and seconds of waiting for a core, by thread name."""
    sums = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        name = (task / "comm").read_text().strip().rstrip("0123456789")
        ran, waited = (int(text) / 1e9 for text in (task / "schedstat").read_text().split()[:2])
        total = sums.setdefault(name, [0.0, 0.0])
        total[0] += ran
        total[1] += waited
    return sums


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--factor", type=float, default=1, help="multiplies the rates of expiry/mix.yaml")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    OUT.mkdir(parents=True, exist_ok=True)
    log = OUT / "expiry.log"
    with run.duly(run.ROOT / "models/repository", "--model-repository", run.ROOT / ".deps/models", "--record", log) as server:
        before = run.cpu_seconds(server["pid"])
        subprocess.run([run.BUILD / "duly", "load", run.ROOT / "bench/expiry/mix.yaml", "--url", f"http://{server['http']}", "--anonymous",
                        "--load-factor", str(options.factor), "--duration", f"{options.seconds}s", "--warmup", "1s",
                        "--seed", str(options.seed), "--json", OUT / "expiry-load.json"],
                       check=True, stdout=subprocess.DEVNULL, timeout=options.seconds + 120)
        busy = (run.cpu_seconds(server["pid"]) - before) / (options.seconds + 1)
        threads = thread_cpu_seconds(server["pid"])
    replay = subprocess.run([run.BUILD / "duly", "replay", log, "--json", "-"], check=True, capture_output=True, text=True,
                            timeout=300)
    document = json.loads(replay.stdout)
    (OUT / "expiry-replay.json").write_text(replay.stdout)

    total = json.loads((OUT / "expiry-load.json").read_text())["total"]
    timers, late = document["timers"], document["timers"]["lateness_us"]
    print(f"{total['sent']} requests: {total['on_time'] + total['late']} served, {total['expired']} expired, "
          f"{total['rejected']} rejected; the server kept {busy:.2f} cores busy")
    print(f"{timers['count']} timers: {late['p50'] / 1000:.3f} ms late (median), p99 {late['p99'] / 1000:.3f} ms, "
          f"at most {late['max'] / 1000:.3f} ms; {timers['early']} early")
    for name, (ran, waited) in sorted(threads.items(), key=lambda item: -item[1][0]):
        print(f"  {name}: ran {ran:.2f} s, waited {waited:.2f} s for a core")
    return 0


if __name__ == "__main__":
    sys.exit(main())

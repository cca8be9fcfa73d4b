#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Serves real models under three loads and two policies, and prints one table.

Load 1 is the capacity of this machine: the largest multiple of mix.yaml at which at least 99 % of the
requests are answered on time under any shipped policy. It is searched in the same run, because machines
differ and a machine differs from itself an hour ago. The JSON of every run lies in build/demo/.
"""

import argparse
import contextlib
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import predict

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
DULY = ROOT / "build/release/duly"
REPOSITORIES = [ROOT / "models/repository", ROOT / ".deps/models"]
LOADS = [("light", 0.3), ("full", 1.0), ("twice overloaded", 2.0)]
# As `duly serve --policy` takes them. The usual one as it comes, and as somebody who knows every deadline would tune
# it: batches, and a queue timeout at half of each promise.
POLICIES = {
    "edf": "edf",
    "size-or-timeout": "size-or-timeout:max_queue_delay=2ms",
    "same, tuned": "size-or-timeout:max_queue_delay=2ms,give_up_after=0.5",
}
ON_TIME = 0.99  # of all requests, at capacity


def say(text):
    print(text, file=sys.stderr, flush=True)


def slug(name):
    return name.replace(",", "").replace(" ", "-")


class Failure(Exception):
    """The demo cannot go on; the message says why."""


def run(command, **kwargs):
    """Runs a command to its end and returns it finished; its standard error is shown when it fails."""
    result = subprocess.run(command, capture_output=True, text=True, **kwargs)
    if result.returncode != 0:
        raise Failure(f"{' '.join(map(str, command))}\nended with {result.returncode}:\n{result.stderr}")
    return result


@contextlib.contextmanager
def server(policy, profile, out):
    """A `duly serve` on a free port; yields its URL and stops it when the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        ready = pathlib.Path(folder) / "ready.json"
        command = [DULY, "serve", "--config", HERE / "node.yaml", "--policy", POLICIES[policy], "--profile", profile,
                   "--http-port", "0", "--grpc-port", "0", "--metrics-port", "0", "--ready-file", ready]
        for repository in REPOSITORIES:
            command += ["--model-repository", repository]
        with open(out / f"serve-{slug(policy)}.log", "a", encoding="utf-8") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                deadline = time.monotonic() + 120
                while not ready.exists():
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise Failure(f"the server did not start; its log is {log.name}")
                    time.sleep(0.05)
                yield f"http://{json.loads(ready.read_text())['http']}"
            finally:
                process.send_signal(signal.SIGTERM)
                if process.wait(timeout=60) != 0:
                    say(f"the server under {policy} ended with {process.returncode}; its log is {log.name}")


def load(url, policy, factor, label, seconds, options, path):
    """One run of the mix at `factor` times its rates; returns the document that `duly load` wrote."""
    command = [DULY, "load", HERE / "mix.yaml", "--url", url, "--load-factor", f"{factor:.4f}",
               "--duration", f"{seconds}s", "--warmup", "2s", "--seed", str(options.seed),
               "--grace", "60s",  # a policy that refuses nothing still has its queue to answer: none may be lost
               "--label", f"policy={policy}", "--label", f"load={label}", "--json", path]
    run(command)
    document = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    document["labels"]["factor"] = factor
    pathlib.Path(path).write_text(json.dumps(document, indent=1), encoding="utf-8")
    return document


def share_on_time(document):
    total = document["total"]
    return total["on_time"] / max(total["sent"], 1)


def find_capacity(options, profile, out):
    """The largest factor at which some policy keeps ON_TIME, to 5 %, and that policy."""
    best, winner = 0.0, None
    for policy in options.policies:
        with server(policy, profile, out) as url:
            path = out / "search.json"

            def holds(factor):
                document = load(url, policy, factor, "search", options.search_seconds, options, path)
                share = share_on_time(document)
                say(f"  {policy}: {factor:.2f} times the mix, {100 * share:.2f} % on time")
                return share >= ON_TIME

            # A policy need only be searched above what another one holds.
            low, high, factor = best, None, best * 1.05 or 0.5
            while (high is None or high / max(low, 1e-9) > 1.05) and factor > 0.02:
                if holds(factor):
                    low = factor
                else:
                    high = factor
                factor = low * 1.5 if high is None else (low * high) ** 0.5 if low else high / 1.5
            if low > best:
                best, winner = low, policy
    if winner is None:
        raise Failure(f"no load was found at which {100 * ON_TIME:.0f} % is on time")
    return best, winner


COLUMNS = ["load", "policy", "application", "offered/s", "on time", "simulated", "late", "rejected", "expired", "failed",
           "p50 ms", "p95 ms", "p99 ms", "accuracy %", "correct"]


def rows_of(document, simulated, load_name):
    for entry, other in zip(document["applications"] + [document["total"]],
                            simulated["applications"] + [simulated["total"]], strict=True):
        latency = entry.get("latency_ms") or {}
        sent = max(entry["sent"], 1)

        def percent(*keys):
            return f"{100 * sum(entry[key] for key in keys) / sent:.1f} %"

        def number(value, digits=1):
            return "-" if value is None else f"{value:.{digits}f}"

        checked = entry.get("checked", 0)
        yield [load_name, document["labels"]["policy"], entry.get("name", "all"),
               f"{entry['sent'] / document['duration_s']:.0f}", percent("on_time"),
               f"{100 * other['on_time'] / max(other['sent'], 1):.1f} %", percent("late"),
               percent("rejected"), percent("expired"), percent("failed", "unanswered", "cancelled"),
               number(latency.get("p50")), number(latency.get("p95")), number(latency.get("p99")),
               number(entry.get("accuracy_pct"), 2),
               f"{100 * entry.get('correct', 0) / checked:.1f} %" if checked else "-"]


def print_table(documents, predicted):
    table = [COLUMNS]
    for name, by_policy in documents.items():
        for policy, document in by_policy.items():
            table += rows_of(document, predicted[name][policy], name)
    widths = [max(len(row[i]) for row in table) for i in range(len(COLUMNS))]
    previous = None
    for row in table:
        if row[:2] != previous:
            print("  ".join("-" * w for w in widths) if previous else "")
        shown = ["" if row[:2] == previous and i < 2 else cell for i, cell in enumerate(row)]
        print("  ".join(c.ljust(w) if i < 3 else c.rjust(w)
                        for i, (c, w) in enumerate(zip(shown, widths))).rstrip())
        previous = row[:2]


def print_findings(documents, capacity, winner, options):
    """What the figures say, in words, including where Duly's policy is not ahead."""
    print(f"\nCapacity: {capacity:.2f} times scripts/demo/mix.yaml (held by {winner}); seed {options.seed}, "
          f"{options.seconds} s a run.")
    at = {name: by_policy["edf"] for name, by_policy in documents.items()}
    light, full, twice = (at[name] for name, _ in LOADS)
    print(f"edf, light load: {100 * share_on_time(light):.2f} % on time (aim: 99 %).")
    ratio = twice["total"]["on_time_device_s"] / max(full["total"]["on_time_device_s"], 1e-9)
    print(f"edf, twice overloaded: on-time device time is {100 * ratio:.0f} % of that at capacity (aim: 95 %).")
    print(f"Unanswered requests in all runs: "
          f"{sum(d['total']['unanswered'] for p in documents.values() for d in p.values())}.")
    for name, by_policy in documents.items():
        for policy, document in by_policy.items():
            if policy == "edf":
                continue
            ours, theirs = share_on_time(by_policy["edf"]), share_on_time(document)
            verdict = "ahead of" if ours > theirs else "level with" if ours == theirs else "BEHIND"
            print(f"{name}: edf {100 * ours:.1f} % on time, {verdict} {policy} {100 * theirs:.1f} %.")
            for mine, other in zip(by_policy["edf"]["applications"], document["applications"], strict=True):
                if mine["on_time"] < other["on_time"]:
                    print(f"  but behind for {mine['name']}: {mine['on_time']} against {other['on_time']} "
                          f"of {mine['sent']}.")


def print_prediction(documents, predicted):
    """How near the simulator was."""
    print("Simulated (scenarios/demo.yaml, this machine's profile; what the batches of a run took is measured in it, who is on time is predicted):")
    for policy in POLICIES:
        for name, loads in (("up to capacity", LOADS[:2]), ("twice overloaded", LOADS[2:])):
            far = [abs(points) for load, other, _, points in predict.errors(documents, predicted)
                   if other == policy and load in dict(loads)]
            if far:
                print(f"  {policy}, {name}: on time of {len(far)} (application, load) within {statistics.median(far):.1f} points in the "
                      f"median, {max(far):.1f} at most.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=12, help="measured time of each of the six runs")
    parser.add_argument("--search-seconds", type=int, default=6, help="measured time of each step of the search")
    parser.add_argument("--policies", nargs="+", default=list(POLICIES), choices=list(POLICIES))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--capacity", type=float, help="do not search: this multiple of the mix is load 1")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/demo")
    options = parser.parse_args()
    if "edf" not in options.policies:
        parser.error("--policies: expected edf among them")
    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    for old in list(out.glob("*.json")) + list(out.glob("*.log")):
        old.unlink()

    say("demo: measuring the models on this machine")
    profile = out / "profile.yaml"
    command = [DULY, "profile", "--out", profile, "--max-rows", "8"]
    for repository in REPOSITORIES:
        command += ["--model-repository", repository]
    run(command)

    if options.capacity:
        capacity, winner = options.capacity, "--capacity"
    else:
        say(f"demo: searching the load at which {100 * ON_TIME:.0f} % is on time")
        capacity, winner = find_capacity(options, profile, out)

    documents = {name: {} for name, _ in LOADS}
    for policy in options.policies:
        with server(policy, profile, out) as url:
            for name, relative in LOADS:
                say(f"demo: {policy}, {name} ({relative:g} times capacity)")
                path = out / f"{slug(policy)}-{slug(name)}.json"
                documents[name][policy] = load(url, policy, relative * capacity, f"{relative:g}",
                                               options.seconds, options, path)
    predicted = predict.predict(DULY, documents, POLICIES, profile, options.seconds, options.seed, out)
    print_table(documents, predicted)
    print_findings(documents, capacity, winner, options)
    print_prediction(documents, predicted)
    print(f"JSON of every run: {os.path.relpath(out)}")
    unanswered = sum(d["total"]["unanswered"] for p in documents.values() for d in p.values())
    return 1 if unanswered else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        say(f"demo: {failure}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)

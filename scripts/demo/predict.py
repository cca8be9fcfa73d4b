# SPDX-License-Identifier: Apache-2.0
"""What the simulator says of the demo: the same mix, loads and policies on scenarios/demo.yaml, with the profile of this machine.

On the machine, runs take longer than alone: the load generator and the server's own threads share the cores. How much longer
is fitted to one run, edf under light load (service = factor x profile + overhead), and all others are predicted from that.
"""

import json
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCENARIO = ROOT / "scenarios/demo.yaml"


def scenario_with(profile, factor, overhead_us, path):
    text = SCENARIO.read_text(encoding="utf-8")
    for key, value in (("profile", profile.resolve()), ("service_factor", f"{factor:.4f}"),
                       ("batch_overhead", f"{overhead_us:.0f}us")):
        text, count = re.subn(rf"^(    {key}:) .*$", rf"\1 {value}", text, flags=re.MULTILINE)
        if count != 1:
            raise ValueError(f"{SCENARIO}: expected one line '    {key}: ...', found {count}")
    path.write_text(text, encoding="utf-8")
    return path


def simulate(duly, scenario, policy, factor, seconds, seed):
    process = subprocess.run([duly, "sim", scenario, "--policy", policy, "--load-factor", f"{factor:.4f}",
                              "--duration", f"{seconds}s", "--seed", str(seed), "--json", "-"],
                             capture_output=True, text=True, check=True)
    return json.loads(process.stdout)


def service_ms(document):
    return [1e3 * each["on_time_device_s"] / max(each["on_time"], 1) for each in document["applications"]]


def fit(alone, live):
    """factor and overhead (ms) that minimise the squared relative errors of factor * alone + overhead."""
    rows = [(x / y, 1 / y) for x, y in zip(alone, live, strict=True) if y > 0]
    xx, xo, oo = (sum(a * b for a, b in pairs) for pairs in
                  ([(x, x) for x, _ in rows], rows, [(o, o) for _, o in rows]))
    x1, o1 = sum(x for x, _ in rows), sum(o for _, o in rows)
    determinant = xx * oo - xo * xo
    if determinant <= 0:
        return 1.0, 0.0
    return (x1 * oo - o1 * xo) / determinant, max(0.0, (o1 * xx - x1 * xo) / determinant)


def predict(duly, documents, policies, profile, seconds, seed, out):
    """documents[load][policy] as measured; returns the same of simulations, the factor and the overhead in ms."""
    light = next(iter(documents.values()))["edf"]
    alone = simulate(duly, scenario_with(profile, 1, 0, out / "scenario.yaml"), policies["edf"],
                     light["labels"]["factor"], seconds, seed)
    factor, overhead_ms = fit(service_ms(alone), service_ms(light))
    scenario = scenario_with(profile, factor, 1e3 * overhead_ms, out / "scenario.yaml")
    predicted = {load: {policy: simulate(duly, scenario, policies[policy], document["labels"]["factor"], seconds, seed)
                        for policy, document in by_policy.items()}
                 for load, by_policy in documents.items()}
    return predicted, factor, overhead_ms


def errors(documents, predicted):
    """Percentage points between predicted and measured on time, of each load, policy and application."""
    for load, by_policy in documents.items():
        for policy, document in by_policy.items():
            for live, simulated in zip(document["applications"], predicted[load][policy]["applications"], strict=True):
                yield load, policy, live["name"], (100 * simulated["on_time"] / max(simulated["sent"], 1)
                                                   - 100 * live["on_time"] / max(live["sent"], 1))

# SPDX-License-Identifier: Apache-2.0
"""What the simulator says of the demo: the same mix, loads and policies on scenarios/demo.yaml, with the profile of this machine.

On the machine, runs take longer than alone, and not always the same: the load generator and the server's own threads share the cores, caches
are cold where there is little to do, and one minute differs from the next. So each run is simulated with what its models' batches took in it:
their profile times one factor per model, by which an answer takes as much device time as was measured. Who is on time is predicted.
"""

import json
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCENARIO = ROOT / "scenarios/demo.yaml"
STEPS = 10  # of the factors; batches grow with what they take, so that one is not enough


def scaled(profile, factors, path):
    """The profile with the means of each model times its factor."""
    lines = []
    factor = 1.0
    for line in profile.read_text(encoding="utf-8").splitlines():
        if model := re.match(r'  - model: "(.*)"$', line):
            factor = factors[model.group(1)]
        lines.append(re.sub(r"mean: ([\d.]+)us", lambda mean: f"mean: {float(mean.group(1)) * factor:.3f}us", line))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def scenario_with(profile, path):
    """The scenario with this profile, and nothing beside what it says."""
    text = SCENARIO.read_text(encoding="utf-8")
    for key, value in (("profile", profile.resolve()), ("service_factor", 1), ("batch_overhead", "0us")):
        text, count = re.subn(rf"^(    {key}:) .*$", rf"\1 {value}", text, flags=re.MULTILINE)
        if count != 1:
            raise ValueError(f"{SCENARIO}: expected one line '    {key}: ...', found {count}")
    path.write_text(text, encoding="utf-8")
    return path


def simulate(duly, scenario, policy, live, seconds, seed):
    process = subprocess.run([duly, "sim", scenario, "--policy", policy, "--load-factor", f"{live['labels']['factor']:.4f}",
                              "--duration", f"{seconds}s", "--seed", str(seed), "--json", "-"],
                             capture_output=True, text=True, check=True)
    return json.loads(process.stdout)


def device_time(application):
    return application["on_time_device_s"] / max(application["on_time"], 1)


def as_measured(duly, live, policy, profile, seconds, seed, out):
    """The run simulated with what its batches took."""
    factors = {application["model"]: 1.0 for application in live["applications"]}
    scenario = scenario_with(out / "simulated-profile.yaml", out / "scenario.yaml")
    for _ in range(STEPS):
        scaled(profile, factors, out / "simulated-profile.yaml")
        simulated = simulate(duly, scenario, policy, live, seconds, seed)
        for measured, found in zip(live["applications"], simulated["applications"], strict=True):
            if device_time(measured) > 0 and device_time(found) > 0:
                factors[measured["model"]] *= device_time(measured) / device_time(found)
    return simulated


def predict(duly, documents, policies, profile, seconds, seed, out):
    """documents[load][policy] as measured; returns the same of simulations."""
    return {load: {policy: as_measured(duly, document, policies[policy], profile, seconds, seed, out)
                   for policy, document in by_policy.items()}
            for load, by_policy in documents.items()}


def errors(documents, predicted):
    """Percentage points between predicted and measured on time, of each load, policy and application."""
    for load, by_policy in documents.items():
        for policy, document in by_policy.items():
            for live, simulated in zip(document["applications"], predicted[load][policy]["applications"], strict=True):
                yield load, policy, live["name"], (100 * simulated["on_time"] / max(simulated["sent"], 1)
                                                   - 100 * live["on_time"] / max(live["sent"], 1))

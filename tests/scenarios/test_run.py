# SPDX-License-Identifier: Apache-2.0
"""`duly sim` as a process, on every scenario that is shipped. DULY names the program."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

DULY = os.environ["DULY"]
SCENARIOS = sorted((pathlib.Path(__file__).resolve().parents[2] / "scenarios").glob("*.yaml"))
OUTCOMES = ["on_time", "late", "rejected", "expired", "cancelled", "failed", "unanswered"]
SECONDS = 60


def duly(*arguments):
    return subprocess.run([DULY, *map(str, arguments)], capture_output=True, text=True, timeout=SECONDS)


def simulate(*arguments):
    process = duly("sim", *arguments, "--json", "-")
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


class ScenariosTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def test_every_scenario_runs_and_its_figures_add_up(self):
        self.assertGreaterEqual(len(SCENARIOS), 5)
        for scenario in SCENARIOS:
            with self.subTest(scenario.name):
                report = simulate(scenario)
                self.assertEqual(report["tool"], "sim")
                for application in [*report["applications"], report["total"]]:
                    self.assertGreater(application["sent"], 0)
                    self.assertEqual(sum(application[outcome] for outcome in OUTCOMES), application["sent"])
                total = report["total"]["sent"]
                self.assertEqual(sum(each["sent"] for each in report["applications"]), total)
                for device in report["devices"]:
                    self.assertTrue(0 < device["utilization"] <= 1, device)
                self.assertEqual(simulate(scenario), report, "the same seed is the same run")
                self.assertNotEqual(simulate(scenario, "--seed", 2)["total"], report["total"])

    def test_a_recorded_run_replays_exactly_and_hashes_equal(self):
        for scenario in SCENARIOS:
            if len({device["node"] for device in simulate(scenario, "--duration", "1s")["devices"]}) > 1:
                continue
            with self.subTest(scenario.name):
                hashes = set()
                for run in ("a", "b"):
                    log = self.folder / run
                    simulate(scenario, "--record", log, "--duration", "20s")
                    hashes.add(duly("log", "hash", log).stdout.split()[0])
                self.assertEqual(len(hashes), 1)
                replay = duly("replay", log)
                self.assertEqual(replay.returncode, 0, replay.stdout + replay.stderr)

    def test_flags_change_what_the_scenario_says(self):
        quickstart = next(path for path in SCENARIOS if path.stem == "quickstart")
        short = simulate(quickstart, "--duration", "10s", "--warmup", "0s", "--load-factor", 4, "--policy", "fifo",
                         "--label", "load=4")
        self.assertEqual(short["policy"], "fifo")
        self.assertEqual(short["duration_s"], 10)
        self.assertEqual(short["labels"], {"load": 4})
        self.assertGreater(short["total"]["late"], 0, "first in first out keeps no promises")
        edf = simulate(quickstart, "--duration", "10s", "--warmup", "0s", "--load-factor", 4)
        self.assertGreater(edf["total"]["on_time"], short["total"]["on_time"])

    def test_bounds_decide_the_exit_code(self):
        quickstart = next(path for path in SCENARIOS if path.stem == "quickstart")
        self.assertEqual(duly("sim", quickstart, "--require", "on_time>=90%").returncode, 0)
        failed = duly("sim", quickstart, "--load-factor", 10, "--require", "on_time>=90%")
        self.assertEqual(failed.returncode, 1)
        self.assertIn("bound on_time>=90% does not hold", failed.stderr)

    def test_faults_are_listed_with_their_places(self):
        scenario = self.folder / "s.yaml"
        scenario.write_text("durration: 1s\nmodels: [{name: m}]\nnodes: []\napplications: []\n")
        process = duly("sim", scenario)
        self.assertEqual(process.returncode, 2)
        self.assertIn(f"{scenario}:1:1: unknown key 'durration'", process.stderr)
        self.assertIn(f"{scenario}:3:8: ", process.stderr)
        self.assertIn(f"{scenario}:4:15: ", process.stderr)

    def test_an_interrupted_run_reports_what_it_has(self):
        quickstart = next(path for path in SCENARIOS if path.stem == "quickstart")
        process = subprocess.Popen([DULY, "sim", quickstart, "--duration", "900000s", "--json", "-"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        # The first line of progress says that it runs.
        self.assertIn("simulated", process.stderr.readline())
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=SECONDS)
        report = json.loads(out)
        self.assertTrue(report["interrupted"])
        self.assertGreater(report["total"]["sent"], 0)
        self.assertLess(report["duration_s"], 900000)


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: Apache-2.0
"""`duly plan` as a process, on its examples. DULY names the program."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

from test_compare import Tags

DULY = os.environ["DULY"]
EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "docs/examples"


def plan(*arguments):
    return subprocess.run([DULY, "plan", *map(str, arguments)], capture_output=True, text=True, timeout=60)


class PlanTest(unittest.TestCase):
    def test_what_is_hosted_keeps_its_slo_and_the_rest_is_told_why(self):
        process = plan(EXAMPLES / "cluster.yaml", EXAMPLES / "applications.yaml", "--json", "-")
        self.assertEqual(process.returncode, 0, process.stderr)
        document = json.loads(process.stdout)
        self.assertEqual(document["hosted"] + document["refused"], 13)
        self.assertGreaterEqual(document["hosted"], 12)
        for application in document["applications"]:
            self.assertLessEqual(application["promised_ms"], application["slo_ms"], application)
        for refusal in document["refusals"]:
            self.assertIn(refusal["constraint"], ("memory", "utilization", "latency"))
        again = plan(EXAMPLES / "cluster.yaml", EXAMPLES / "applications.yaml", "--json", "-")
        self.assertEqual(process.stdout, again.stdout)

    def test_the_page_stands_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            page = pathlib.Path(folder) / "plan.html"
            process = plan(EXAMPLES / "cluster.yaml", EXAMPLES / "applications.yaml", "--report", page)
            self.assertEqual(process.returncode, 0, process.stderr)
            tags = Tags()
            tags.feed(page.read_text())
            self.assertEqual(tags.open, [])
            self.assertGreaterEqual(tags.seen["svg"], 2)

    def test_faults_have_places(self):
        process = plan(EXAMPLES / "applications.yaml", EXAMPLES / "cluster.yaml")
        self.assertEqual(process.returncode, 2)
        self.assertEqual(process.stdout, "")
        self.assertRegex(process.stderr, r"applications\.yaml:\d+:\d+: 'device_types' is missing")
        self.assertRegex(process.stderr, r"cluster\.yaml:\d+:\d+: unknown key 'device_types'")


if __name__ == "__main__":
    unittest.main()

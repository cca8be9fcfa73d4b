# SPDX-License-Identifier: Apache-2.0
"""`duly compare` as a process. DULY names the program."""

import html.parser
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

DULY = os.environ["DULY"]
QUICKSTART = pathlib.Path(__file__).resolve().parents[2] / "scenarios/quickstart.yaml"
SECONDS = 120


def compare(*arguments):
    return subprocess.run([DULY, "compare", QUICKSTART, "--duration", "20s", "--load-factor", "2",
                           *map(str, arguments)], capture_output=True, text=True, timeout=SECONDS)


class Tags(html.parser.HTMLParser):
    """Fails on tags that are not closed in order."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.seen = {}

    def handle_starttag(self, tag, attrs):
        self.seen[tag] = self.seen.get(tag, 0) + 1
        assert not any(value and value.startswith(("http", "//")) for _, value in attrs), "works offline"
        if tag not in {"meta"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen[tag] = self.seen.get(tag, 0) + 1

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> in {self.open}"
        self.open.pop()


class CompareTest(unittest.TestCase):
    def test_differences_are_paired_and_say_who_wins(self):
        process = compare("--policies", "edf,size-or-timeout", "--seeds", 5, "--json", "-")
        self.assertEqual(process.returncode, 0, process.stderr)
        document = json.loads(process.stdout)
        self.assertEqual((document["tool"], document["base"], document["seeds"]),
                         ("compare", "edf", [1, 2, 3, 4, 5]))
        base, other = document["policies"]
        difference = other["total"]["on_time_pct"]["difference"]
        self.assertAlmostEqual(difference["mean"],
                               other["total"]["on_time_pct"]["mean"] - base["total"]["on_time_pct"]["mean"], places=3)
        self.assertEqual(other["total"]["on_time_pct"]["verdict"], "worse")
        self.assertLess(difference["mean"] + difference["half"], 0)
        # By hand, from single runs.
        by_hand = []
        for seed in document["seeds"]:
            totals = []
            for policy in ("edf", "size-or-timeout"):
                run = subprocess.run([DULY, "sim", QUICKSTART, "--duration", "20s", "--load-factor", "2", "--seed",
                                      str(seed), "--policy", policy, "--json", "-"],
                                     capture_output=True, text=True, timeout=SECONDS, check=True)
                total = json.loads(run.stdout)["total"]
                totals.append(100 * total["on_time"] / total["sent"])
            by_hand.append(totals[1] - totals[0])
        self.assertAlmostEqual(difference["mean"], sum(by_hand) / 5, places=3)

    def test_a_policy_is_level_with_itself(self):
        document = json.loads(compare("--policies", "edf,edf", "--seeds", 3, "--json", "-").stdout)
        for application in document["policies"][1]["applications"]:
            self.assertEqual(application["p99_ms"]["difference"], {"mean": 0, "half": 0})
            self.assertEqual(application["p99_ms"]["verdict"], "level")

    def test_the_page_is_one_whole_file(self):
        with tempfile.TemporaryDirectory() as folder:
            page = pathlib.Path(folder) / "compare.html"
            process = compare("--policies", "edf,fifo", "--seeds", 2, "--report", page)
            self.assertEqual(process.returncode, 0, process.stderr)
            self.assertIn("differences to edf, paired by seed", process.stdout)
            tags = Tags()
            tags.feed(page.read_text())
            self.assertEqual(tags.open, [])
            self.assertEqual(tags.seen["svg"], 7, "bars, and two curves for each application and for all")

    def test_a_stopped_one_reports_the_seeds_that_every_policy_has_had(self):
        process = subprocess.Popen([DULY, "compare", QUICKSTART, "--duration", "100s", "--policies", "edf,fifo",
                                    "--seeds", "100000", "--json", "-"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        # The first line of progress comes after some runs.
        self.assertRegex(process.stderr.readline(), r"^(edf|fifo), run \d+ of 100000: simulated ")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=SECONDS)
        document = json.loads(out)
        self.assertTrue(document["interrupted"])
        self.assertGreaterEqual(len(document["seeds"]), 1)
        for policy in document["policies"]:
            self.assertGreater(policy["total"]["on_time_pct"]["mean"], 0)

    def test_unknown_policies_start_nothing(self):
        process = compare("--policies", "edf,eddf")
        self.assertEqual(process.returncode, 2)
        self.assertIn("--policies: ", process.stderr)
        self.assertIn("eddf", process.stderr)
        self.assertEqual(process.stdout, "")


if __name__ == "__main__":
    unittest.main()

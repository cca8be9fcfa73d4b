#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`duly models` as a user runs it, on the real models: models_test.py DULY MODELS [unittest's own]."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

DULY = MODELS = None
LIMIT = 500


def duly(*arguments):
    return subprocess.run([DULY, *map(str, arguments)], capture_output=True, text=True, timeout=200)


class Models(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.repository = pathlib.Path(folder.name)
        model = cls.repository / "fashion"
        shutil.copytree(MODELS / "repository/fashion", model)
        # Three of the variants, for time: one stated too high, one that nobody here can measure.
        text = (model / "duly.yaml").read_text()
        entry = {
            name: re.search(rf"  - name: {name}\n(?:    .*\n)+", text).group()
            for name in ("xxs", "xs", "m-int8")
        }
        cls.stated = {
            name: float(re.search(r"accuracy: (.*)", lines).group(1))
            for name, lines in entry.items()
        }
        entry["xs"] = entry["xs"].replace(f"accuracy: {cls.stated['xs']}", "accuracy: 99.99")
        entry["m-int8"] = entry["m-int8"].replace("method: measured", "method: published")
        cls.parts = [text[: text.index("  - name:")], *entry.values()]
        (model / "duly.yaml").write_text("".join(cls.parts))

    def verify(self, *arguments, limit=LIMIT, test_set=None):
        return duly(
            "models", "verify", "--model-repository", self.repository, "--test-set",
            test_set or MODELS / "fashion/test", "--limit", limit, *arguments,
        )  # fmt: skip

    def test_a_wrong_accuracy_fails_and_is_named(self):
        ran = self.verify("--tolerance", 4, "--json", "-")
        self.assertEqual(ran.returncode, 1, ran.stderr)
        report = json.loads(ran.stdout)
        self.assertIs(report["passed"], False)
        self.assertEqual(report["images"], LIMIT)
        xxs, xs, m_int8 = report["variants"]
        self.assertEqual((xxs["name"], xxs["verdict"], xxs["images"]), ("xxs", "agrees", LIMIT))
        self.assertEqual((xs["name"], xs["verdict"], xs["images"]), ("xs", "differs", LIMIT))
        self.assertEqual(m_int8["verdict"], "published: not verifiable here")
        self.assertEqual(m_int8["images"], 0)
        # What was measured is not what was stated, but what the model does.
        for variant in (xxs, xs):
            self.assertAlmostEqual(variant["measured_pct"], self.stated[variant["name"]], delta=4)
            self.assertEqual(variant["measured_pct"], 100 * variant["correct"] / LIMIT)
        self.assertGreater(xs["measured_pct"], xxs["measured_pct"])

    def test_agrees_within_a_larger_tolerance(self):
        # 503 is no multiple of a batch: the rest is sent, too.
        ran = self.verify("--tolerance", 15, limit=503)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertRegex(ran.stdout, r"xs +503 +\d\d\.\d\d +99\.99 +-\d+\.\d\d .* agrees")
        self.assertNotIn("differs", ran.stdout)

    def test_says_what_is_wrong_with_its_usage(self):
        ran = self.verify("--model", "fashio", test_set=self.repository)
        self.assertEqual(ran.returncode, 2)
        self.assertIn("no model 'fashio'", ran.stderr)
        self.assertIn("0 files *-images-idx3-ubyte", ran.stderr)
        self.assertEqual(duly("models").returncode, 2)
        nobody = self.verify("--url", "http://127.0.0.1:1")
        self.assertEqual(nobody.returncode, 1)
        self.assertIn("127.0.0.1:1", nobody.stderr)

    def test_lists_variants(self):
        ran = duly("models", "list", "--model-repository", self.repository, "--json", "-")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        (model,) = json.loads(ran.stdout)["models"]
        self.assertEqual(model["name"], "fashion")
        self.assertEqual([v["accuracy_pct"] for v in model["variants"]][:2],
                         [self.stated["xxs"], 99.99])  # fmt: skip
        self.assertEqual([v["default"] for v in model["variants"]], [False, False, True])
        table = duly("models", "list", "--model-repository", self.repository).stdout
        self.assertRegex(table, r"fashion +1 +m-int8 \* .* published ")


if __name__ == "__main__":
    DULY, MODELS = sys.argv[1], pathlib.Path(sys.argv[2])
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])

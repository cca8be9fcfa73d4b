#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The manual page of the real program: manual_test.py DULY [unittest's own]."""

import shutil
import subprocess
import sys
import unittest

import manual

DULY = None


class Manual(unittest.TestCase):
    def test_every_command_has_its_section_with_its_help(self):
        page = manual.manual([DULY])
        for command in ["serve", "load", "models verify", "replay"]:
            self.assertIn(f'.SH "duly {command}"\n', page)
        self.assertIn("\\-\\-model\\-repository DIR", page)

    def test_lines_that_roff_would_take_for_requests_stay_text(self):
        self.assertEqual(manual.roff(".x\n'y\na\\b -"), "\\&.x\n\\&'y\na\\eb \\-")

    @unittest.skipUnless(shutil.which("groff"), "groff is not here")
    def test_roff_accepts_it(self):
        ran = subprocess.run(["groff", "-man", "-Tascii", "-P-cbou", "-ww"], input=manual.manual([DULY]), text=True,
                             capture_output=True, check=True)
        self.assertEqual(ran.stderr, "")
        self.assertIn("EXIT STATUS", ran.stdout)


if __name__ == "__main__":
    DULY = sys.argv.pop(1)
    unittest.main()

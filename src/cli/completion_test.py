#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`duly completion`, as shells use it: completion_test.py DULY [unittest's own]."""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

DULY = None


def script(shell):
    return subprocess.run(
        [DULY, "completion", shell], check=True, capture_output=True, text=True, timeout=20
    ).stdout


def run(shell, text, folder="/"):
    command = [shell, "--norc", "-s"] if shell == "bash" else [shell]
    ran = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=20, cwd=folder
    )
    assert ran.returncode == 0 and not ran.stderr, ran.stderr
    return ran.stdout.split()


class Bash(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.script = script("bash")

    def complete(self, *words, folder="/"):
        """What bash offers for the last word. It cuts words at '=' before it asks."""
        quoted = " ".join(f"'{word}'" for word in words)
        return run(
            "bash",
            f"set -u\n{self.script}\nCOMP_WORDS=({quoted})\nCOMP_CWORD={len(words) - 1}\n"
            "_duly\nprintf '%s\\n' \"${COMPREPLY[@]-}\"\n",
            folder,
        )

    def test_commands(self):
        self.assertEqual(self.complete("duly", "se"), ["serve"])
        self.assertEqual(self.complete("duly", "models", "v"), ["verify"])
        self.assertEqual(self.complete("duly", "completion", ""), ["bash", "zsh", "fish"])
        self.assertIn("replay", self.complete("duly", "--log-level", "info", ""))

    def test_knows_every_command_of_the_help(self):
        text = subprocess.run([DULY, "--help"], capture_output=True, text=True).stdout
        lines = text[text.index("Subcommands:") :].split("\n\n")[0].splitlines()[1:]
        names = [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]
        offered = self.complete("duly", "")
        self.assertIn("serve", offered)
        self.assertEqual(offered, names)

    def test_flags(self):
        policies = self.complete("duly", "serve", "--pol")
        self.assertIn("--policy", policies)
        self.assertTrue(all(flag.startswith("--pol") for flag in policies), policies)
        self.assertEqual(self.complete("duly", "serve", "--reco"), ["--record"])
        self.assertEqual(self.complete("duly", "models", "verify", "--tol"), ["--tolerance"])
        # Those of the program are for every command, those of one command for no other.
        self.assertEqual(self.complete("duly", "serve", "--log-l"), ["--log-level"])
        self.assertEqual(self.complete("duly", "replay", "--ready"), [])
        self.assertEqual(self.complete("duly", "--vers"), ["--version"])
        # One without a value is followed by anything, one with a value by that alone.
        self.assertIn("--record", self.complete("duly", "serve", "--check", "--"))
        self.assertEqual(self.complete("duly", "serve", "--policy", "--"), [])

    def test_paths(self):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "run.log").touch()
            (pathlib.Path(folder) / "runs").mkdir()

            def complete(*words):
                return sorted(self.complete("duly", *words, folder=folder))

            self.assertEqual(complete("serve", "--record", "ru"), ["run.log", "runs"])
            self.assertEqual(complete("serve", "--model-repository", "ru"), ["runs"])
            self.assertEqual(complete("serve", "--model-repository", "=", "ru"), ["runs"])
            self.assertEqual(complete("serve", "--record", "="), ["run.log", "runs"])
            self.assertEqual(complete("replay", "run."), ["run.log"])
            self.assertEqual(complete("serve", "--http-port", "ru"), [])

    def test_is_registered(self):
        self.assertEqual(run("bash", self.script + "\ncomplete -p duly\n"),
                         ["complete", "-F", "_duly", "duly"])  # fmt: skip


class OtherShells(unittest.TestCase):
    @unittest.skipUnless(shutil.which("zsh"), "no zsh")
    def test_zsh_takes_it(self):
        self.assertEqual(run("zsh", "autoload -U compinit; compinit -D\n" + script("zsh")), [])

    @unittest.skipUnless(shutil.which("fish"), "no fish")
    def test_fish_completes(self):
        text = script("fish")
        self.assertEqual(run("fish", text + "\ncomplete -C 'duly se'\n")[0], "serve")
        self.assertEqual(run("fish", text + "\ncomplete -C 'duly serve --reco'\n")[0], "--record")

    def test_zsh_and_fish_know_what_bash_knows(self):
        zsh, fish = script("zsh"), script("fish")
        self.assertTrue(zsh.startswith("#compdef duly\n"))
        self.assertIn("--model-repository=", zsh)
        self.assertIn(":DIR:_files -/", zsh)
        self.assertIn("__duly_at \"/serve\"' -l record -r -F", fish)
        self.assertIn("__duly_at \"/models\"' -a verify", fish)


if __name__ == "__main__":
    DULY = sys.argv[1]
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])

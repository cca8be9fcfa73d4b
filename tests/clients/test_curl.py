# SPDX-License-Identifier: Apache-2.0
"""Every curl command that README.md and docs/serve.md show, against `duly serve`. DULY names the program."""

import os
import pathlib
import re
import shlex
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from harness import Server  # noqa: E402

SECONDS = 60
FENCE = re.compile(r"^```.*?\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Of the program itself, without TLS; everything else is another machine's.
HERE = re.compile(r"(?<![\w.:/-])(?:http://)?(?:localhost|127\.0\.0\.1):(8000|8002)\b")
STATUS = 'curl() { command curl -sS --max-time 30 -o "$REPLY_FILE" -w "%{http_code}" "$@"; }\n'


def commands_of(block):
    """The curl commands of a fenced block, with the lines that they go on in."""
    commands, open_lines = [], ""
    for line in block.splitlines():
        if not open_lines and not line.startswith("curl "):
            continue
        open_lines += line + "\n"
        try:
            shlex.split(open_lines)
        except ValueError:
            continue
        if not line.endswith("\\"):
            commands.append(open_lines)
            open_lines = ""
    if open_lines:
        raise ValueError(f"never ends: {open_lines}")
    return commands


class CurlTest(unittest.TestCase):
    def run_block(self, commands):
        with Server(os.environ["DULY"], ROOT / "models" / "repository", "--model-control-mode", "explicit",
                    "--load-model", "*", "--allow-client-shm") as server:
            ports = {"8000": server.url, "8002": server.metrics_url}
            reply = pathlib.Path(server.folder.name) / "reply"
            for command in commands:
                with self.subTest(command=command):
                    reply.unlink(missing_ok=True)
                    script = STATUS + HERE.sub(lambda found: ports[found[1]], command)
                    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=SECONDS,
                                          env={**os.environ, "REPLY_FILE": str(reply)})
                    body = reply.read_text() if reply.exists() else ""
                    self.assertRegex(done.stdout, r"\A2\d\d\Z", f"{done.stderr}\n{body}")

    def test_documents(self):
        for path in ("README.md", "docs/serve.md"):
            blocks = [commands_of(block) for block in FENCE.findall((ROOT / path).read_text())]
            blocks = [[command for command in block if HERE.search(command)] for block in blocks]
            self.assertTrue(any(blocks), f"{path} shows no curl command")
            for block in filter(None, blocks):
                with self.subTest(path=path):
                    self.run_block(block)

    def test_finds_commands_over_several_lines(self):
        block = "make\ncurl localhost:8000/a -d '{\n  curl }'\ncurl \\\n  localhost:8000/b\n  curl inside\n"
        self.assertEqual(commands_of(block), ["curl localhost:8000/a -d '{\n  curl }'\n", "curl \\\n  localhost:8000/b\n"])
        self.assertIsNone(HERE.search("curl https://localhost:8000/v2"))
        self.assertIsNone(HERE.search("curl http://box.example:8000/v2"))


if __name__ == "__main__":
    unittest.main(verbosity=2)

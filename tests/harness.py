# SPDX-License-Identifier: Apache-2.0
"""Runs `duly serve` on free ports for tests, and ends it as an operator would."""

import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import urllib.request

CONFIG_TYPES = {"BYTES": "STRING"}
START_SECONDS = 60
STOP_SECONDS = 30
LIVE_SECONDS = 30
LIVE = ("nv_inference_pending_request_count", "duly_running_requests")


def copy_model(folder, name, tensors, max_rows=0, delay=None, labels=None):
    """A model whose outputs out0, out1, ... are its inputs in0, in1, ...; tensors: (datatype, dims) each. `labels` are
    those of every output."""

    def entry(kind, name, datatype, dims, more=""):
        data_type = CONFIG_TYPES.get(datatype, datatype)
        return f"{kind} {{ name: '{name}' data_type: TYPE_{data_type} dims: {list(dims)} {more} }}\n"

    text = f"name: '{name}' backend: 'copy' max_batch_size: {max_rows}\n"
    for index, (datatype, dims) in enumerate(tensors):
        text += entry("input", f"in{index}", datatype, dims)
        text += entry("output", f"out{index}", datatype, dims, "label_filename: 'labels.txt'" if labels else "")
    if delay:
        text += f"parameters {{ key: 'delay' value: {{ string_value: '{delay}' }} }}\n"
    model = pathlib.Path(folder) / name
    (model / "1").mkdir(parents=True)
    (model / "1" / "README").write_text("the copy back end needs no file\n")
    (model / "config.pbtxt").write_text(text)
    if labels:
        (model / "labels.txt").write_text("".join(f"{label}\n" for label in labels))


class Server:
    """A running `duly serve`: `url` (host:port), `grpc_url` and `metrics_url`. Leaving the context stops it by SIGTERM."""

    def __init__(self, duly, repository, *flags):
        self.command = [str(duly), "serve", "--model-repository", str(repository), "--http-port", "0",
                        "--grpc-port", "0", "--metrics-port", "0", *flags]

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        ready = pathlib.Path(self.folder.name) / "ready.json"
        self.log = pathlib.Path(self.folder.name) / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([*self.command, "--ready-file", str(ready)], stderr=log, stdout=log)
        end = time.monotonic() + START_SECONDS
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                self.process.wait()
                said = self.log.read_text()
                self.folder.cleanup()
                raise RuntimeError(f"{' '.join(self.command)} did not become ready:\n{said}")
            time.sleep(0.01)
        addresses = json.loads(ready.read_text())
        assert addresses["pid"] == self.process.pid
        self.url, self.grpc_url, self.metrics_url = addresses["http"], addresses["grpc"], addresses["metrics"]
        return self

    def _status(self, name):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) << 10

    def memory(self):
        """Resident bytes, now."""
        return self._status("VmRSS")

    def peak_memory(self):
        """Bytes."""
        return self._status("VmHWM")

    def reset_peak_memory(self):
        """Lets the peak begin at what is resident now, which is returned."""
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return self.memory()

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def metrics(self):
        with urllib.request.urlopen(f"http://{self.metrics_url}/metrics") as reply:
            return reply.read().decode()

    def await_live(self, model, count):
        """Until so many requests to the model are in the node."""
        end = time.monotonic() + LIVE_SECONDS
        while time.monotonic() < end:
            live = [float(line.split()[-1]) for line in self.metrics().splitlines() if line.startswith(LIVE) and f'model="{model}"' in line]
            if sum(live) == count:
                return
        raise RuntimeError(f"never {count} requests to {model} in the node")

    def stop(self):
        """SIGTERM; the exit status, with which a clean end is 0."""
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def __exit__(self, *_):
        try:
            status = self.stop()
            if status != 0:
                raise RuntimeError(f"exit status {status}:\n{self.log.read_text()}")
        finally:
            self.folder.cleanup()

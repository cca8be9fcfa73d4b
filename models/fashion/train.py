#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the Fashion-MNIST family and exports it to ONNX.

Only the 60 000 training images are read here: 55 000 to learn from, 5 000 held out as the
validation set that judges the recipe. The test set is left to measure.py, so that nothing in this
file can have been chosen by it.

Every variant takes `image` f32 [N,1,28,28] in [0,1] and gives `logits` f32 [N,10]; scaling and the
pooling of the small ones stand inside the graph, which is what makes the variants interchangeable.

One network is written as soon as it is trained, and one that is there already is not trained again:
an interrupted run loses one network at most.
"""

import argparse
import json
import pathlib
import time

import torch
from dataset import INSTALLED, read_training
from torch import nn
from torch.nn import functional

BATCH = 128
MEAN, DEVIATION = 0.286, 0.353  # of the training pixels in [0,1]

# One entry per network. `m` is trained twice from different seeds: the second is only for ens2.
NETWORKS = {
    "xxs": dict(widths=(4, 8, 16), pooled=True, epochs=20, seed=1),
    "xs": dict(widths=(8, 16, 32), pooled=True, epochs=20, seed=2),
    "s": dict(widths=(16, 32, 48), pooled=False, epochs=6, seed=3),
    "m": dict(widths=(32, 64, 96), pooled=False, epochs=5, seed=4),
    "m2": dict(widths=(32, 64, 96), pooled=False, epochs=5, seed=5),
}
ENSEMBLE = ("ens2", ("m", "m2"))
PEAK_RATE, MOMENTUM, DECAY, SMOOTHING = 0.12, 0.9, 5e-4, 0.05


class Block(nn.Module):
    """Two 3x3 convolutions with a shortcut; stride 2 halves both edges."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        y = functional.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        return functional.relu(y + self.shortcut(x))


class Network(nn.Module):
    """Stem, three stages of one block each, global mean, linear."""

    def __init__(self, widths, pooled):
        super().__init__()
        self.pooled = pooled
        self.stem = nn.Conv2d(1, widths[0], 3, 1, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(widths[0])
        self.stages = nn.Sequential(
            Block(widths[0], widths[0], 1),
            Block(widths[0], widths[1], 2),
            Block(widths[1], widths[2], 2),
        )
        self.head = nn.Linear(widths[2], 10)

    def forward(self, image):
        x = (image - MEAN) / DEVIATION
        if self.pooled:
            x = functional.avg_pool2d(x, 2)
        x = functional.relu(self.stem_norm(self.stem(x)))
        return self.head(self.stages(x).mean((2, 3)))


class Ensemble(nn.Module):
    """The mean of the members' logits."""

    def __init__(self, members):
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, image):
        return sum(member(image) for member in self.members) / len(self.members)


def tensors(part):
    """Images u8 [N,1,28,28] and labels i64 [N] as tensors."""
    images, labels = part
    return torch.tensor(images)[:, None], torch.tensor(labels).long()


@torch.no_grad()
def accuracy(net, data):
    """Share of right answers, in percentage points."""
    net.eval()
    images, labels = data
    right = 0
    for start in range(0, len(images), 500):
        answer = net(images[start : start + 500].float() / 255).argmax(1)
        right += int((answer == labels[start : start + 500]).sum())
    return 100 * right / len(images)


def train(name, net, data, validation, epochs):
    """One-cycle SGD with label smoothing and mirrored images."""
    images, labels = data
    steps = len(images) // BATCH
    # Faster where the channels fill whole vectors; with 4 channels torch 1.13 corrupts its heap.
    layout = torch.contiguous_format if net.pooled else torch.channels_last
    net.to(memory_format=layout)
    optimizer = torch.optim.SGD(
        net.parameters(), PEAK_RATE, MOMENTUM, weight_decay=DECAY, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_RATE, total_steps=steps * epochs, pct_start=0.25
    )
    for epoch in range(epochs):
        net.train()
        began, total = time.monotonic(), 0.0
        order = torch.randperm(len(images))
        for step in range(steps):
            chosen = order[step * BATCH : (step + 1) * BATCH]
            x = images[chosen].float() / 255
            mirrored = torch.rand(BATCH) < 0.5
            x[mirrored] = x[mirrored].flip(3)
            x = x.contiguous(memory_format=layout)
            loss = functional.cross_entropy(net(x), labels[chosen], label_smoothing=SMOOTHING)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        print(
            f"{name} epoch {epoch + 1}/{epochs}: loss {total / steps:.4f}, "
            f"validation {accuracy(net, validation):.2f} %, {time.monotonic() - began:.0f} s",
            flush=True,
        )


def export(net, path):
    """Writes the ONNX file; batch norms are folded into the convolutions by the exporter."""
    net.eval()
    torch.onnx.export(
        net,
        torch.zeros(1, 1, 28, 28),
        str(path),
        opset_version=13,
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}},
    )


def note(out, name, entry):
    """Adds one network's result to training.json."""
    path = out / "training.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    results[name] = entry
    path.write_text(json.dumps(results, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, default=INSTALLED)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the results")
    parser.add_argument("--only", nargs="*", help="train just these networks")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    data, validation = (tensors(part) for part in read_training(arguments.data))

    trained = {}
    for name, how in NETWORKS.items():
        if arguments.only and name not in arguments.only:
            continue
        torch.manual_seed(how["seed"])
        net = Network(how["widths"], how["pooled"])
        weights = arguments.out / f"{name}.pt"
        if weights.exists():
            net.load_state_dict(torch.load(weights))
        else:
            began = time.monotonic()
            train(name, net, data, validation, how["epochs"])
            torch.save(net.state_dict(), weights)
            note(
                arguments.out,
                name,
                {
                    "epochs": how["epochs"],
                    "seed": how["seed"],
                    "validation": round(accuracy(net, validation), 2),
                    "seconds": round(time.monotonic() - began),
                },
            )
        export(net, arguments.out / f"{name}.onnx")
        trained[name] = net

    name, members = ENSEMBLE
    if all(member in trained for member in members):
        net = Ensemble([trained[member] for member in members])
        note(arguments.out, name, {"validation": round(accuracy(net, validation), 2)})
        export(net, arguments.out / f"{name}.onnx")


if __name__ == "__main__":
    main()

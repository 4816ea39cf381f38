#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The two-picture model with the Top-k gate in PyTorch: its training step, or a whole training.

every    evaluates every expert on every canvas and weights the results
gather   loops over the experts and evaluates each on the canvases that use it, for both tasks at once

Without --data it prints one JSON object with the median milliseconds of --runs steps. With it, it trains
on the pictures (MNIST's format, packed by gzip or not) and prints the accuracy on those for testing, to be
held against `two_pictures compare --gates top_k`: same sizes, starts, optimizer and way to make pairs,
other random numbers.
"""
import argparse
import gzip
import json
import pathlib
import statistics
import sys
import time

# --help needs none of what follows.
parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--way", choices=["every", "gather"], default="gather")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--batch", type=int, default=512)
parser.add_argument("--runs", type=int, default=10)
parser.add_argument("--data", type=pathlib.Path, help="directory with the four files")
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--seed", type=int, default=1)
options = parser.parse_args()

import torch
from torch import nn
from torch.nn import functional as F

TASKS, EXPERTS, K, SIDE, CLASSES, SHIFT = 2, 6, 2, 36, 10, 8


def glorot(layer):
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def dense(inputs, outputs):
    return glorot(nn.Linear(inputs, outputs))


class Model(nn.Module):
    def __init__(self, way):
        super().__init__()
        self.way = way
        convolution = lambda inputs, filters: glorot(nn.Conv2d(inputs, filters, 5))
        self.experts = nn.ModuleList(
            nn.Sequential(
                convolution(1, 10), nn.ReLU(), nn.MaxPool2d(2),
                convolution(10, 20), nn.ReLU(), nn.MaxPool2d(2),
                nn.Flatten(), dense(720, 50), nn.ReLU(), dense(50, 50), nn.ReLU())
            for _ in range(EXPERTS))
        self.gates = nn.ModuleList(nn.Linear(SIDE * SIDE, EXPERTS) for _ in range(TASKS))
        for gate in self.gates:
            nn.init.uniform_(gate.weight, -1 / SIDE, 1 / SIDE)
            nn.init.zeros_(gate.bias)
        self.heads = nn.ModuleList(
            nn.Sequential(dense(50, 50), nn.ReLU(), dense(50, 50), nn.ReLU(), dense(50, CLASSES))
            for _ in range(TASKS))

    def weights(self, gate, x):
        values, chosen = gate(x).topk(K, 1)
        return torch.zeros(x.shape[0], EXPERTS).scatter(1, chosen, torch.softmax(values, 1))

    def forward(self, pictures):
        rows = torch.stack([self.weights(gate, pictures.flatten(1)) for gate in self.gates])
        mixed = torch.zeros(TASKS, pictures.shape[0], 50)
        for e, expert in enumerate(self.experts):
            if self.way == "every":
                mixed = mixed + rows[:, :, e, None] * expert(pictures)
            else:
                used = (rows[:, :, e] > 0).any(0).nonzero().squeeze(1)
                if used.numel():
                    mixed = mixed.index_add(1, used, rows[:, used, e, None] * expert(pictures[used]))
        return [head(mixed[task]) for task, head in enumerate(self.heads)]


def loss_of(outputs, labels):
    return sum(F.cross_entropy(o, labels[:, t]) for t, o in enumerate(outputs)) / TASKS


def read(folder, part):
    arrays = []
    for kind, header in (("images-idx3", 16), ("labels-idx1", 8)):
        file = folder / f"{part}-{kind}-ubyte"
        bytes_of = gzip.open(f"{file}.gz") if not file.exists() else open(file, "rb")
        with bytes_of as stream:
            values = torch.frombuffer(bytearray(stream.read()), dtype=torch.uint8)[header:]
        arrays.append(values.view(-1, 28, 28) if "images" in kind else values.long())
    return arrays


def pairs(pictures, labels):
    """Every picture once at the top left, another of the same part over it."""
    other = torch.randint(len(pictures), (len(pictures),))
    canvas = torch.zeros(len(pictures), 1, SIDE, SIDE)
    canvas[:, 0, :28, :28] += pictures / 255
    canvas[:, 0, SHIFT:, SHIFT:] += pictures[other] / 255
    return canvas, torch.stack([labels, labels[other]], 1)


def accuracy(model, canvas, labels):
    right = torch.zeros(TASKS)
    with torch.no_grad():
        for part in range(0, len(canvas), 1000):
            for task, logits in enumerate(model(canvas[part:part + 1000])):
                right[task] += (logits.argmax(1) == labels[part:part + 1000, task]).sum()
    return float(right.mean()) / len(canvas)


def train():
    pictures, labels = read(options.data, "train")
    kept = torch.randperm(len(pictures))[: len(pictures) * 5 // 6]
    canvas, targets = pairs(pictures[kept], labels[kept])
    test = pairs(*read(options.data, "t10k"))
    model = Model(options.way)
    adam = torch.optim.Adam(model.parameters(), lr=5e-4, eps=1e-8)
    start = time.perf_counter()
    for epoch in range(options.epochs):
        for batch in torch.randperm(len(canvas)).split(options.batch):
            adam.zero_grad()
            loss_of(model(canvas[batch]), targets[batch]).backward()
            adam.step()
        print(f"epoch {epoch + 1}/{options.epochs}, {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return {"seed": options.seed, "epochs": options.epochs, "test_accuracy": accuracy(model, *test),
            "seconds": time.perf_counter() - start}


def step_time():
    model = Model(options.way)
    adam = torch.optim.Adam(model.parameters(), lr=1e-6, fused=True)
    canvas = torch.rand(options.batch, 1, SIDE, SIDE)
    labels = torch.randint(CLASSES, (options.batch, TASKS))
    times = []
    for _ in range(options.runs + 3):
        start = time.perf_counter()
        adam.zero_grad()
        loss_of(model(canvas), labels).backward()
        adam.step()
        times.append(1e3 * (time.perf_counter() - start))
    return {"batch": options.batch, "milliseconds": statistics.median(times[3:])}


torch.set_num_threads(options.threads)
torch.manual_seed(options.seed)
print(json.dumps({"way": options.way, "threads": options.threads, "torch": torch.__version__}
                 | (train() if options.data else step_time())))

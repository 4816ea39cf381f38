#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The training step of examples/character_transformer.py, its feed-forward parts computed in several ways.

comet    comet_torch's Top-k, one of eight experts; its library has to be of this torch
gather   loops over the experts and evaluates each on the tokens that use it
grouped  sorts tokens by expert and asks for all products at once (grouped_mm; PyTorch 2.9 or later)
dense    one expert for all tokens: no mixture, the least that any way could take

Times the ways in turns, a step of each, and prints one JSON object: for each way the medians of --runs steps
in milliseconds, by the clock and of processor time, which others on the machine disturb less, and the
tokens a second that the clock says.
"""
import argparse
import json
import pathlib
import statistics
import sys
import time

# --help needs none of what follows.
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--ways", default="comet,gather,grouped,dense", help="separated by commas")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--batch", type=int, default=24)
parser.add_argument("--runs", type=int, default=30)
options = parser.parse_args()

import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "examples"))
import character_transformer as example
from character_transformer import CONTEXT, EXPERTS, HIDDEN, WIDTH

SYMBOLS = 173


class Mixture(nn.Module):
    """Top-k, one of eight experts: the softmax over all of them, and the penalty on uneven load."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.gate = nn.Linear(WIDTH, EXPERTS)
        weights = lambda *sizes: nn.Parameter(torch.randn(EXPERTS, *sizes) / sizes[0] ** 0.5)
        self.up, self.up_bias = weights(WIDTH, HIDDEN), nn.Parameter(torch.zeros(EXPERTS, HIDDEN))
        self.down, self.down_bias = weights(HIDDEN, WIDTH), nn.Parameter(torch.zeros(EXPERTS, WIDTH))

    def regularization(self):
        return self.load

    def gather(self, x, chosen):
        y = torch.zeros_like(x)
        for e in range(EXPERTS):
            used = (chosen == e).nonzero().squeeze(1)
            hidden = F.gelu(x[used] @ self.up[e] + self.up_bias[e])
            y = y.index_add(0, used, hidden @ self.down[e] + self.down_bias[e])
        return y

    def grouped(self, x, chosen):
        order = torch.argsort(chosen)
        ends = torch.bincount(chosen, minlength=EXPERTS).cumsum(0).to(torch.int32)
        expert = chosen[order]
        hidden = F.gelu(F.grouped_mm(x[order], self.up, offs=ends) + self.up_bias[expert])
        y = F.grouped_mm(hidden, self.down, offs=ends) + self.down_bias[expert]
        return torch.zeros_like(x).index_copy(0, order, y)

    def forward(self, x):
        tokens = x.reshape(-1, WIDTH)
        shares = self.gate(tokens).softmax(1)
        weight, chosen = shares.max(1)
        y = getattr(self, self.way)(tokens, chosen)
        used = torch.bincount(chosen, minlength=EXPERTS) / len(tokens)
        self.load = 0.01 * EXPERTS * (shares.mean(0) * used).sum()
        return (weight.unsqueeze(1) * y).view(x.shape)


def make_part(way):
    if way in ("gather", "grouped"):
        return Mixture(way)
    return example.feed_forward("top_k" if way == "comet" else way)


def make_step(way):
    """A training step of a model, from the same start and on the same batch for each way."""
    torch.manual_seed(1)
    model = example.Transformer(SYMBOLS, lambda: make_part(way))
    adam = torch.optim.AdamW(model.parameters(), lr=1e-6, weight_decay=0.01)
    windows = torch.randint(SYMBOLS, (options.batch, CONTEXT + 1))

    def step():
        adam.zero_grad()
        loss = example.cross_entropy(model, windows)
        (loss + model.regularization()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()

    return step


def main():
    torch.set_num_threads(options.threads)
    steps = {way: make_step(way) for way in options.ways.split(",")}
    times = {way: [] for way in steps}
    for run in range(5 + options.runs):
        for way, step in steps.items():
            start = time.perf_counter(), time.process_time()
            step()
            if run >= 5:
                times[way].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    ways = {}
    for way, pairs in times.items():
        clock, processor = (statistics.median(column) for column in zip(*pairs))
        ways[way] = {"milliseconds": 1e3 * clock, "processor_milliseconds": 1e3 * processor,
                     "tokens_per_second": options.batch * CONTEXT / clock}
    print(json.dumps({"threads": options.threads, "batch": options.batch, "torch": torch.__version__,
                      "ways": ways}))


main()

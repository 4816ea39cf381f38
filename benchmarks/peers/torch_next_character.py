#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The training step of next_character_bench.cpp in PyTorch, in several ways.

every    evaluates every expert on every sample and takes the selected one
gather   loops over the experts and evaluates each on the samples that use it
grouped  sorts samples by expert and asks for all products at once (grouped_mm; PyTorch 2.9 or later)
dense    one expert for all samples: no mixture, the least that any way could take

Prints one JSON object: way, threads, median milliseconds of --runs steps.
"""
import argparse
import json
import statistics
import time

# --help needs none of what follows.
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--way", choices=["every", "gather", "grouped", "dense"], required=True)
parser.add_argument("--compile", action="store_true", help="the model by torch.compile")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--batch", type=int, default=2048)
parser.add_argument("--runs", type=int, default=30)
options = parser.parse_args()

import torch
from torch import nn
from torch.nn import functional as F

SYMBOLS, WINDOW, EMBEDDING, HIDDEN, EXPERTS, EXPERT = 173, 16, 24, 192, 8, 256


class Mixture(nn.Module):
    def __init__(self, way):
        super().__init__()
        self.way = way
        experts = 1 if way == "dense" else EXPERTS
        self.gate = nn.Linear(HIDDEN, experts)
        weights = lambda *sizes: nn.Parameter(torch.randn(experts, *sizes) / sizes[0] ** 0.5)
        self.up, self.up_bias = weights(HIDDEN, EXPERT), nn.Parameter(torch.zeros(experts, EXPERT))
        self.down, self.down_bias = weights(EXPERT, HIDDEN), nn.Parameter(torch.zeros(experts, HIDDEN))

    def expert(self, e, x):
        hidden = F.gelu(x @ self.up[e] + self.up_bias[e])
        return hidden @ self.down[e] + self.down_bias[e]

    def forward(self, x):
        if self.way == "dense":
            return self.expert(0, x), 0.0
        shares = torch.softmax(self.gate(x), 1)
        weight, chosen = shares.max(1)
        if self.way == "every":
            all = torch.stack([self.expert(e, x) for e in range(EXPERTS)], 1)
            y = all.gather(1, chosen.view(-1, 1, 1).expand(-1, 1, HIDDEN)).squeeze(1)
            count = torch.bincount(chosen, minlength=EXPERTS)
        elif self.way == "gather":
            y = torch.zeros_like(x)
            for e in range(EXPERTS):
                used = (chosen == e).nonzero().squeeze(1)
                y = y.index_add(0, used, self.expert(e, x[used]))
            count = torch.bincount(chosen, minlength=EXPERTS)
        else:
            order = torch.argsort(chosen)
            count = torch.histc(chosen.float(), EXPERTS, 0, EXPERTS - 1)
            ends = count.cumsum(0).to(torch.int32)
            expert = chosen[order]
            hidden = F.gelu(F.grouped_mm(x[order], self.up, offs=ends) + self.up_bias[expert])
            sorted_y = F.grouped_mm(hidden, self.down, offs=ends) + self.down_bias[expert]
            y = torch.zeros_like(x).index_copy(0, order, sorted_y)
        load = 0.01 * EXPERTS * (shares.mean(0) * count / x.shape[0]).sum()
        return weight.unsqueeze(1) * y, load


class Model(nn.Module):
    def __init__(self, way):
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, EMBEDDING)
        self.input = nn.Linear(WINDOW * EMBEDDING, HIDDEN)
        self.norm, self.output_norm = nn.LayerNorm(HIDDEN), nn.LayerNorm(HIDDEN)
        self.mixture = Mixture(way)
        self.output = nn.Linear(HIDDEN, SYMBOLS)

    def forward(self, windows, following):
        h = torch.relu(self.input(self.embedding(windows).flatten(1)))
        y, load = self.mixture(self.norm(h))
        return F.cross_entropy(self.output(self.output_norm(h + y)), following) + load


def main():
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    model = Model(options.way)
    adam = torch.optim.AdamW(model.parameters(), lr=1e-6, weight_decay=0.01, fused=True)
    windows = torch.randint(SYMBOLS, (options.batch, WINDOW))
    following = torch.randint(SYMBOLS, (options.batch,))
    loss = torch.compile(model) if options.compile else model

    def step():
        adam.zero_grad()
        loss(windows, following).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()

    for _ in range(5):
        step()
    times = []
    for _ in range(options.runs):
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    print(json.dumps({"way": options.way + (", compiled" if options.compile else ""),
                      "threads": options.threads, "batch": options.batch,
                      "torch": torch.__version__, "milliseconds": statistics.median(times)}))


main()

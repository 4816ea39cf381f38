#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The training step of training_step_bench.cpp in PyTorch, in three ways.

every   evaluates every expert on every sample and weights the results, as the published COMET and
        DSelect-k code does: here as one product with the weights of all experts
gather  loops over the experts and evaluates each on the samples that use it
grouped sorts pairs of sample and expert by expert, for one grouped_mm over all (PyTorch 2.10 or so)

Prints one JSON object: way, threads, median milliseconds of --runs steps.
"""
import argparse
import json
import statistics
import time

# --help needs none of what follows.
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--way", choices=["every", "gather", "grouped"], required=True)
parser.add_argument("--fused", action="store_true", help="Adam in one pass")
parser.add_argument("--compile", action="store_true", help="torch.compile")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--batch", type=int, default=512)
parser.add_argument("--runs", type=int, default=15)
options = parser.parse_args()

import torch
from torch import nn

USERS, ITEMS, EXPERTS, TREES, HALF, D, M = 6040, 3706, 16, 2, 128, 256, 256


class CometGate(nn.Module):
    def __init__(self):
        super().__init__()
        self.split = nn.Linear(D, TREES * (EXPERTS - 1))
        self.leaf = nn.Linear(D, TREES * EXPERTS)
        with torch.no_grad():
            self.split.weight *= 1e6  # saturated

    def forward(self, x):
        v = self.split(x).view(-1, TREES, EXPERTS - 1)
        share = torch.where(v <= -0.5, torch.zeros_like(v),
                            torch.where(v >= 0.5, torch.ones_like(v), v * (1.5 - 2 * v * v) + 0.5))
        reach = torch.ones(x.shape[0], TREES, 1)
        first = 0
        while reach.shape[2] < EXPERTS:  # level by level
            s = share[:, :, first:first + reach.shape[2]]
            first += reach.shape[2]
            reach = torch.stack([reach * s, reach * (1 - s)], dim=3).flatten(2)
        logits = self.leaf(x).view(-1, TREES, EXPERTS)
        logits = logits.masked_fill(reach == 0, -1e30)
        scores = reach * torch.exp(logits - logits.amax(dim=(1, 2), keepdim=True))
        weights = scores.sum(1) / scores.sum(dim=(1, 2)).unsqueeze(1)
        entropy = -(reach * torch.log(reach + 1e-6)).sum() / x.shape[0]
        return weights, 0.05 * entropy


class Model(nn.Module):
    def __init__(self, way):
        super().__init__()
        self.way = way
        self.user = nn.Embedding(USERS, HALF)
        self.item = nn.Embedding(ITEMS, HALF)
        self.gates = nn.ModuleList(CometGate() for _ in range(2))
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(M, 256), nn.ReLU(), nn.Linear(256, 1)) for _ in range(2))
        self.dropout = nn.Dropout(0.5)
        if way == "every":
            self.experts = nn.Linear(D, EXPERTS * M)
        elif way == "grouped":
            bound = (6 / (D + M)) ** 0.5
            self.weight = nn.Parameter(torch.empty(EXPERTS, D, M).uniform_(-bound, bound))
            self.bias = nn.Parameter(torch.zeros(EXPERTS, M))
        else:
            self.experts = nn.ModuleList(nn.Linear(D, M) for _ in range(EXPERTS))

    def mixtures(self, x, weights):
        if self.way == "every":
            y = self.dropout(torch.relu(self.experts(x))).view(-1, EXPERTS, M)
            return [torch.bmm(w.unsqueeze(1), y).squeeze(1) for w in weights]
        mixed = [torch.zeros(x.shape[0], M) for _ in weights]
        if self.way == "grouped":
            used = torch.stack([w != 0 for w in weights]).any(0).t()
            expert, sample = used.nonzero(as_tuple=True)
            ends = used.sum(1).cumsum(0).to(torch.int32)
            y = nn.functional.grouped_mm(x[sample], self.weight, offs=ends) + self.bias[expert]
            y = self.dropout(torch.relu(y))
            return [m.index_add(0, sample, w[sample, expert].unsqueeze(1) * y)
                    for m, w in zip(mixed, weights)]
        for e, expert in enumerate(self.experts):
            used = torch.stack([w[:, e] != 0 for w in weights]).any(0).nonzero().squeeze(1)
            if used.numel() == 0:
                continue
            y = self.dropout(torch.relu(expert(x[used])))
            for t, w in enumerate(weights):
                mixed[t] = mixed[t].index_add(0, used, w[used, e].unsqueeze(1) * y)
        return mixed

    def forward(self, user, item, watched, rating):
        x = torch.cat([self.user(user), self.item(item)], 1)
        routed = [gate(x) for gate in self.gates]
        mixed = self.mixtures(x, [weights for weights, _ in routed])
        logit, stars = (head(y).squeeze(1) for head, y in zip(self.heads, mixed))
        bce = nn.functional.binary_cross_entropy_with_logits(logit, watched)
        mse = (watched * (stars - rating) ** 2).sum() / watched.sum()
        return 0.5 * bce + 0.5 * mse + sum(penalty for _, penalty in routed)


def main():
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    model = Model(options.way)
    adam = torch.optim.Adam(model.parameters(), lr=1e-6, fused=options.fused)
    loss = torch.compile(model) if options.compile else model
    b = torch.arange(options.batch)
    batch = (b * 7919 % USERS, b * 104729 % ITEMS, (b % 2).float(), (b % 2 * (1 + b % 5)).float())

    def step():
        adam.zero_grad()
        loss(*batch).backward()
        adam.step()

    for _ in range(5):
        step()
    times = []
    for _ in range(options.runs):
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    way = options.way + ", fused Adam" * options.fused + ", compiled" * options.compile
    print(json.dumps({"way": way, "threads": options.threads, "batch": options.batch,
                      "torch": torch.__version__, "milliseconds": statistics.median(times)}))


main()

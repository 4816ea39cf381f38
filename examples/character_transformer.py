# SPDX-License-Identifier: MIT
"""A small transformer that says which character of a text comes next, a mixture for each feed-forward part:
PYTHONPATH=build/release/python python3 examples/character_transformer.py TEXT [--gate comet] [--steps 1200]

TEXT is a file, the last tenth of which is held out. The same in C++: character_transformer.cpp.
"""
import argparse
import math
import pathlib
import time

import torch
from torch import nn
from torch.nn import functional as F

WIDTH, BLOCKS, HEADS, CONTEXT, HIDDEN, EXPERTS = 128, 2, 4, 128, 256, 8


def feed_forward(gate):
    """What follows attention in a block, by name; all but `dense` are comet's."""
    if gate == "dense":
        return nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, WIDTH))
    import comet_torch

    options = {
        "comet": dict(entropy=0.01, split_scale=0.2),
        "top_k": dict(load_balance=0.01, softmax_all=True),
    }[gate]
    return comet_torch.MoE(WIDTH, HIDDEN, gate=gate, experts=EXPERTS, k=1, activation="gelu",
                           threads=torch.get_num_threads(), **options)


class Block(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.attention_norm, self.norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attend_in, self.attend_out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.feed_forward = part
        self.register_buffer("future", torch.full((CONTEXT, CONTEXT), -math.inf).triu(1))

    def attention(self, x):
        batch, length, _ = x.shape
        parts = self.attend_in(x).view(batch, length, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        scores = parts[0] @ parts[1].transpose(2, 3) / math.sqrt(WIDTH // HEADS)
        shares = (scores + self.future[:length, :length]).softmax(3)
        return self.attend_out((shares @ parts[2]).transpose(1, 2).reshape(x.shape))

    def forward(self, x):
        x = x + self.attention(self.attention_norm(x))
        return x + self.feed_forward(self.norm(x))


class Transformer(nn.Module):
    """Logits of what follows each character of (B, length) numbers. make_part gives a feed-forward part."""

    def __init__(self, symbols, make_part):
        super().__init__()
        self.symbols, self.places = nn.Embedding(symbols, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        for embedding in (self.symbols, self.places):
            nn.init.normal_(embedding.weight, 0, 0.02)
        self.blocks = nn.Sequential(*(Block(make_part()) for _ in range(BLOCKS)))
        self.norm, self.output = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, symbols)

    def forward(self, text):
        return self.output(self.norm(self.blocks(self.symbols(text) + self.places.weight[:text.shape[1]])))

    def regularization(self):
        """What the mixtures ask for in the last forward(): a part of the loss."""
        return sum(block.feed_forward.regularization() for block in self.blocks
                   if hasattr(block.feed_forward, "regularization"))


def cross_entropy(model, windows):
    return F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())


def train(model, text, steps, batch_size):
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.01)
    warm_up = min(100, steps // 4)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(
        (step + 1) / warm_up, 0.5 + 0.5 * math.cos(math.pi * max(0, step - warm_up) / (steps - warm_up))))
    start = time.perf_counter()
    for step in range(1, steps + 1):
        first = torch.randint(len(text) - CONTEXT, (batch_size, 1))
        loss = cross_entropy(model, text[first + torch.arange(CONTEXT + 1)])
        bits = loss.item() / math.log(2)
        loss = loss + model.regularization()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rate.step()
        if step % max(1, steps // 10) == 0:
            seconds = time.perf_counter() - start
            print(f"step {step:5d}  {bits:.3f} bits  {step * batch_size * CONTEXT / seconds:.0f} tokens/s",
                  flush=True)


@torch.no_grad()
def held_out_bits(model, text, batch_size):
    windows = text[:len(text) - (len(text) - 1) % CONTEXT].unfold(0, CONTEXT + 1, CONTEXT)[:2000]
    model.eval()
    sums = [len(part) * cross_entropy(model, part).item() for part in windows.split(batch_size)]
    return sum(sums) / len(windows) / math.log(2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("--gate", choices=["comet", "top_k", "dense"], default="comet")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch-size", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.steps < 4:  # a quarter of them is the warm-up
        parser.error(f"--steps is {options.steps}, expected at least 4")
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    found, text = torch.unique(torch.tensor(list(options.text.read_bytes())), return_inverse=True)
    cut = len(text) * 9 // 10
    if len(text) - cut <= CONTEXT:
        parser.error(f"{options.text} has {len(text)} characters, expected more than {10 * CONTEXT}")
    model = Transformer(len(found), lambda: feed_forward(options.gate))
    train(model, text[:cut], options.steps, options.batch_size)
    print(f"bits a character, held out          {held_out_bits(model, text[cut:], options.batch_size):.3f}")
    for block in model.blocks:
        if options.gate != "dense":
            print(block.feed_forward.summary())


if __name__ == "__main__":
    main()

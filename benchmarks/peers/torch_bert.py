#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Inference of a student of `bert distil --gate top_k --k 1` beside its dense teacher, computed in several ways.

dense    the teacher: all units of the feed-forward blocks
half     as many units as one expert has, no gate: what the student could come near to
comet    the student, mixtures by comet_torch; its library has to be of this torch
gather   the student, a loop over the experts, each on the tokens that use it
grouped  the student, tokens sorted by expert and all products at once (grouped_mm; PyTorch 2.9 or later)
program-dense, program-comet   teacher and student as `bert evaluate` computes them, with its LibTorch

All have the same sentences, those of the task's dev rows, in the same batches: ascending by length, padded to
the longest. Times them in turns, all rows by each, and prints one JSON object: for each way the median tokens
a second by the clock, those a second of processor time, which others on the machine disturb less, and the mean
loss of the task. It ends with 1 if the ways of the student differ in a logit by more than 1e-3, or in the loss
from the program's by more than 1e-4.
"""
import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

# --help needs none of what follows.
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--teacher", required=True, help="model.safetensors of `bert finetune`")
parser.add_argument("--student", required=True, help="model.safetensors of `bert distil --gate top_k --k 1`")
parser.add_argument("--data", required=True, help="folder of tasks")
parser.add_argument("--pretrained", required=True, help="folder with vocab.txt")
parser.add_argument("--program", default="build/release/bin/bert")
parser.add_argument("--ways", default="dense,half,comet,gather,grouped,program-dense,program-comet",
                    help="separated by commas")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--runs", type=int, default=5)
options = parser.parse_args()

import torch
from torch import nn
from torch.nn import functional as F

SENTENCE, LABEL = 3, 1  # columns of CoLA, the one task that is read here


class Weights:
    """The tensors of a safetensors file, and what it says of the model."""

    def __init__(self, file):
        content = pathlib.Path(file).read_bytes()
        size = int.from_bytes(content[:8], "little")
        head = json.loads(content[8:8 + size])
        self.about = json.loads(head.pop("__metadata__")["bert_model"])
        self.tensors = {}
        for name, tensor in head.items():
            begin, end = (8 + size + offset for offset in tensor["data_offsets"])
            if tensor["dtype"] == "F32":
                self.tensors[name] = torch.frombuffer(bytearray(content[begin:end]), dtype=torch.float32).view(
                    tensor["shape"])

    def __call__(self, name):
        return self.tensors[name]

    def maps(self, name):
        return self(name + ".weight"), self(name + ".bias")

    def below(self, prefix):
        return {name[len(prefix):]: t for name, t in self.tensors.items() if name.startswith(prefix)}


class Block(nn.Module):
    """A dense feed-forward part."""

    def __init__(self, up, down, units=None):
        super().__init__()
        self.up, self.up_bias = up[0][:units].contiguous(), up[1][:units].contiguous()
        self.down, self.down_bias = down[0][:, :units].contiguous(), down[1]

    def forward(self, x, mask):
        return F.linear(F.gelu(F.linear(x, self.up, self.up_bias)), self.down, self.down_bias)


class Mixture(nn.Module):
    """Top-k with one expert and the weight that the softmax over all of them gives it."""

    def __init__(self, weights, layer, way):
        super().__init__()
        prefix = f"encoder.layer.{layer}.moe."
        self.way = way
        self.gate = weights.maps(prefix + "gates.0")
        self.experts = weights.about["options"]["experts"]
        stacked = lambda part, leaf: torch.stack(
            [weights(f"{prefix}experts.{e}.{part}.{leaf}") for e in range(self.experts)])
        # As each way reads them best: in x out.
        self.up, self.up_bias = stacked("hidden", "weight").mT.contiguous(), stacked("hidden", "bias")
        self.down, self.down_bias = stacked("output", "weight").mT.contiguous(), stacked("output", "bias")

    def gather(self, x, chosen):
        y = torch.empty_like(x)
        for e in range(self.experts):
            used = (chosen == e).nonzero().squeeze(1)
            hidden = F.gelu(torch.addmm(self.up_bias[e], x[used], self.up[e]))
            y[used] = torch.addmm(self.down_bias[e], hidden, self.down[e])
        return y

    def grouped(self, x, chosen):
        order = torch.argsort(chosen)
        ends = torch.bincount(chosen, minlength=self.experts).cumsum(0).to(torch.int32)
        expert = chosen[order]
        hidden = F.gelu(F.grouped_mm(x[order], self.up, offs=ends) + self.up_bias[expert])
        y = torch.empty_like(x)
        y[order] = F.grouped_mm(hidden, self.down, offs=ends) + self.down_bias[expert]
        return y

    def forward(self, x, mask):
        real = mask.flatten().nonzero().squeeze(1)
        tokens = x.flatten(0, 1)
        live = tokens[real]
        weight, chosen = F.linear(live, *self.gate).softmax(1).max(1)
        y = torch.zeros_like(tokens)
        y[real] = weight.unsqueeze(1) * getattr(self, self.way)(live, chosen)
        return y.view(x.shape)


class Comet(nn.Module):
    """The same by comet."""

    def __init__(self, weights, layer):
        super().__init__()
        import comet_torch
        o, hidden = weights.about["options"], weights.about["config"]["hidden_size"]
        self.mixture = comet_torch.MoE(hidden, o["shared"] + o["own"], gate="top_k", experts=o["experts"],
                                       k=1, softmax_all=True, activation="gelu", threads=options.threads)
        given = weights.below(f"encoder.layer.{layer}.moe.")
        for name, parameter in self.mixture.named_parameters():
            with torch.no_grad():
                parameter.copy_(given.pop(name))
        assert not given, given.keys()

    def forward(self, x, mask):
        return self.mixture(x, mask=mask)


class Bert(nn.Module):
    def __init__(self, weights, make_part):
        super().__init__()
        self.w = weights
        self.config = weights.about["config"]
        self.parts = nn.ModuleList(make_part(layer) for layer in range(self.config["num_hidden_layers"]))

    def norm(self, x, name):
        return F.layer_norm(x, x.shape[-1:], *self.w.maps(name + "LayerNorm"), self.config["layer_norm_eps"])

    def attend(self, x, mask, layer):
        prefix = f"encoder.layer.{layer}.attention."
        rows, length, size = x.shape
        heads = self.config["num_attention_heads"]
        by_head = lambda name: F.linear(x, *self.w.maps(f"{prefix}self.{name}")).view(
            rows, length, heads, size // heads).transpose(1, 2)
        y = F.scaled_dot_product_attention(by_head("query"), by_head("key"), by_head("value"),
                                           attn_mask=mask[:, None, None, :])
        return F.linear(y.transpose(1, 2).reshape(x.shape), *self.w.maps(prefix + "output.dense"))

    def forward(self, ids, mask):
        w = self.w
        x = w("embeddings.word_embeddings.weight")[ids] + w("embeddings.token_type_embeddings.weight")[0]
        x = self.norm(x + w("embeddings.position_embeddings.weight")[:ids.shape[1]], "embeddings.")
        for layer, part in enumerate(self.parts):
            x = self.norm(x + self.attend(x, mask, layer), f"encoder.layer.{layer}.attention.output.")
            x = self.norm(x + part(x, mask), f"encoder.layer.{layer}.output.")
        pooled = torch.tanh(F.linear(x[:, 0], *w.maps("pooler.dense")))
        return F.linear(pooled, *w.maps("classifier"))


def make_model(way, teacher, student):
    blocks = lambda layer: [teacher.maps(f"encoder.layer.{layer}.{name}.dense")
                            for name in ("intermediate", "output")]
    one = student.about["options"]["shared"] + student.about["options"]["own"]
    return {"dense": lambda: Bert(teacher, lambda layer: Block(*blocks(layer))),
            "half": lambda: Bert(teacher, lambda layer: Block(*blocks(layer), one)),
            "comet": lambda: Bert(student, lambda layer: Comet(student, layer)),
            }.get(way, lambda: Bert(student, lambda layer: Mixture(student, layer, way)))().eval()


def read_batches(max_length):
    rows = [line.split("\t") for line in
            pathlib.Path(options.data, "CoLA", "dev.tsv").read_text(encoding="utf-8").splitlines()]
    text = "".join(row[SENTENCE] + "\n" for row in rows)
    lines = subprocess.run([options.program, "tokens", "--vocabulary", options.pretrained, "--max-length",
                            str(max_length), "-"], input=text, capture_output=True, text=True, check=True)
    ids = [torch.tensor([int(piece) for piece in line.split()]) for line in lines.stdout.splitlines()]
    order = sorted(range(len(rows)), key=lambda row: len(ids[row]))
    batches = []
    for first in range(0, len(order), options.batch):
        which = order[first:first + options.batch]
        padded = nn.utils.rnn.pad_sequence([ids[row] for row in which], batch_first=True, padding_value=-1)
        labels = torch.tensor([int(rows[row][LABEL]) for row in which])
        batches.append((padded.clamp(min=0), padded >= 0, labels))
    return batches


def run_model(model, batches):
    """Logits, and the tokens a second by the clock and of processor time."""
    start = time.perf_counter(), time.process_time()
    with torch.no_grad():
        logits = torch.cat([model(ids, mask) for ids, mask, _ in batches])
    seconds = time.perf_counter() - start[0], time.process_time() - start[1]
    tokens = sum(int(mask.sum()) for _, mask, _ in batches)
    return logits, tuple(tokens / each for each in seconds)


def evaluate(file, data):
    """What the program says, and its processor time, that of reading files among it."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": str(options.threads), "OMP_NUM_THREADS": "1"}
    spent = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    before = spent()
    said = json.loads(subprocess.run(
        [options.program, "evaluate", "--model", file, "--data", data, "--pretrained",
         options.pretrained, "--batch-size", str(options.batch), "--json"],
        capture_output=True, text=True, check=True, env=environment).stdout)
    return said, spent() - before


def run_program(file, tokens, one_row):
    """The program's loss, and its tokens a second. Its processor time is that over a single dev row's."""
    _, reading = evaluate(file, one_row)
    said, whole = evaluate(file, options.data)
    return said["loss"], (said["tokens_per_second"], tokens / (whole - reading))


def main():
    torch.set_num_threads(options.threads)
    teacher, student = Weights(options.teacher), Weights(options.student)
    o = student.about["options"]
    if o["gate"] != "top_k" or o["k"] != 1 or o["task"] != "CoLA":
        sys.exit(f"torch_bert.py: {options.student} is no student of CoLA with --gate top_k --k 1")
    batches = read_batches(o["max_length"])
    labels = torch.cat([labels for *_, labels in batches])
    files = {"program-dense": options.teacher, "program-comet": options.student}
    ways = options.ways.split(",")
    tokens = sum(int(mask.sum()) for _, mask, _ in batches)
    one_row = tempfile.TemporaryDirectory()
    for split in ("train", "dev"):
        rows = pathlib.Path(options.data, "CoLA", split + ".tsv").read_bytes().splitlines(keepends=True)
        pathlib.Path(one_row.name, split + ".tsv").write_bytes(b"".join(rows if split == "train" else rows[:1]))
    models = {way: make_model(way, teacher, student) for way in ways if way not in files}
    speeds, losses, logits = {way: [] for way in ways}, {}, {}
    for run in range(1 + options.runs):
        for way in ways:
            if way in files:
                losses[way], speed = run_program(files[way], tokens, one_row.name)
            else:
                logits[way], speed = run_model(models[way], batches)
                losses[way] = float(F.cross_entropy(logits[way], labels))
            if run > 0:
                speeds[way].append(speed)
    print(json.dumps({
        "threads": options.threads, "batch": options.batch, "runs": options.runs, "torch": torch.__version__,
        "ways": {way: dict(zip(("tokens_per_second", "tokens_per_processor_second"),
                               map(statistics.median, zip(*speeds[way])))) | {"loss": losses[way]} for way in ways}}))
    students = [way for way in ("comet", "gather", "grouped") if way in logits]
    for way in students[1:]:
        if (error := float((logits[way] - logits[students[0]]).abs().max())) > 1e-3:
            sys.exit(f"torch_bert.py: logits of {way} and {students[0]} differ by {error}")
    for program, way in (("program-dense", "dense"), ("program-comet", students[0] if students else "")):
        if program in losses and way in losses and abs(losses[program] - losses[way]) > 1e-4:
            sys.exit(f"torch_bert.py: the losses of {program} and {way} are {losses[program]} and {losses[way]}")


main()

# SPDX-License-Identifier: MIT
"""weights_from_numpy.py SCRIPT GOLDEN [--write]: runs SCRIPT on a small mixture and compares the file
with GOLDEN.safetensors. The same weights as comet writes them, in written_by_comet.safetensors beside
it, are then read with nothing but numpy and the description of the format. With --write it makes the
former, and GOLDEN.json with what the mixture computes: a COMET mixture in the conventions of a
framework, whose leaves and experts are in heap order.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

N, K, D, M, B, GAMMA = 5, 2, 3, 2, 6, 0.25


def numbers(seed, *shape):
    i = np.arange(np.prod(shape))
    return (((i + 1) * (37 + 2 * seed)) % 101 - 50).reshape(shape) / 64.0


ARRAYS = {
    "split_kernel": numbers(1, D, N - 1, K),
    "split_bias": numbers(2, N - 1, K),
    "leaf_kernel": numbers(3, D, N, K),
    "leaf_bias": numbers(4, N, K),
    "expert_kernel": numbers(5, N, D, M),
    "expert_bias": numbers(6, N, M),
}
MAPPING = [
    "experts.*.weight=expert_kernel:axes=0,2,1:heap",
    "experts.*.bias=expert_bias:heap",
    "gates.0.split.weight=split_kernel:axes=1,2,0",
    "gates.0.split.bias=split_bias",
    "gates.0.leaf.weight=leaf_kernel:axes=1,2,0:heap",
    "gates.0.leaf.bias=leaf_bias:heap",
]


def mixture(x):
    """Every node and every expert, leaf by leaf in heap order."""
    a = ARRAYS
    t = np.einsum("bd,dqk->bqk", x, a["split_kernel"]) + a["split_bias"]
    inside = -2 * t**3 / GAMMA**3 + 3 * t / (2 * GAMMA) + 0.5
    share = np.where(t <= -GAMMA / 2, 0, np.where(t >= GAMMA / 2, 1, inside))
    reach = np.zeros((len(x), 2 * N - 1, K))
    reach[:, 0] = 1
    for q in range(N - 1):
        reach[:, 2 * q + 1] = reach[:, q] * share[:, q]
        reach[:, 2 * q + 2] = reach[:, q] * (1 - share[:, q])
    logit = np.einsum("bd,dik->bik", x, a["leaf_kernel"]) + a["leaf_bias"]
    weight = reach[:, N - 1:] * np.exp(logit)
    weight /= weight.sum(axis=(1, 2), keepdims=True)
    outputs = np.einsum("bd,idm->bim", x, a["expert_kernel"]) + a["expert_bias"]
    return np.einsum("bik,bim->bm", weight, outputs)


def tensors_in(content):
    """By the description of the format (https://github.com/huggingface/safetensors#format): the length
    of a JSON header in 8 bytes, little end first; the header; all tensors in C order, without a hole."""
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8:8 + length]), content[8 + length:]
    assert all(isinstance(text, str) for text in header.pop("__metadata__", {}).values())
    end, tensors = 0, {}
    for name, tensor in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, (first, end) = end, tensor["data_offsets"]
        dtype = {"F32": "<f4", "F64": "<f8"}[tensor["dtype"]]
        assert first == begin, f"a hole before {name}"
        tensors[name] = np.frombuffer(data[first:end], dtype).reshape(tensor["shape"])
    assert end == len(data), "bytes behind the last tensor"
    return tensors


def check_refused(script, folder):
    """Each in a line, with 2, and what is there stays."""
    source, target = pathlib.Path(folder, "odd.npz"), pathlib.Path(folder, "odd.safetensors")
    np.savez(source, w=np.zeros((2, 3)), one=np.zeros(2), scalar=np.float64(3), empty=np.zeros((0, 3)),
             whole=np.arange(3), nan=np.array([np.nan]))
    target.write_bytes(b"kept")
    before = source.read_bytes()

    def refused(words, *arguments):
        done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)
        if done.returncode != 2 or done.stderr.count("\n") != 1 or words not in done.stderr:
            sys.exit(f"{arguments} ends with {done.returncode}: {done.stderr}")

    refused("is read and would be lost", source, source, "a=w")
    refused("expected model.npz, model.safetensors", source, target)
    refused("cannot be read as an .npz", target, source, "a=w")
    for words, mapping in (("there are empty, nan,", "a=none"), ("has the shape ()", "a=scalar"),
                           ("has the shape (0, 3)", "a=empty:heap"), ("is int64", "a=whole"),
                           ("not finite", "a=nan"), ("at most one *", "a.*.*=w"), ("at most one *", "=w"),
                           ("at most one *", "__metadata__=w"), ("expected two axes", "a.*=one"),
                           ("unknown step :U", "a=w:U"), ("does not order the axes", "a=w:axes=0,0")):
        refused(words, source, target, mapping)
    if source.read_bytes() != before or target.read_bytes() != b"kept":
        sys.exit("a file was replaced")


def main(script, golden, write=""):
    golden = pathlib.Path(golden)
    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder, "model.npz"), pathlib.Path(folder, "model.safetensors")
        np.savez(source, **ARRAYS)
        subprocess.run([sys.executable, script, source, target, *MAPPING], check=True)
        made = target.read_bytes()
        check_refused(script, folder)
    file = golden.with_suffix(".safetensors")
    if write:
        file.write_bytes(made)
        x = numbers(7, B, D)
        golden.with_suffix(".json").write_text(
            json.dumps({"x": x.ravel().tolist(), "y": mixture(x).ravel().tolist()}) + "\n")
    elif made != file.read_bytes():
        sys.exit(f"what {script} writes differs from {file}")

    ours = tensors_in(golden.with_name("written_by_comet.safetensors").read_bytes())
    theirs = tensors_in(made)
    if ours.keys() != theirs.keys() or len(ours) != 14:
        sys.exit(f"comet writes other tensors: {', '.join(sorted(ours))}")
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], name)
    np.testing.assert_array_equal(ours["experts.0.weight"], ARRAYS["expert_kernel"][3].T)


main(*sys.argv[1:])

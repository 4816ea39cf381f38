#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes arrays of a .npz file as a safetensors file that comet::load_parameters() reads.

    weights_from_numpy.py model.npz model.safetensors \\
        'experts.*.weight=expert_kernel:axes=0,2,1' 'experts.*.bias=expert_bias' \\
        gates.0.split.weight=split_kernel:axes=1,2,0 gates.0.split.bias=split_bias \\
        gates.0.leaf.weight=leaf_kernel:axes=1,2,0:heap gates.0.leaf.bias=leaf_bias:heap

An argument is NAME=ARRAY, with steps behind it that run from left to right:

    :T            reverses the axes, e.g. of a Keras kernel (in, out); PyTorch's are (out, in) already
    :axes=1,2,0   puts the axes in this order
    :heap         takes the first axis, leaves of a COMET tree in heap order, from left to right

NAME is what for_each_parameter() calls the tensor; a `*` in it splits the array along its first axis,
one tensor per number. What comes out has to be in C order:

    experts.i.weight      (out, in)      experts.i.bias      (out)
    gates.t.split.weight  (n-1, k, d)    gates.t.split.bias  (n-1, k)    COMET: node, tree
    gates.t.leaf.weight   (n, k, d)      gates.t.leaf.bias   (n, k)      COMET: leaf, tree
    gates.t.bit.weight    (k, bits, d)   gates.t.mixture.weight (k, d)   DSelect-k, and biases
    gates.t.weight        (n, d)         gates.t.bias        (n)         Top-k, Softmax

Leading axes of a weight are joined, those of a bias too: no byte moves.

The order of leaves. A tree over n experts has split nodes 0..n-2 and leaves n-1..2n-2 in heap order:
children of q are 2q+1 (left) and 2q+2 (right). Expert i is the i-th leaf from LEFT TO RIGHT, and the
deepest leaves are the leftmost ones: for n = 5 the leaves are 7, 8, 4, 5, 6. If your arrays list
leaves by their heap number (4, 5, 6, 7, 8), as code that numbers nodes level by level does, give
`:heap`; for n a power of two it changes nothing. Do the same for the experts if expert i was the i-th
leaf in heap order there. Splits are in heap order on both sides.
"""
import json
import os
import pathlib
import struct
import sys
import zipfile

if {"-h", "--help"} & set(sys.argv[1:]):  # before what may not be installed
    print(__doc__.strip())
    sys.exit()

import numpy as np

DTYPES = {np.dtype("<f4"): "F32", np.dtype("<f8"): "F64"}


def refuse(why):
    print(f"weights_from_numpy: {why}", file=sys.stderr)
    sys.exit(2)


def leaves_from_left_to_right(n):
    """Positions, among the leaves in heap order, of the leaves from left to right."""
    first = n - 1
    order = []

    def visit(node):
        if node >= first:
            order.append(node - first)
        else:
            visit(2 * node + 1)
            visit(2 * node + 2)

    visit(0)
    return order


def transformed(array, steps):
    for step in steps:
        if step == "T":
            array = array.T
        elif step == "heap":
            array = array[leaves_from_left_to_right(array.shape[0])]
        elif step.startswith("axes="):
            try:
                array = array.transpose([int(axis) for axis in step[5:].split(",")])
            except ValueError:
                refuse(f":{step} does not order the axes of shape {array.shape}")
        else:
            refuse(f"unknown step :{step}, expected :T, :axes=... or :heap")
    return array


def tensors_of(arrays, mapping):
    """Yields (name, array in C order with the axes joined)."""
    name, equals, source = mapping.partition("=")
    key, *steps = source.split(":")
    if not equals or not name or name.count("*") > 1 or name == "__metadata__":
        refuse(f"{mapping!r} is not NAME=ARRAY with the name of a tensor and at most one *")
    if key not in arrays:
        refuse(f"no array {key!r}, there are {', '.join(sorted(arrays))}")
    if arrays[key].ndim == 0 or arrays[key].size == 0:
        refuse(f"{key!r} has the shape {arrays[key].shape}, expected one axis and one number at least")
    array = transformed(arrays[key], steps)
    if "*" in name and array.ndim < 2 and not name.endswith("bias"):
        refuse(f"{mapping!r} splits an array of one axis into numbers, expected two axes at least")
    if "*" in name:
        parts = [(name.replace("*", str(i), 1), part) for i, part in enumerate(array)]
    else:
        parts = [(name, array)]
    for part_name, part in parts:
        part = np.asarray(part).astype(part.dtype.newbyteorder("<"))
        if part.dtype not in DTYPES:
            refuse(f"{key!r} is {part.dtype}, expected float32 or float64")
        if not np.isfinite(part).all():
            refuse(f"{key!r} holds a number that is not finite")
        shape = (-1,) if part_name.endswith("bias") else (-1, part.shape[-1])
        yield part_name, np.ascontiguousarray(part.reshape(shape))


def save(path, tensors):
    header = {}
    end = 0
    for name, array in tensors.items():
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": DTYPES[array.dtype], "shape": list(array.shape),
                        "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    # Beside it and renamed: a reader sees the old file or the whole new one.
    partial = f"{path}.tmp.{os.getpid()}"
    try:
        with open(partial, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for array in tensors.values():
                file.write(array.tobytes())
        os.replace(partial, path)
    except OSError as error:
        pathlib.Path(partial).unlink(missing_ok=True)
        refuse(f"{path} cannot be written: {error.strerror}")


def main(arguments):
    if len(arguments) < 3:
        refuse("expected model.npz, model.safetensors and NAME=ARRAY...; --help tells more")
    source, target, *mappings = arguments
    if os.path.exists(source) and os.path.exists(target) and os.path.samefile(source, target):
        refuse(f"{target} is read and would be lost")
    try:
        arrays = dict(np.load(source))
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        refuse(f"{source} cannot be read as an .npz: {error}")
    tensors = {}
    for mapping in mappings:
        for name, array in tensors_of(arrays, mapping):
            if name in tensors:
                refuse(f"{name} is given twice")
            tensors[name] = array
    save(target, tensors)
    for name, array in tensors.items():
        print(name, *array.shape)


if __name__ == "__main__":
    main(sys.argv[1:])

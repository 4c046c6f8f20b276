#!/usr/bin/env python3
"""Ask a node's service `digits` about handwritten digits, one by one, and count who answered.

    digits.py [URL] [SERVICE]        # http://127.0.0.1:7501 digits

The digits are those that the example's models were not trained on: every fourth of tests/data/digits.csv. Needs numpy
and this package (`pip install ./clients/python`).
"""

import pathlib
import sys
from collections import Counter

import numpy as np
from sedge_client import Client, SedgeError

DIGITS = pathlib.Path(__file__).resolve().parents[3] / "tests/data/digits.csv"


def main():
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:7501"
    service = sys.argv[2] if len(sys.argv) > 2 else "digits"
    table = np.loadtxt(DIGITS, delimiter=",", skiprows=1, dtype=np.float32)[3::4]
    answered, hard, right = Counter(), 0, 0
    with Client(url) as client:
        for row in table:
            try:
                result = client.infer(service, {"x": row[None, :64]}, timeout=1.0)
            except SedgeError as error:
                sys.exit(f"{type(error).__name__}: {error}")
            answered[result.answered_by] += 1
            hard += result.hard
            right += int(result.outputs["probabilities"].argmax() == row[64])
    print(f"{len(table)} digits: {right / len(table):.1%} right, {hard} hard")
    for who, count in answered.most_common():
        print(f"  answered by {who}: {count}")


if __name__ == "__main__":
    main()

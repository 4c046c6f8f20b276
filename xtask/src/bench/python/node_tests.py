#!/usr/bin/env python3
"""Write ONNX's own node tests, models of an operator or two with inputs and outputs: node_tests.py FOLDER.

A folder each: `model.onnx`, and `test_data_set_0/` with `input_N.pb` and `output_N.pb`. Tests of sequences, maps and
optionals are left out.
"""

import pathlib
import sys

from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases


def serialized(value, port):
    tensor = value if isinstance(value, TensorProto) else numpy_helper.from_array(value, port.name)
    return tensor.SerializeToString()


def main():
    folder = pathlib.Path(sys.argv[1])
    for case in collect_testcases(None):
        graph = case.model.graph
        if not all(port.type.HasField("tensor_type") for port in [*graph.input, *graph.output]):
            continue
        data = folder / case.name / "test_data_set_0"
        data.mkdir(parents=True, exist_ok=True)
        (folder / case.name / "model.onnx").write_bytes(case.model.SerializeToString())
        inputs, outputs = case.data_sets[0]
        for what, values, ports in [("input", inputs, graph.input), ("output", outputs, graph.output)]:
            for at, (value, port) in enumerate(zip(values, ports)):
                (data / f"{what}_{at}.pb").write_bytes(serialized(value, port))


if __name__ == "__main__":
    main()

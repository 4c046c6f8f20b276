#!/usr/bin/env python3
"""Make the graphs of a small convolutional classifier of 28×28 pixels, for benches: `cnn-28x28/train.onnx` and `infer.onnx`.

Two convolutions (3×3, 8 and 16 channels, each with ReLU and a 2×2 maximum pool) and two dense layers, 784-64-10.
Weights are `w0 b0 … w3 b3`; the convolutions' are [out, in, 3, 3]. Inputs and outputs are those of make.py's graphs,
with x [N,1,28,28] in place of [N,in]. Needs onnx and numpy.
"""

import numpy as np
from onnx import TensorProto

from make import HERE, Graph, cross_entropy_sum, f32, i64

SIDE, CHANNELS, DENSE = 28, [1, 8, 16], [784, 64, 10]


def weight_shapes():
    for layer, (inside, outside) in enumerate(zip(CHANNELS, CHANNELS[1:])):
        yield f"w{layer}", [outside, inside, 3, 3]
        yield f"b{layer}", [outside]
    for layer, (fan_in, fan_out) in enumerate(zip(DENSE, DENSE[1:]), len(CHANNELS) - 1):
        yield f"w{layer}", [fan_in, fan_out]
        yield f"b{layer}", [fan_out]


def forward(graph):
    """x -> logits `z3`. `a{l}` feeds layer l; `r{l}` is what is pooled."""
    graph.constant("zero", 0, np.float32)
    graph.constant("flat", [0, -1], np.int64)
    feed = "x"
    for layer in range(2):
        graph.add("Conv", [feed, f"w{layer}", f"b{layer}"], f"z{layer}", kernel_shape=[3, 3], pads=[1] * 4)
        graph.add("Relu", [f"z{layer}"], f"r{layer}")
        feed = graph.add("MaxPool", [f"r{layer}"], f"p{layer}", kernel_shape=[2, 2], strides=[2, 2])
    graph.add("Reshape", ["p1", "flat"], "a2")
    for layer in (2, 3):
        product = graph.add("MatMul", [f"a{layer}", f"w{layer}"], f"xw{layer}")
        graph.add("Add", [product, f"b{layer}"], f"z{layer}")
        if layer == 2:
            graph.add("Relu", ["z2"], "a3")


def through_relu(graph, gradient, layer):
    graph.add("Greater", [f"z{layer}", "zero"], f"active{layer}")
    graph.add("Cast", [f"active{layer}"], f"mask{layer}", to=TensorProto.FLOAT)
    return graph.add("Mul", [gradient, f"mask{layer}"], f"dz{layer}")


def through_pool(graph, gradient, layer):
    """To the largest of each 2×2. Where several are equal all get it: they are zeros, which ReLU's mask takes away."""
    channels, half = CHANNELS[layer + 1], SIDE >> (layer + 1)
    graph.constant(f"cells{layer}", [0, channels, half, 2, half, 2], np.int64)
    graph.constant(f"cell{layer}", [0, channels, half, 1, half, 1], np.int64)
    graph.constant(f"pixels{layer}", [0, channels, 2 * half, 2 * half], np.int64)
    graph.add("Reshape", [f"r{layer}", f"cells{layer}"], f"r{layer}_cells")
    graph.add("Reshape", [f"p{layer}", f"cell{layer}"], f"p{layer}_cell")
    graph.add("Reshape", [gradient, f"cell{layer}"], f"dp{layer}_cell")
    graph.add("Equal", [f"r{layer}_cells", f"p{layer}_cell"], f"largest{layer}")
    graph.add("Cast", [f"largest{layer}"], f"largest{layer}_f32", to=TensorProto.FLOAT)
    graph.add("Mul", [f"largest{layer}_f32", f"dp{layer}_cell"], f"dr{layer}_cells")
    return graph.add("Reshape", [f"dr{layer}_cells", f"pixels{layer}"], f"dr{layer}")


def update(graph, layer):
    for kind in "wb":
        step = graph.add("Mul", [f"d{kind}{layer}", "lr"], f"step_{kind}{layer}")
        graph.add("Sub", [f"{kind}{layer}", step], f"{kind}{layer}.next")


def train_graph():
    graph = Graph("train")
    forward(graph)
    cross_entropy_sum(graph, "z3", DENSE[-1])
    graph.add("Shape", ["y"], "samples_i64")
    graph.add("Cast", ["samples_i64"], "samples", to=TensorProto.FLOAT)
    graph.add("Div", ["loss_sum", "samples"], "loss")
    graph.add("Sub", ["p", "onehot"], "residual")
    gradient = graph.add("Div", ["residual", "samples"], "dz3")
    for layer in (3, 2):
        graph.add("Transpose", [f"a{layer}"], f"a{layer}_t", perm=[1, 0])
        graph.add("MatMul", [f"a{layer}_t", gradient], f"dw{layer}")
        graph.add("ReduceSum", [gradient, "axis_batch"], f"db{layer}", keepdims=0)
        graph.add("Transpose", [f"w{layer}"], f"w{layer}_t", perm=[1, 0])
        gradient = graph.add("MatMul", [gradient, f"w{layer}_t"], f"da{layer}")
        if layer == 3:
            gradient = through_relu(graph, gradient, 2)
        update(graph, layer)
    graph.constant("axes_pixels", [0, 2, 3], np.int64)
    for layer in (1, 0):
        gradient = through_relu(graph, through_pool(graph, gradient, layer), layer)
        feed = "x" if layer == 0 else "p0"
        # The batch takes the channels' place: dW = X ∗ dZ, summed over samples.
        graph.add("Transpose", [feed], f"feed{layer}_t", perm=[1, 0, 2, 3])
        graph.add("Transpose", [gradient], f"dz{layer}_t", perm=[1, 0, 2, 3])
        spelt_out = {"strides": [1, 1], "dilations": [1, 1], "pads": [1] * 4}
        graph.add("Conv", [f"feed{layer}_t", f"dz{layer}_t"], f"dw{layer}_t", **spelt_out)
        graph.add("Transpose", [f"dw{layer}_t"], f"dw{layer}", perm=[1, 0, 2, 3])
        graph.add("ReduceSum", [gradient, "axes_pixels"], f"db{layer}", keepdims=0)
        if layer == 1:
            gradient = graph.add("ConvTranspose", [gradient, "w1"], "dp0", kernel_shape=[3, 3], pads=[1] * 4)
        update(graph, layer)
    weights = list(weight_shapes())
    inputs = [f32("x", ["N", 1, SIDE, SIDE]), i64("y", ["N"]), f32("lr", [1])] + [f32(*weight) for weight in weights]
    return graph.model(inputs, [f32("loss", [1])] + [f32(f"{name}.next", shape) for name, shape in weights])


def infer_graph():
    graph = Graph("infer")
    forward(graph)
    graph.add("Softmax", ["z3"], "probabilities", axis=-1)
    inputs = [f32("x", ["N", 1, SIDE, SIDE])] + [f32(*weight) for weight in weight_shapes()]
    return graph.model(inputs, [f32("probabilities", ["N", DENSE[-1]])])


if __name__ == "__main__":
    folder = HERE / "cnn-28x28"
    folder.mkdir(exist_ok=True)
    for name, build in (("train", train_graph), ("infer", infer_graph)):
        path = folder / f"{name}.onnx"
        path.write_bytes(build().SerializeToString(deterministic=True))
        print(f"{path}: {path.stat().st_size} bytes")

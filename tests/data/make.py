#!/usr/bin/env python3
"""Make the graphs and first weights of a classifier that Sedge can train: an MLP with ReLU.

Writes `train.onnx`, `evaluate.onnx`, `infer.onnx` and `weights.safetensors`. Needs onnx and numpy, no network:

    python3 make.py                                     # digits-mlp/, as it lies here
    python3 make.py --dims 784-1024-1024-10 -o DIR      # other sizes, e.g. for benches
    python3 make.py --dims 6-32-2 --scale 32 -o electricity-mlp
    python3 make.py --digits-csv-gz FILE                # digits.csv from scikit-learn's file, with a heading
    python3 make.py --elec-csv FILE                     # electricity.csv from scikit-multiflow's file

Layer l has the weights `w{l}` [in, out] and `b{l}` [out]. Inputs and outputs (N = samples of a batch):

    train     x [N,in] f32, y [N] i64, lr [1] f32, weights  ->  loss [1] f32 (mean), NAME.next for each weight
    evaluate  x [N,in] f32, y [N] i64, weights              ->  loss_sum [1] f32, correct [1] i64
    infer     x [N,in] f32, weights                         ->  probabilities [N,classes] f32

A weight is an input of the graph, never a constant in it, so one graph serves every version of the weights.
"""

import argparse
import csv
import gzip
import json
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
HERE = pathlib.Path(__file__).resolve().parent


class Graph:
    """Collects the nodes and constants of one ONNX graph."""

    def __init__(self, name):
        self.name, self.nodes, self.constants = name, [], []

    def add(self, op, inputs, output, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def constant(self, name, value, dtype):
        self.constants.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def model(self, inputs, outputs):
        graph = helper.make_graph(self.nodes, self.name, inputs, outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="sedge make.py")
        model.ir_version = 9
        onnx.checker.check_model(model, full_check=True)
        return model


def f32(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def i64(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.INT64, shape)


def weight_shapes(dims):
    """The weights in layer order: (name, shape)."""
    for layer, (fan_in, fan_out) in enumerate(zip(dims, dims[1:])):
        yield f"w{layer}", [fan_in, fan_out]
        yield f"b{layer}", [fan_out]


def weight_infos(dims):
    return [f32(name, shape) for name, shape in weight_shapes(dims)]


def forward(graph, dims, scale):
    """x -> logits `z{last}`. Returns the activations that feed each layer, which backward needs."""
    graph.constant("divisor", [scale], np.float32)
    activations = [graph.add("Div", ["x", "divisor"], "a0")]
    last = len(dims) - 2
    for layer in range(last + 1):
        product = graph.add("MatMul", [activations[-1], f"w{layer}"], f"xw{layer}")
        graph.add("Add", [product, f"b{layer}"], f"z{layer}")
        if layer < last:
            activations.append(graph.add("Relu", [f"z{layer}"], f"a{layer + 1}"))
    return activations


def cross_entropy_sum(graph, logits, classes):
    """Sum over the batch of -log softmax(logits)[label], as `loss_sum` [1]; also `p` and `onehot`.

    Log-softmax is spelt out as z - max - log(sum(exp(z - max))): some engines compute ONNX's own LogSoftmax as
    log(softmax(z)), which is minus infinity where the probability rounds to zero.
    """
    graph.constant("classes", classes, np.int64)
    graph.constant("off_on", [0, 1], np.float32)
    graph.constant("axis_batch", [0], np.int64)
    graph.constant("axis_class", [1], np.int64)
    graph.constant("axes_both", [0, 1], np.int64)
    graph.constant("one_element", [1], np.int64)
    graph.add("OneHot", ["y", "classes", "off_on"], "onehot", axis=-1)
    graph.add("ReduceMax", [logits], "z_max", axes=[1], keepdims=1)
    graph.add("Sub", [logits, "z_max"], "z_shifted")
    graph.add("Exp", ["z_shifted"], "z_exp")
    graph.add("ReduceSum", ["z_exp", "axis_class"], "z_exp_sum", keepdims=1)
    graph.add("Div", ["z_exp", "z_exp_sum"], "p")
    graph.add("Log", ["z_exp_sum"], "z_log")
    graph.add("Sub", ["z_shifted", "z_log"], "log_p")
    graph.add("Mul", ["log_p", "onehot"], "log_p_label")
    graph.add("ReduceSum", ["log_p_label", "axes_both"], "log_likelihood", keepdims=0)
    graph.add("Neg", ["log_likelihood"], "loss_scalar")
    graph.add("Reshape", ["loss_scalar", "one_element"], "loss_sum")


def train_graph(dims, scale):
    """Forward, softmax cross-entropy, backward, and one step of gradient descent."""
    graph, last = Graph("train"), len(dims) - 2
    activations = forward(graph, dims, scale)
    cross_entropy_sum(graph, f"z{last}", dims[-1])
    graph.constant("zero", 0, np.float32)
    graph.add("Shape", ["y"], "samples_i64")
    graph.add("Cast", ["samples_i64"], "samples", to=TensorProto.FLOAT)
    graph.add("Div", ["loss_sum", "samples"], "loss")

    # d loss / d logits = (p - onehot) / N; then the chain rule, layer by layer.
    graph.add("Sub", ["p", "onehot"], "residual")
    graph.add("Div", ["residual", "samples"], f"dz{last}")
    for layer in reversed(range(last + 1)):
        # The learning rate scales what is as large as the batch, not what is as large as the weights: a pass less.
        graph.add("Mul", [f"dz{layer}", "lr"], f"step_z{layer}")
        transposed = graph.add("Transpose", [activations[layer]], f"a{layer}_t", perm=[1, 0])
        graph.add("MatMul", [transposed, f"step_z{layer}"], f"step_w{layer}")
        graph.add("ReduceSum", [f"step_z{layer}", "axis_batch"], f"step_b{layer}", keepdims=0)
        for kind in "wb":
            graph.add("Sub", [f"{kind}{layer}", f"step_{kind}{layer}"], f"{kind}{layer}.next")
        if layer > 0:
            graph.add("Transpose", [f"w{layer}"], f"w{layer}_t", perm=[1, 0])
            graph.add("MatMul", [f"dz{layer}", f"w{layer}_t"], f"da{layer}")
            graph.add("Greater", [f"z{layer - 1}", "zero"], f"active{layer}")
            graph.add("Cast", [f"active{layer}"], f"mask{layer}", to=TensorProto.FLOAT)
            graph.add("Mul", [f"da{layer}", f"mask{layer}"], f"dz{layer - 1}")

    inputs = [f32("x", ["N", dims[0]]), i64("y", ["N"]), f32("lr", [1])] + weight_infos(dims)
    outputs = [f32("loss", [1])] + [f32(f"{name}.next", shape) for name, shape in weight_shapes(dims)]
    return graph.model(inputs, outputs)


def evaluate_graph(dims, scale):
    """Sums over a batch, so that a caller can add batches of any size: loss and right answers."""
    graph, last = Graph("evaluate"), len(dims) - 2
    forward(graph, dims, scale)
    cross_entropy_sum(graph, f"z{last}", dims[-1])
    graph.add("ArgMax", [f"z{last}"], "answer", axis=1, keepdims=0)
    graph.add("Equal", ["answer", "y"], "right")
    graph.add("Cast", ["right"], "right_f32", to=TensorProto.FLOAT)
    graph.add("ReduceSum", ["right_f32", "axis_batch"], "correct_f32", keepdims=1)
    graph.add("Cast", ["correct_f32"], "correct", to=TensorProto.INT64)
    inputs = [f32("x", ["N", dims[0]]), i64("y", ["N"])] + weight_infos(dims)
    return graph.model(inputs, [f32("loss_sum", [1]), i64("correct", [1])])


def infer_graph(dims, scale):
    graph, last = Graph("infer"), len(dims) - 2
    forward(graph, dims, scale)
    graph.add("Softmax", [f"z{last}"], "probabilities", axis=-1)
    inputs = [f32("x", ["N", dims[0]])] + weight_infos(dims)
    return graph.model(inputs, [f32("probabilities", ["N", dims[-1]])])


def first_weights(dims, seed):
    """He initialisation (He et al. 2015): w ~ Normal(0, sqrt(2 / fan_in)), b = 0."""
    random = np.random.default_rng(seed)
    for name, shape in weight_shapes(dims):
        if name.startswith("w"):
            yield name, (random.standard_normal(shape) * np.sqrt(2 / shape[0])).astype("<f4")
        else:
            yield name, np.zeros(shape, "<f4")


def write_safetensors(path, tensors):
    """The safetensors format: u64 length of a JSON header, the header, the bytes of the tensors.

    The header is padded so that the tensors begin at a multiple of 64 bytes: a host can map the file and compute
    on it in place.
    """
    header, data = {}, bytearray()
    for name, value in tensors:
        begin = len(data)
        data += value.tobytes()
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [begin, len(data)]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % 64)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def write_digits(source, path):
    """scikit-learn's digits.csv.gz (64 pixels 0..16, then the label; no heading) with a heading."""
    rows = [line.strip() for line in gzip.open(source, "rt") if line.strip()]
    assert all(len(row.split(",")) == 65 for row in rows), f"{source}: not 65 columns"
    heading = ",".join([f"p{pixel:02}" for pixel in range(64)] + ["label"])
    path.write_text("\n".join([heading, *rows]) + "\n")
    print(f"{path}: {len(rows)} samples")


def write_electricity(source, path):
    """scikit-multiflow's elec.csv (feat_1 to feat_6 from 0 to 1, target; a row each half hour) without the vague names.

    Sixteen times four weeks from the 33rd week on: the rows of full hours, and one of two between them. The features
    in units in which nearly all values are between 0 and 100, to a tenth.
    """
    units = {"half_hour": 47, "nsw_price": 1000, "nsw_demand": 100, "vic_price": 10_000, "vic_demand": 100, "transfer": 100}
    first, weeks, week = 32, 64, 7 * 48
    with open(source, newline="") as file:
        rows = list(csv.reader(file))[1:]
    lines = [",".join([*units, "up"])]
    for number in range(first * week, (first + weeks) * week):
        *features, target = rows[number]
        half_hour = round(float(features[0]) * 47)
        assert half_hour == number % 48, f"{source}: row {number} is of another half hour"
        if half_hour % 4 != 3:
            scaled = (round(float(value) * unit, 1) for value, unit in zip(features, units.values()))
            lines.append(",".join([*(f"{value:g}" for value in scaled), target]))
    path.write_text("\n".join(lines) + "\n")
    print(f"{path}: {len(lines) - 1} samples")


def dimensions(text):
    dims = [int(part) for part in text.split("-")]
    if len(dims) < 2 or min(dims) < 1:
        raise argparse.ArgumentTypeError("write at least two sizes, e.g. 64-64-10")
    return dims


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", type=dimensions, default=[64, 64, 10], help="features-hidden…-classes (64-64-10)")
    parser.add_argument("--scale", type=float, default=16.0, help="what x is divided by (16: digits' largest pixel)")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights (0)")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=HERE / "digits-mlp", help="folder to write to")
    parser.add_argument("--digits-csv-gz", type=pathlib.Path, help="write digits.csv from this file instead")
    parser.add_argument("--elec-csv", type=pathlib.Path, help="write electricity.csv from this file instead")
    options = parser.parse_args()
    if options.digits_csv_gz:
        return write_digits(options.digits_csv_gz, HERE / "digits.csv")
    if options.elec_csv:
        return write_electricity(options.elec_csv, HERE / "electricity.csv")
    options.output.mkdir(parents=True, exist_ok=True)
    for name, build in (("train", train_graph), ("evaluate", evaluate_graph), ("infer", infer_graph)):
        path = options.output / f"{name}.onnx"
        path.write_bytes(build(options.dims, options.scale).SerializeToString(deterministic=True))
        print(f"{path}: {path.stat().st_size} bytes")
    path = options.output / "weights.safetensors"
    write_safetensors(path, first_weights(options.dims, options.seed))
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()

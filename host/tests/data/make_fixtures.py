"""Makes the small files of the tests: `pip install onnx numpy`, then `python make_fixtures.py`.

train-4-8-3.onnx  one SGD step of a perceptron with ReLU and softmax cross-entropy:
                  (x, y, lr, w0, b0, w1, b1) -> (loss, correct, w0.next, b0.next, w1.next, b1.next)
double.onnx       y = x in float64, which not every engine computes with
stored.npz, compressed.npz
                  x f32[6, 2, 2] = 0, 1, 2, ...; y u8[6] = 0, 1, 2, 0, 1, 2
"""

import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper


def save(graph, path):
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def train(inputs, hidden, classes):
    f = lambda name, shape, dtype=T.FLOAT: h.make_tensor_value_info(name, dtype, shape)
    n = h.make_node
    weights = {"w0": [inputs, hidden], "b0": [hidden], "w1": [hidden, classes], "b1": [classes]}
    nodes = [
        n("MatMul", ["x", "w0"], ["m0"]), n("Add", ["m0", "b0"], ["z0"]), n("Relu", ["z0"], ["a0"]),
        n("MatMul", ["a0", "w1"], ["m1"]), n("Add", ["m1", "b1"], ["z1"]),
        # log softmax as z - max - log(sum(exp)): finite on every engine
        n("ReduceMax", ["z1"], ["max"], axes=[-1], keepdims=1), n("Sub", ["z1", "max"], ["shifted"]),
        n("Exp", ["shifted"], ["exp"]), n("ReduceSum", ["exp", "last"], ["sum"], keepdims=1),
        n("Log", ["sum"], ["log"]), n("Sub", ["shifted", "log"], ["lp"]), n("Div", ["exp", "sum"], ["p"]),
        n("OneHot", ["y", "depth", "onoff"], ["oh"]),
        n("Mul", ["lp", "oh"], ["picked"]), n("ReduceSum", ["picked"], ["s"], keepdims=0),
        n("Shape", ["y"], ["size_i"]), n("Cast", ["size_i"], ["size"], to=T.FLOAT),
        n("Div", ["s", "size"], ["mean"]), n("Neg", ["mean"], ["loss"]),
        n("ArgMax", ["z1"], ["guess"], axis=-1, keepdims=0), n("Equal", ["guess", "y"], ["hit"]),
        n("Cast", ["hit"], ["hit_i"], to=T.INT64), n("ReduceSum", ["hit_i"], ["correct"], keepdims=0),
        # backward
        n("Sub", ["p", "oh"], ["d"]), n("Div", ["d", "size"], ["dz1"]),
        n("Transpose", ["a0"], ["a0t"], perm=[1, 0]), n("MatMul", ["a0t", "dz1"], ["gw1"]),
        n("ReduceSum", ["dz1", "first"], ["gb1"], keepdims=0),
        n("Transpose", ["w1"], ["w1t"], perm=[1, 0]), n("MatMul", ["dz1", "w1t"], ["da0"]),
        n("Greater", ["z0", "zero"], ["on"]), n("Cast", ["on"], ["mask"], to=T.FLOAT),
        n("Mul", ["da0", "mask"], ["dz0"]),
        n("Transpose", ["x"], ["xt"], perm=[1, 0]), n("MatMul", ["xt", "dz0"], ["gw0"]),
        n("ReduceSum", ["dz0", "first"], ["gb0"], keepdims=0),
    ]
    for name in weights:
        nodes += [n("Mul", [f"g{name}", "lr"], [f"u{name}"]), n("Sub", [name, f"u{name}"], [f"{name}.next"])]
    constants = {
        "depth": np.array(classes, np.int64), "onoff": np.array([0, 1], np.float32),
        "first": np.array([0], np.int64), "last": np.array([-1], np.int64), "zero": np.array(0, np.float32),
    }
    return h.make_graph(
        nodes, "train",
        [f("x", ["N", inputs]), f("y", ["N"], T.INT64), f("lr", [1])] + [f(w, s) for w, s in weights.items()],
        [f("loss", [1]), f("correct", [], T.INT64)] + [f(f"{w}.next", s) for w, s in weights.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )


value = lambda name: h.make_tensor_value_info(name, T.DOUBLE, ["N"])
save(train(4, 8, 3), "train-4-8-3.onnx")
save(h.make_graph([h.make_node("Identity", ["x"], ["y"])], "double", [value("x")], [value("y")]), "double.onnx")
arrays = {"x": np.arange(24, dtype=np.float32).reshape(6, 2, 2), "y": np.arange(6, dtype=np.uint8) % 3}
np.savez("stored.npz", **arrays)
np.savez_compressed("compressed.npz", **arrays)

#!/usr/bin/env python3
"""Export small models as people do: PyTorch by both its exporters, Keras through tf2onnx, scikit-learn through skl2onnx.

    make.py torch | sklearn | keras ...

Writes `NAME.onnx` as the exporter leaves it, notes of source lines aside, and `NAME.safetensors`: inputs `in:NAME`, and what the tool itself computes
of them, `out:NAME`. `host/tests/exports.rs` computes the same on every engine. Random weights differ from run to run of
another version of a tool. Needs onnx, safetensors and, of torch, onnxscript, scikit-learn, skl2onnx, tensorflow and
tf2onnx, what is asked for.
"""

import pathlib
import sys

import numpy as np
import onnx
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).resolve().parent


def keep(name, given, expected):
    tensors = {f"in:{port}": value for port, value in given.items()}
    tensors |= {f"out:{port}": value for port, value in expected.items()}
    save_file({port: np.ascontiguousarray(value) for port, value in tensors.items()}, HERE / f"{name}.safetensors")


def without_notes(path):
    """PyTorch notes where in which file each node comes from: paths of the machine that exports."""
    model = onnx.load(path, load_external_data=False)
    for noted in [model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer]:
        del noted.metadata_props[:]
    for value in [*model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    path.write_bytes(model.SerializeToString())


def export_torch():
    import torch
    from torch import nn

    torch.manual_seed(0)
    mlp = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    convolutions = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3)]
    cnn = nn.Sequential(*convolutions, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(6, 3))
    for statistic in cnn[1].running_mean, cnn[1].running_var:
        statistic += 0.1 * torch.rand_like(statistic)
    names = {"input_names": ["input"], "output_names": ["output"]}
    ways = {
        "torchscript": {"dynamo": False, "dynamic_axes": {"input": {0: "batch"}, "output": {0: "batch"}}, **names},
        "dynamo": {"dynamic_shapes": ({0: torch.export.Dim("batch")},), "external_data": False, **names},
        # Nothing said: a batch of one size, and weights in a file beside it.
        "default": {},
    }
    for name, model, x in [("mlp", mlp, torch.randn(5, 4)), ("cnn", cnn, torch.randn(5, 1, 8, 8))]:
        expected = model.eval()(x).detach().numpy()
        for way, options in ways.items():
            if (name, way) == ("mlp", "default"):
                continue
            path = HERE / f"torch-{name}-{way}.onnx"
            torch.onnx.export(model, (x,), path, **options)
            without_notes(path)
            graph = onnx.load(path).graph
            keep(path.stem, {graph.input[0].name: x.numpy()}, {graph.output[0].name: expected})


def export_sklearn():
    from skl2onnx import to_onnx
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = load_iris(return_X_y=True)
    x, some = x.astype(np.float32), x[::10].astype(np.float32)
    models = {
        "mlp": make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=1000, random_state=0)),
        "logistic": LogisticRegression(max_iter=500),
        "linear": LinearRegression(),
        "forest": RandomForestClassifier(3, max_depth=3, random_state=0),
    }
    for name, model in models.items():
        model.fit(x, y)
        for maps in (False, True) if name == "logistic" else (False,):
            classifies = hasattr(model, "predict_proba")
            options = {id(model): {"zipmap": maps}} if classifies else None
            export = to_onnx(model, x[:1], options=options, target_opset=21)
            path = HERE / f"sklearn-{name}{'-maps' if maps else ''}.onnx"
            path.write_bytes(export.SerializeToString())
            outputs = [output.name for output in export.graph.output]
            if classifies:
                values = [model.predict(some).astype(np.int64), model.predict_proba(some).astype(np.float32)]
            else:
                values = [model.predict(some).astype(np.float32).reshape(-1, 1)]
            keep(path.stem, {export.graph.input[0].name: some}, dict(zip(outputs, values)))


def export_keras():
    import keras
    import tensorflow as tf
    import tf2onnx

    keras.utils.set_random_seed(0)
    layers = keras.layers
    mlp = keras.Sequential([layers.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(3, activation="softmax")])
    cnn = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(4, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.Conv2D(6, 3, activation="relu"),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(3),
        ]
    )
    for layer in [*mlp.layers, *cnn.layers]:
        # What is zero, as fresh biases are, the exporter leaves out.
        layer.set_weights([value + np.random.uniform(0.01, 0.1, value.shape) for value in layer.get_weights()])
    for name, model, shape in [("mlp", mlp, (5, 4)), ("cnn", cnn, (5, 8, 8, 1))]:
        x = np.random.rand(*shape).astype(np.float32)
        expected = np.asarray(model(x, training=False))
        path = HERE / f"keras-{name}.onnx"
        if name == "mlp":
            model.export(str(path), format="onnx", verbose=False)
        else:
            signature = [tf.TensorSpec((None, *shape[1:]), tf.float32, name="x")]
            function = tf.function(lambda given: model(given, training=False), input_signature=signature)
            tf2onnx.convert.from_function(function, input_signature=signature, opset=17, output_path=str(path))
        graph = onnx.load(path).graph
        keep(path.stem, {graph.input[0].name: x}, {graph.output[0].name: expected})


if __name__ == "__main__":
    for tool in sys.argv[1:]:
        {"torch": export_torch, "sklearn": export_sklearn, "keras": export_keras}[tool]()

#!/usr/bin/env python3
"""Compare generated training graphs with PyTorch's autodiff.

Each model is exported to ONNX by PyTorch, `sedge model trainable` makes its graphs, ONNX Runtime computes some steps of
`train.onnx`, and PyTorch trains the same model on the same batches. Prints, for each model, the largest difference of
a weight, relative to the largest change of its tensor. Needs torch, onnx, onnxruntime and onnxscript:

    python3 compare.py --sedge ../../target/debug/sedge
"""

import argparse
import copy
import logging
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from torch import nn

STEPS = 3
BATCH = 8
LEARNING_RATE = 0.01
# Of the largest change of a tensor. f32 has seven digits; a step of Adam divides by a root of small squares.
TOLERANCE = 2e-4


class Attention(nn.Module):
    """One block of a transformer with a head for classes."""

    def __init__(self, width=16, heads=2, classes=4):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mix = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 32), nn.GELU(), nn.Linear(32, width))
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        batch, time, width = x.shape
        parts = self.qkv(self.norm(x)).reshape(batch, time, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        weights = torch.softmax(q @ k.transpose(-2, -1) / (width // self.heads) ** 0.5, dim=-1)
        mixed = (weights @ v).transpose(1, 2).reshape(batch, time, width)
        x = x + self.out(mixed)
        x = x + self.mix(x)
        return self.head(x.mean(dim=1))


class Words(nn.Module):
    """An embedding whose mean is classified."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(30, 12)
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.embedding(x)).mean(dim=1))


def models():
    """Name, model, input of one batch, labels of one batch, loss, optimiser, exporters."""
    images = lambda channels, size: torch.randn(BATCH, channels, size, size)
    classes = lambda count: torch.randint(count, (BATCH,))
    both = ("torchscript", "dynamo")
    yield "mlp", nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5)), torch.randn(BATCH, 20), classes(
        5
    ), "softmax-cross-entropy", "sgd", both
    yield "mlp, softmax inside", nn.Sequential(
        nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 5), nn.Softmax(-1)
    ), torch.randn(BATCH, 20), classes(5), "softmax-cross-entropy", "momentum", both
    yield "cnn with batch norm", nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(8, 12, 3, stride=2, groups=4, bias=False),
        nn.BatchNorm2d(12),
        nn.LeakyReLU(0.1),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(12, 5),
    ), images(3, 12), classes(5), "softmax-cross-entropy", "momentum", ("torchscript",)
    yield "cnn", nn.Sequential(
        nn.Conv2d(1, 6, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, dilation=2, padding=2),
        nn.Hardswish(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 1),
        nn.Sigmoid(),
    ), images(1, 16), torch.randint(2, (BATCH,)).float(), "binary-cross-entropy", "sgd", both
    yield "autoencoder", nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2, padding=1),
        nn.ELU(),
        nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1),
        nn.SiLU(),
        nn.ConvTranspose2d(4, 1, 3, padding=1),
    ), images(1, 8), images(1, 8), "mse", "adam", both
    yield "layer norm, gelu", nn.Sequential(
        nn.Linear(10, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 16), nn.GELU(approximate="tanh"), nn.Linear(16, 1)
    ), torch.randn(BATCH, 10), torch.randn(BATCH), "mse", "adam", both
    # The bias of the keys has no gradient but rounding, which Adam would blow up.
    yield "attention", Attention(), torch.randn(BATCH, 5, 16), classes(4), "softmax-cross-entropy", "momentum", both
    yield "embedding", Words(), torch.randint(30, (BATCH, 6)), classes(3), "softmax-cross-entropy", "sgd", both


def export(model, x, exporter, path):
    """As a user would, with a batch of any size. Training mode keeps batch normalisation a node of its own."""
    model = copy.deepcopy(model)
    if exporter == "dynamo":
        shapes = ({0: torch.export.Dim("batch")},)
        torch.onnx.export(model.eval(), (x,), path, dynamo=True, dynamic_shapes=shapes, input_names=["input"], verbose=False)
    else:
        training = torch.onnx.TrainingMode.TRAINING
        axes = {"input": {0: "batch"}, "output": {0: "batch"}}
        names = {"input_names": ["input"], "output_names": ["output"], "dynamic_axes": axes}
        torch.onnx.export(model.train(), (x,), path, dynamo=False, training=training, do_constant_folding=False, **names)


def torch_steps(model, batches, loss, optimizer):
    model = copy.deepcopy(model).train()
    modules = list(model.children())
    if isinstance(modules[-1], (nn.Softmax, nn.Sigmoid)):
        model_to_run = nn.Sequential(*modules[:-1])
    else:
        model_to_run = model
    measure = {
        "softmax-cross-entropy": nn.functional.cross_entropy,
        "mse": lambda z, y: nn.functional.mse_loss(z.reshape(y.shape), y),
        "binary-cross-entropy": lambda z, y: nn.functional.binary_cross_entropy_with_logits(z.reshape(y.shape), y),
    }[loss]
    parameters = model.parameters()
    moves = {
        "sgd": lambda: torch.optim.SGD(parameters, LEARNING_RATE),
        "momentum": lambda: torch.optim.SGD(parameters, LEARNING_RATE, momentum=0.9),
        "adam": lambda: torch.optim.Adam(parameters, LEARNING_RATE),
    }[optimizer]()
    losses = []
    for x, y in batches:
        moves.zero_grad()
        value = measure(model_to_run(x), y)
        value.backward()
        moves.step()
        losses.append(value.item())
    return {name: value.detach().numpy() for name, value in model.state_dict().items()}, losses


def read_weights(path):
    from json import loads

    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = loads(data[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data[8 + length + begin : 8 + length + end], "<f4")
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def graph_steps(folder, batches):
    session = onnxruntime.InferenceSession(str(folder / "train.onnx"), providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    first = weights = read_weights(folder / "weights.safetensors")
    losses = []
    for x, y in batches:
        given = {"x": x.numpy(), "y": y.numpy(), "lr": np.array([LEARNING_RATE], np.float32)}
        results = dict(zip(outputs, session.run(outputs, given | weights)))
        losses.append(float(results.pop("loss")[0]))
        weights = {name.removesuffix(".next"): value for name, value in results.items()}
    return first, weights, losses


def differences(first, graph, before, after):
    """The largest difference of each of PyTorch's tensors; the graph's is found by name or by its first values."""
    for name, value in after.items():
        old = before[name]
        if name in graph:
            yield name, np.abs(graph[name] - value).max(), np.abs(value - old).max()
            continue
        if not np.issubdtype(old.dtype, np.floating):
            continue
        for other, start in first.items():
            turned = start.T if start.ndim == 2 else start
            for same, found in ((start, graph[other]), (turned, graph[other].T if start.ndim == 2 else graph[other])):
                if same.shape == old.shape and np.array_equal(same, old):
                    yield name, np.abs(found - value).max(), np.abs(value - old).max()
                    break
            else:
                continue
            break
        else:
            raise SystemExit(f"the graph has no weight like {name}: {', '.join(first)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sedge", type=pathlib.Path, required=True, help="the binary")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    print(f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, {STEPS} steps, batches of {BATCH}")
    print(f"{'model':22} {'exporter':12} {'loss':22} {'optimizer':9} {'largest difference':>18} {'of the loss':>12}")
    failed = False
    torch.manual_seed(0)
    for name, model, x, y, loss, optimizer, exporters in models():
        # The newer exporter makes one initializer of all that are equal, as fresh scales and biases are.
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        before = {key: value.numpy().copy() for key, value in model.state_dict().items()}
        batches = [(x, y)]
        for step in range(1, STEPS):
            roll = torch.arange(BATCH).roll(step)
            batches.append((x.roll(1, -1), y[roll]))
        for exporter in exporters:
            with tempfile.TemporaryDirectory() as folder:
                folder = pathlib.Path(folder)
                export(model, x, exporter, folder / "model.onnx")
                command = [options.sedge, "model", "trainable", folder / "model.onnx"]
                command += ["--loss", loss, "--optimizer", optimizer, "-o", folder / "out"]
                ran = subprocess.run(command, capture_output=True, text=True)
                if ran.returncode != 0:
                    print(f"{name:22} {exporter:12} {ran.stderr.strip()}")
                    failed = True
                    continue
                for graph in ("train", "evaluate", "infer"):
                    onnx.checker.check_model(folder / "out" / f"{graph}.onnx", full_check=True)
                first, graph, losses = graph_steps(folder / "out", batches)
            # Exporting in training mode is a pass over the batch, which running statistics follow.
            start = copy.deepcopy(model)
            for key, buffer in start.named_buffers():
                if key in first:
                    buffer.copy_(torch.from_numpy(first[key].copy()))
                    before[key] = first[key]
            after, expected = torch_steps(start, batches, loss, optimizer)
            found = list(differences(first, graph, before, after))
            worst = max(difference / max(change, 1e-7) for _, difference, change in found)
            of_loss = max(abs(a - b) / max(abs(b), 1e-7) for a, b in zip(losses, expected))
            print(f"{name:22} {exporter:12} {loss:22} {optimizer:9} {worst:18.1e} {of_loss:12.1e}")
            if not worst <= TOLERANCE or not of_loss <= TOLERANCE:
                failed = True
                for tensor, difference, change in found:
                    print(f"    {tensor}: differs by {difference:.2e}, changed by {change:.2e}")
    sys.exit(failed)


if __name__ == "__main__":
    main()

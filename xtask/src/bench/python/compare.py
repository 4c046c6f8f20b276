#!/usr/bin/env python3
"""What the same graphs cost in PyTorch (training) and in onnxruntime called from Python (inference); one thread.

    compare.py DATA MODELS [PART-OF-A-NAME]

DATA is tests/data of the repository, MODELS a folder of models out of packages. Prints a JSON array of figures under
the names that host/benches/tensors/cases.rs gives its cases: a comparison with packages that are not there says so.
"""

import json
import pathlib
import resource
import subprocess
import sys
import time

ROUNDS, TURN, SETTLE = 6, 0.4, 3


def noise(shape, scale):
    import numpy as np

    return ((np.random.default_rng(1).random(shape) * 2 - 1) * scale).astype(np.float32)


def mlp(layers):
    """A training step of PyTorch: forward, cross entropy, backward, SGD."""
    import torch

    modules = []
    for fan_in, fan_out in zip(layers, layers[1:]):
        modules += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
    return torch.nn.Sequential(*modules[:-1])


def cnn():
    import torch.nn as nn

    def block(inside, outside):
        return [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]

    dense = [nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10)]
    return nn.Sequential(*block(1, 8), *block(8, 16), nn.Flatten(), *dense)


def training(model, shape):
    import torch

    torch.set_num_threads(1)
    model = model()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    x = torch.from_numpy(noise(shape, 1.0))
    y = torch.arange(shape[0]) % 10

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def inference(path, given):
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = {}
    for port in session.get_inputs():
        inputs[port.name] = given.get(port.name)
        if inputs[port.name] is None:
            inputs[port.name] = noise(port.shape, 0.1)
    assert all(isinstance(value, np.ndarray) for value in inputs.values())
    return lambda: session.run(None, inputs)


def cases(data, models):
    """(name, way, what it needs, what makes the call)."""
    import numpy as np

    digits, large = [64, 64, 10], [784, 1024, 1024, 10]
    speech = {"input": noise([1, 576], 0.1), "state": noise([2, 1, 128], 0.1), "sr": np.array(16000, np.int64)}
    file = {"bytes": ((np.arange(2048) * 31 + 7) % 256).astype(np.int32).reshape(1, 2048)}
    torch, ort = "PyTorch on CPU", "onnxruntime from Python"
    yield "digits MLP 64-64-10, batch 32: train", torch, lambda: training(lambda: mlp(digits), [32, 64])
    yield (
        "digits MLP 64-64-10, one sample: infer",
        ort,
        lambda: inference(data / "digits-mlp/infer.onnx", {"x": noise([1, 64], 1.0)}),
    )
    yield "MLP 784-1024-1024-10, batch 64: train", torch, lambda: training(lambda: mlp(large), [64, 784])
    yield "CNN 28×28, batch 32: train", torch, lambda: training(cnn, [32, 1, 28, 28])
    yield (
        "CNN 28×28, batch 32: infer",
        ort,
        lambda: inference(data / "cnn-28x28/infer.onnx", {"x": (np.arange(32 * 28 * 28, dtype=np.uint32) * 31 % 251).astype(np.uint8).reshape(32, 1, 28, 28)}),
    )
    yield "Silero VAD, 32 ms of speech: infer", ort, lambda: inference(models / "silero_vad.onnx", speech)
    yield "Magika, one file: infer", ort, lambda: inference(models / "magika.onnx", file)


def measure(make):
    import numpy  # noqa: F401  What both have is not what a case holds.

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call = make()
    for _ in range(SETTLE):
        call()
    begun = time.perf_counter()
    call()
    calls = min(max(int(TURN / max(time.perf_counter() - begun, 1e-7)), 10), 20_000)
    times = []
    for _ in range(ROUNDS):
        for _ in range(calls):
            begun = time.perf_counter_ns()
            call()
            times.append(time.perf_counter_ns() - begun)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    times.sort()
    at = lambda share: times[(len(times) - 1) * share // 100] / 1e3
    return {"median_us": at(50), "p99_us": at(99), "calls": len(times), "held_bytes": held << 10}


def main():
    data, models = map(pathlib.Path, sys.argv[1:3])
    part = sys.argv[3] if len(sys.argv) > 3 else ""
    figures = []
    for name, way, make in cases(data, models):
        if part not in name:
            continue
        figure = {"case": name, "way": way}
        if len(sys.argv) > 4:
            # One process for each, for what a library keeps would count as the next one's.
            print(json.dumps(figure | measure(make)))
            return
        arguments = [sys.executable, __file__, data, models, name, "alone"]
        ended = subprocess.run(arguments, capture_output=True, text=True)
        if ended.returncode == 0:
            figure = json.loads(ended.stdout)
        else:
            figure["absent"] = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        figures.append(figure)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

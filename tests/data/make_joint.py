#!/usr/bin/env python3
"""Train the two classifiers of the joint inference example, and measure what they come to together.

Writes `digits-joint/small` (64-20-10, for edges) and `digits-joint/large` (64-1024-1024-10, for the cloud), each an
`infer.onnx` and its `weights.safetensors`, from `digits.csv`; and `digits-joint/held-out.npz`, the samples measured on, and one of
them as a picture, `three.png`. Needs onnx and numpy, no network:

    python3 make_joint.py              # trains both, in about a minute
    python3 make_joint.py --measure    # what the files as they lie here come to
    python3 make_joint.py --choose     # how the recipe and the threshold were chosen; writes nothing

Every fourth sample (rows 3, 7, 11, … counted from 0) is held out: nothing is trained on them, and all figures are of
them. The large one is trained on digits turned, zoomed and moved a little. The small one is trained briefly, so that it
leaves something to ask about. Recipe and threshold are chosen without a look at what is held out: of the rows to train
on, every fourth row after a held-out one's (2, 6, 10, …) validates candidates trained on the others. The graphs are those of `make.py`:

    infer     x [N,64] f32 (0 to 16), weights  ->  probabilities [N,10] f32
"""

import argparse
import json
import pathlib
import struct
import zlib

import numpy as np

from make import HERE, infer_graph, weight_shapes, write_safetensors

FOLDER = HERE / "digits-joint"
MODELS = {
    "small": {"dims": [64, 20, 10], "epochs": 6, "batch": 32, "rate": 0.03, "distort": False, "seed": 0},
    "large": {"dims": [64, 1024, 1024, 10], "epochs": 25, "batch": 64, "rate": 0.05, "distort": True, "seed": 0},
}
# What `service.yaml` mines with: hard is what the small one gives a confidence 1 + sum(p ln p) / ln 10 below this.
THRESHOLD = 0.7
SCALE = np.float32(16)


def digits():
    """(x, y) to train on and (x, y) held out."""
    table = np.loadtxt(HERE / "digits.csv", delimiter=",", skiprows=1, dtype=np.float32)
    x, y = table[:, :64], table[:, 64].astype(np.int64)
    held_out = np.arange(len(y)) % 4 == 3
    return (x[~held_out], y[~held_out]), (x[held_out], y[held_out])


def moved(x, random):
    """Each digit turned by up to 0.25 rad, zoomed by up to 15 % and moved by up to 0.7 pixels; blank around it."""
    images = np.pad(x.reshape(-1, 8, 8), ((0, 0), (1, 2), (1, 2)))
    each = lambda reach: random.uniform(-reach, reach, (len(x), 1, 1))
    angle, zoom = each(0.25), 1 + each(0.15)
    row, column = np.mgrid[0:8, 0:8] - 3.5
    # Where in the padded image each pixel comes from, and between which four pixels that is.
    rows = np.clip(zoom * (np.cos(angle) * row - np.sin(angle) * column) + each(0.7) + 4.5, 0, 9)
    columns = np.clip(zoom * (np.sin(angle) * row + np.cos(angle) * column) + each(0.7) + 4.5, 0, 9)
    top, left, image = rows.astype(int), columns.astype(int), np.arange(len(x))[:, None, None]
    down, right = rows - top, columns - left
    above = images[image, top, left] * (1 - right) + images[image, top, left + 1] * right
    below = images[image, top + 1, left] * (1 - right) + images[image, top + 1, left + 1] * right
    return (above * (1 - down) + below * down).reshape(-1, 64).astype(np.float32)


def forward(weights, x):
    """The activations that feed each layer, and the probabilities."""
    layers, activations = len(weights) // 2, [x / SCALE]
    for layer in range(layers):
        z = activations[-1] @ weights[2 * layer] + weights[2 * layer + 1]
        activations.append(np.maximum(z, 0) if layer + 1 < layers else z)
    z = activations.pop()
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return activations, p / p.sum(axis=1, keepdims=True)


def train(x, y, dims, epochs, batch, rate, distort, seed):
    """Gradient descent with momentum 0.9 on the cross entropy; the rate falls to 0 by half a cosine."""
    random = np.random.default_rng(seed)
    weights = []
    for name, shape in weight_shapes(dims):
        scale = np.sqrt(2 / shape[0]) if name.startswith("w") else 0  # He et al. 2015
        weights.append((random.standard_normal(shape) * scale).astype(np.float32))
    momentum = [np.zeros_like(weight) for weight in weights]
    for epoch in range(epochs):
        step = np.float32(rate * (1 + np.cos(np.pi * epoch / epochs)) / 2)
        order = random.permutation(len(y))
        for begin in range(0, len(y), batch):
            chosen = order[begin : begin + batch]
            samples = moved(x[chosen], random) if distort else x[chosen]
            activations, p = forward(weights, samples)
            dz = p
            dz[np.arange(len(chosen)), y[chosen]] -= 1
            dz /= np.float32(len(chosen))
            for layer in reversed(range(len(activations))):
                gradients = activations[layer].T @ dz, dz.sum(axis=0)
                if layer > 0:
                    dz = (dz @ weights[2 * layer].T) * (activations[layer] > 0)
                for at, gradient in zip((2 * layer, 2 * layer + 1), gradients):
                    momentum[at] *= np.float32(0.9)
                    momentum[at] += gradient
                    weights[at] -= step * momentum[at]
    return weights


def read_safetensors(path):
    content = path.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    for entry in json.loads(content[8:begin]).values():
        first, end = entry["data_offsets"]
        yield np.frombuffer(content[begin + first : begin + end], "<f4").reshape(entry["shape"])


def confidence(p):
    """The miner `cross-entropy`: 1 + sum(p ln p) / ln n, where 0 ln 0 is 0."""
    return 1 + np.where(p > 0, p * np.log(np.maximum(p, 1e-45)), 0).sum(axis=1) / np.log(p.shape[1])


def write_png(path, pixels):
    """A grey PNG (<https://www.w3.org/TR/png/>) of u8 pixels [height, width]."""
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


def measure(x, y):
    answers = {}
    for name in MODELS:
        _, answers[name] = forward(list(read_safetensors(FOLDER / name / "weights.safetensors")), x)
    table_of(answers["small"], answers["large"], y)


def validate():
    """What recipes and thresholds come to on rows that are trained on in the end, and are not here."""
    table = np.loadtxt(HERE / "digits.csv", delimiter=",", skiprows=1, dtype=np.float32)
    x, y, row = table[:, :64], table[:, 64].astype(np.int64), np.arange(len(table)) % 4
    learn, check = row < 2, row == 2
    accuracy = lambda p: (p.argmax(axis=1) == y[check]).mean()

    def trained(name, **changes):
        return forward(train(x[learn], y[learn], **{**MODELS[name], **changes}), x[check])[1]

    large = {distort: trained("large", distort=distort) for distort in (False, True)}
    for distort, p in large.items():
        print(f"large, {'distorted' if distort else 'as they are':11}: {accuracy(p):.4f}")
    # Rows to train on are fewer here: as many steps as in the end take more epochs.
    fewer = (row != 3).sum() / learn.sum()
    small = {epochs: trained("small", epochs=round(epochs * fewer)) for epochs in (2, 4, 6, 8, 12, 24)}
    for epochs, p in small.items():
        print(f"small, {epochs:2} epochs     : {accuracy(p):.4f}")
    table_of(small[MODELS["small"]["epochs"]], large[True], y[check])


def table_of(small, large, y):
    right, sure = {"small": small.argmax(axis=1) == y, "large": large.argmax(axis=1) == y}, confidence(small)
    print(f"{len(y)} samples; small {right['small'].mean():.4f}, large {right['large'].mean():.4f}")
    print("confidence below   asked of the cloud   accuracy together")
    for threshold in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        hard = sure < threshold
        together = np.where(hard, right["large"], right["small"]).mean()
        mark = "   <- service.yaml" if threshold == THRESHOLD else ""
        print(f"{threshold:16}   {hard.mean():18.4f}   {together:17.4f}{mark}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="train nothing")
    parser.add_argument("--choose", action="store_true", help="measure recipes on rows set aside from those to train on")
    options = parser.parse_args()
    if options.choose:
        return validate()
    known, held_out = digits()
    for name, how in MODELS.items() if not options.measure else ():
        folder = FOLDER / name
        folder.mkdir(parents=True, exist_ok=True)
        graph = infer_graph(how["dims"], float(SCALE)).SerializeToString(deterministic=True)
        (folder / "infer.onnx").write_bytes(graph)
        names = [weight for weight, _ in weight_shapes(how["dims"])]
        write_safetensors(folder / "weights.safetensors", zip(names, train(*known, **how)))
    if not options.measure:
        np.savez_compressed(FOLDER / "held-out.npz", x=held_out[0], y=held_out[1])
        three = held_out[0][np.flatnonzero(held_out[1] == 3)[0]].reshape(8, 8)
        write_png(FOLDER / "three.png", np.kron(three / SCALE * 255, np.ones((8, 8))).round().astype(np.uint8))
    measure(*held_out)


if __name__ == "__main__":
    main()

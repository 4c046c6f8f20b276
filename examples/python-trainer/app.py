"""A trainer in Python: what plugins/sgd-trainer does, with the same parameters.

Tensors are handles: weights go round the training loop without ever entering Python; only the loss does.
"""

import json
import struct

from wit_world import exports
from wit_world.imports import dataset, graph, job, model
from wit_world.imports.dataset import Batching, Split
from wit_world.imports.job import Metric, Verdict
from wit_world.imports.model import Update, Weights
from wit_world.imports.tensor import Tensor, TensorType


class Training(exports.Training):
    def train(self, round: int, start: Weights) -> Update:
        parameters = json.loads(job.parameters())
        epochs = parameters.get("epochs", 1)
        learning_rate = struct.pack("<f", parameters.get("learningRate", 0.1))
        context = graph.load_by_name("train").init_execution_context()
        weights = start.tensors()
        samples = dataset.size("train", Split.TRAIN)
        losses: list[float] = []
        for epoch in range(epochs):
            losses.clear()
            batching = Batching(parameters.get("batchSize", 32), round * epochs + epoch)
            batches = dataset.read("train", Split.TRAIN, batching)
            while (batch := batches.next()) is not None:
                lr = ("lr", Tensor([1], TensorType.FP32, learning_rate))
                outputs = context.compute([*batch, lr, *weights])
                weights = [(n.removesuffix(".next"), t) for n, t in outputs if n.endswith(".next")]
                losses += (struct.unpack("<f", t.data())[0] for n, t in outputs if n == "loss")
            if job.report(epoch + 1, epochs, [Metric("loss", sum(losses) / len(losses))]) == Verdict.STOP:
                break
        print(f"round {round}: loss {sum(losses) / len(losses):.4f}")
        return Update(model.Weights(weights), samples, [Metric("loss", sum(losses) / len(losses))])

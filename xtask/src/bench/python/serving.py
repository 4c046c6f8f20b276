#!/usr/bin/env python3
"""Joint inference the ordinary Python way: FastAPI, uvicorn and onnxruntime, and aiohttp between edge and cloud.

    serving.py FOLDER                                 # answers with the model in FOLDER: edge only, or the cloud
    serving.py FOLDER --cloud URL --threshold 0.7     # cascade: hard samples are asked of URL
    serving.py --cloud URL                            # always cloud

Prints the port on which it listens, on 127.0.0.1, once it does. Requests and answers are those of the Open Inference
Protocol in JSON, as far as these models need them: POST /v2/models/digits/infer.
"""

import argparse
import asyncio
import pathlib
import socket

import aiohttp
import numpy as np
import onnx
import onnxruntime
import uvicorn
from fastapi import FastAPI
from onnx import numpy_helper
from pydantic import BaseModel
from safetensors.numpy import load_file

PATH = "/v2/models/digits/infer"


class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Request(BaseModel):
    inputs: list[Tensor]


def session(folder):
    """The graph with its weights inside, so that onnxruntime folds and packs them once."""
    model = onnx.load(folder / "infer.onnx")
    weights = load_file(folder / "weights.safetensors")
    kept = [each for each in model.graph.input if each.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def tensor(name, array):
    return {"name": name, "shape": list(array.shape), "datatype": "FP32", "data": array.ravel().tolist()}


def confidence(p):
    """The miner `cross-entropy`: 1 + sum(p ln p) / ln n."""
    return 1 + np.where(p > 0, p * np.log(np.maximum(p, 1e-45)), 0).sum(axis=1) / np.log(p.shape[1])


def application(model, cloud, threshold):
    app, links = FastAPI(), []

    async def ask(x):
        if not links:
            links.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        async with links[0].post(cloud + PATH, json={"inputs": [tensor("x", x)]}) as response:
            response.raise_for_status()
            answer = (await response.json())["outputs"][0]
            return np.array(answer["data"], np.float32).reshape(answer["shape"])

    @app.post(PATH)
    async def infer(request: Request):
        x = np.array(request.inputs[0].data, np.float32).reshape(request.inputs[0].shape)
        if model is None:
            return {"model_name": "digits", "outputs": [tensor("probabilities", await ask(x))]}
        (p,) = model.run(["probabilities"], {"x": x})
        if cloud is not None:
            hard = confidence(p) < threshold
            if hard.any():
                p[hard] = await ask(x[hard])
        return {"model_name": "digits", "outputs": [tensor("probabilities", p)]}

    return app


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, nargs="?")
    parser.add_argument("--cloud")
    parser.add_argument("--threshold", type=float, default=0.7)
    options = parser.parse_args()
    if options.folder is None and options.cloud is None:
        parser.error("give a model's folder, --cloud, or both")
    model = session(options.folder) if options.folder else None
    app = application(model, options.cloud, options.threshold)
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    # What it accepts inherits this; without it, uvicorn's body waits for the client to acknowledge the head, 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.001)
    print(listener.getsockname()[1], flush=True)
    await serving


if __name__ == "__main__":
    asyncio.run(main())

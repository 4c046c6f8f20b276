"""Requests and answers of the Open Inference Protocol as bytes: JSON, then the tensors' elements, little-endian.

The binary tensor extension: `Inference-Header-Content-Length` says where the JSON ends, and each tensor's parameter
`binary_data_size` how many bytes are its own, in the JSON's order.
"""

import json
import math
from collections.abc import Mapping

import numpy as np

from .errors import ProtocolError

_NAMES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}
_DTYPES = {name: np.dtype(dtype).newbyteorder("<") for dtype, name in _NAMES.items()}


def encode(inputs: Mapping[str, np.ndarray], timeout: float) -> tuple[bytes, list[memoryview | bytes]]:
    """The JSON of a request and the elements of its tensors. After `timeout` seconds its answer is worth nothing.

    Raises TypeError for elements that the protocol has no name for.
    """
    described, elements = [], []
    for name, value in inputs.items():
        array = np.asarray(value)
        datatype = _NAMES.get(array.dtype.name)
        if datatype is None:
            raise TypeError(f"input {name!r}: arrays of {array.dtype} cannot be sent, only of {', '.join(_NAMES)}")
        array = np.asarray(array, dtype=_DTYPES[datatype], order="C")
        shape = list(array.shape)
        size = {"binary_data_size": array.nbytes}
        described.append({"name": name, "datatype": datatype, "shape": shape, "parameters": size})
        # A view of the array where it has bytes; an empty array has none to view.
        elements.append(array.reshape(-1).view(np.uint8).data if array.nbytes else b"")
    parameters = {"binary_data_output": True, "timeout": max(int(timeout * 1e6), 1)}
    request = {"inputs": described, "parameters": parameters}
    return json.dumps(request, separators=(",", ":")).encode(), elements


def decode(body: bytes, header_length: int | None) -> tuple[dict, dict[str, np.ndarray]]:
    """The JSON of an answer and its tensors. Arrays whose elements came as bytes are views of them: read-only."""
    end = len(body) if header_length is None else header_length
    if not 0 <= end <= len(body):
        raise ProtocolError(f"the answer's JSON is said to have {end} bytes, but all has {len(body)}")
    try:
        answer = json.loads(body[:end])
        described = answer["outputs"]
        tensors = [(o["name"], o["datatype"], tuple(o["shape"]), o) for o in described]
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f"the answer is not that of an inference: {error!r}") from error
    outputs = {}
    for name, datatype, shape, output in tensors:
        dtype = _DTYPES.get(datatype)
        if dtype is None:
            raise ProtocolError(f"output {name!r} has elements of {datatype!r}, which this client does not know")
        if not all(type(size) is int and size >= 0 for size in shape):
            raise ProtocolError(f"output {name!r} has the shape {shape}")
        size = (output.get("parameters") or {}).get("binary_data_size")
        try:
            if size is None:
                array = np.array(output["data"], dtype).reshape(shape)
            else:
                if size != math.prod(shape) * dtype.itemsize or end + size > len(body):
                    raise ValueError(f"{size} bytes at {end} of {len(body)}")
                array = np.frombuffer(body, dtype, math.prod(shape), end).reshape(shape)
                end += size
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise ProtocolError(f"output {name!r} is not {datatype} of shape {shape}: {error}") from error
        outputs[name] = array
    return answer, outputs

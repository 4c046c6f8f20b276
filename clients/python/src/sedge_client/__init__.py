"""Ask Sedge's inference services: numpy arrays in, numpy arrays out, and who answered."""

from .client import Client, Result, Versions
from .errors import (
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    NotFound,
    Overloaded,
    ProtocolError,
    SedgeError,
    Unavailable,
    Unreachable,
)

__all__ = [
    "Client",
    "DeadlineExceeded",
    "InternalError",
    "InvalidRequest",
    "NotFound",
    "Overloaded",
    "ProtocolError",
    "Result",
    "SedgeError",
    "Unavailable",
    "Unreachable",
    "Versions",
]

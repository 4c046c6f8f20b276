"""Calls of one node's services, over connections that stay open."""

import http.client
import json
import socket
import threading
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from . import tensors
from .errors import DeadlineExceeded, ProtocolError, Unreachable, by_status


@dataclass(frozen=True)
class Versions:
    """What the service that was asked is made of: digests, None where the answer does not say."""

    plugin: str | None
    model: str | None


@dataclass(frozen=True)
class Result:
    """An answer."""

    outputs: dict[str, np.ndarray]
    """Arrays by name. They are read-only: copy one to change it."""
    answered_by: str | None
    """`edge`, `cloud`, `edge-after-timeout` or `edge-without-cloud`; None if the server is not Sedge."""
    hard: bool
    """Whether any sample was hard."""
    hard_samples: list[int]
    """Which: indices along the first dimension."""
    versions: Versions


class Client:
    """The services of the node at `url`, e.g. `http://127.0.0.1:7501`. Threads may share it.

    `connections` are kept open at most; more are opened where more threads call at once. `timeout` is that of calls
    which name none, in seconds. `largest_answer` bounds what is read, in bytes.
    """

    def __init__(self, url: str, *, timeout: float = 10.0, connections: int = 8, largest_answer: int = 256 << 20):
        parts = urllib.parse.urlsplit(url if "//" in url else f"//{url}", scheme="http")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not an address such as http://127.0.0.1:7501")
        self._url, self._timeout = url, timeout
        self._connections, self._largest = connections, largest_answer
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port, self._base = parts.hostname, parts.port, parts.path.rstrip("/")
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that no call uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def infer(self, service: str, inputs: Mapping[str, np.ndarray], *, timeout: float | None = None) -> Result:
        """Have `service` answer `inputs`; the first dimension of each array counts samples.

        `timeout` in seconds bounds the whole call. Raises a `SedgeError`; TypeError for arrays that cannot be sent.
        """
        timeout = self._timeout if timeout is None else timeout
        if not timeout > 0:
            raise ValueError(f"a timeout of {timeout} seconds leaves no time")
        head, elements = tensors.encode(inputs, timeout)
        headers = {
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(head)),
            "Content-Length": str(len(head) + sum(map(len, elements))),
        }
        # One piece: a small request is one packet.
        body = b"".join([head, *elements])
        path = f"{self._base}/v2/models/{urllib.parse.quote(service, safe='')}/infer"
        status, length, answer = self._call("POST", path, body, headers, timeout)
        if status != 200:
            raise by_status(status)(_message(answer, status))
        described, outputs = tensors.decode(answer, length)
        parameters = described.get("parameters") or {}
        named = str(parameters.get("hard_samples") or "").split(",")
        hard = [int(sample) for sample in named if sample.strip().isdigit()]
        return Result(
            outputs=outputs,
            answered_by=parameters.get("answered_by"),
            hard=bool(parameters.get("hard", hard)),
            hard_samples=hard,
            versions=Versions(plugin=parameters.get("plugin"), model=parameters.get("model")),
        )

    def ready(self, service: str, *, timeout: float | None = None) -> bool:
        """Whether `service` would answer now."""
        path = f"{self._base}/v2/models/{urllib.parse.quote(service, safe='')}/ready"
        status, _, _ = self._call("GET", path, None, {}, self._timeout if timeout is None else timeout)
        return status == 200

    def _call(self, method: str, path: str, body: bytes | None, headers: dict, timeout: float):
        until = time.monotonic() + timeout
        while True:
            connection, used = self._take()
            try:
                _set_timeout(connection, until)
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                answer = self._read(connection, response, until)
            except TimeoutError as error:
                connection.close()
                message = f"{self._url} did not answer within {timeout:g} s"
                raise DeadlineExceeded(message) from error
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
                connection.close()
                # The node may close a connection that was idle; one that was just opened, it did not. To ask twice
                # changes nothing.
                if used and time.monotonic() < until:
                    continue
                raise Unreachable(f"{self._url} closed the connection: {error}") from error
            except OSError as error:
                connection.close()
                raise Unreachable(f"{self._url} cannot be reached: {error}") from error
            except http.client.HTTPException as error:
                connection.close()
                raise ProtocolError(f"{self._url} does not speak HTTP as expected: {error!r}") from error
            except BaseException:
                connection.close()
                raise
            length = response.getheader("Inference-Header-Content-Length")
            if response.will_close:
                connection.close()
            else:
                self._give_back(connection)
            if length is not None and not length.isdigit():
                raise ProtocolError(f"Inference-Header-Content-Length is {length!r}")
            return response.status, None if length is None else int(length), answer

    def _read(self, connection, response, until: float) -> bytes:
        if response.length is not None and response.length > self._largest:
            raise ProtocolError(f"an answer of {response.length} bytes is beyond {self._largest}")
        pieces, size = [], 0
        while True:
            _set_timeout(connection, until)
            piece = response.read(1 << 20)
            if not piece:
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.append(piece)
            size += len(piece)
            if size > self._largest:
                raise ProtocolError(f"an answer of more than {self._largest} bytes")

    def _take(self) -> tuple[http.client.HTTPConnection, bool]:
        with self._lock:
            if self._idle:
                return self._idle.pop(), True
        return self._kind(self._host, self._port), False

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if len(self._idle) < self._connections:
                self._idle.append(connection)
                return
        connection.close()


def _set_timeout(connection: http.client.HTTPConnection, until: float) -> None:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.timeout = left
    if connection.sock is not None:
        connection.sock.settimeout(left)
    else:
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _message(answer: bytes, status: int) -> str:
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return f"status {status}: {answer[:200].decode(errors='replace')}"

"""The client against a server of the test's own that keeps what it was sent, byte for byte."""

import http.server
import json
import socket
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from sedge_client import (
    Client,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    Overloaded,
    ProtocolError,
    Unreachable,
)


class Server:
    """Answers each request as `answer(path, headers, body)` says: (status, headers, body)."""

    def __init__(self, answer):
        self.requests, self.connections, self.closing = [], 0, False
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                server.connections += 1
                super().setup()

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                server.requests.append((self.path, dict(self.headers), body))
                status, headers, content = answer(self.path, self.headers, body)
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(content))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
                # As a server that closes what is idle, without saying so before.
                self.close_connection = server.closing

            do_GET = do_POST

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http.server_port}"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


def answering(outputs, content=b"", parameters=None, status=200):
    head = json.dumps({"model_name": "digits", "outputs": outputs, "parameters": parameters or {}}).encode()
    return lambda *_: (status, {"Inference-Header-Content-Length": str(len(head))}, head + content)


def output(name, array):
    size = {"binary_data_size": array.nbytes}
    return {"name": name, "datatype": "FP32", "shape": list(array.shape), "parameters": size}


P = np.array([[0.25, 0.75], [0.5, 0.5]], "<f4")
X = np.arange(4, dtype=np.float32).reshape(2, 2)


class Calls(unittest.TestCase):
    def test_a_request_is_json_and_then_the_elements(self):
        with Server(answering([output("p", P)], P.tobytes())) as server, Client(server.url) as client:
            client.infer("digits", {"x": X, "sr": np.array(16000, ">i8")}, timeout=1.5)
            ((path, headers, body),) = server.requests
        self.assertEqual(path, "/v2/models/digits/infer")
        end = int(headers["Inference-Header-Content-Length"])
        self.assertEqual(
            json.loads(body[:end]),
            {
                "inputs": [
                    {"name": "x", "datatype": "FP32", "shape": [2, 2], "parameters": {"binary_data_size": 16}},
                    {"name": "sr", "datatype": "INT64", "shape": [], "parameters": {"binary_data_size": 8}},
                ],
                "parameters": {"binary_data_output": True, "timeout": 1_500_000},
            },
        )
        self.assertEqual(body[end:], X.astype("<f4").tobytes() + (16000).to_bytes(8, "little"))

    def test_elements_are_sent_in_row_order_whatever_the_array_is(self):
        with Server(answering([])) as server, Client(server.url) as client:
            client.infer("digits", {"x": X.T, "none": np.zeros((0, 3), np.uint8)})
            ((_, headers, body),) = server.requests
        end = int(headers["Inference-Header-Content-Length"])
        self.assertEqual(body[end:], np.array([0, 2, 1, 3], "<f4").tobytes())

    def test_an_answer_says_who_gave_it_and_what_was_hard(self):
        told = {"answered_by": "cloud", "hard": True, "hard_samples": "0,1", "plugin": "sha256:a", "model": "sha256:b"}
        with Server(answering([output("p", P)], P.tobytes(), told)) as server, Client(server.url) as client:
            result = client.infer("digits", {"x": X})
        np.testing.assert_array_equal(result.outputs["p"], P)
        self.assertEqual((result.answered_by, result.hard, result.hard_samples), ("cloud", True, [0, 1]))
        self.assertEqual((result.versions.plugin, result.versions.model), ("sha256:a", "sha256:b"))

    def test_a_server_may_answer_in_json_alone(self):
        listed = [{"name": "p", "datatype": "FP32", "shape": [2, 2], "data": P.ravel().tolist()}]
        body = json.dumps({"outputs": listed}).encode()
        with Server(lambda *_: (200, {}, body)) as server, Client(server.url) as client:
            result = client.infer("digits", {"x": X})
        np.testing.assert_array_equal(result.outputs["p"], P)
        self.assertEqual((result.answered_by, result.hard, result.hard_samples), (None, False, []))

    def test_one_connection_serves_call_after_call_and_threads_share_a_client(self):
        with Server(answering([output("p", P)], P.tobytes())) as server, Client(server.url) as client:
            for _ in range(20):
                client.infer("digits", {"x": X})
            self.assertEqual(server.connections, 1)
            with ThreadPoolExecutor(8) as threads:
                results = list(threads.map(lambda _: client.infer("digits", {"x": X}), range(64)))
            self.assertEqual(len(server.requests), 84)
        self.assertTrue(all((result.outputs["p"] == P).all() for result in results))

    def test_a_connection_that_the_server_closed_while_idle_is_opened_again(self):
        with Server(answering([output("p", P)], P.tobytes())) as server, Client(server.url) as client:
            server.closing = True
            for _ in range(3):
                client.infer("digits", {"x": X})
            self.assertEqual(server.connections, 3)


class Failures(unittest.TestCase):
    def refusal(self, status, kind):
        said = json.dumps({"error": "because"}).encode()
        with Server(lambda *_: (status, {}, said)) as server, Client(server.url) as client:
            with self.assertRaisesRegex(kind, "because"):
                client.infer("digits", {"x": X})

    def test_what_the_server_refuses_is_an_error_of_its_kind(self):
        for status, kind in ((400, InvalidRequest), (404, NotFound), (429, Overloaded), (504, DeadlineExceeded)):
            with self.subTest(status=status):
                self.refusal(status, kind)

    def test_nobody_there_is_unreachable(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # Bound and not listening: connections are refused.
            with Client(f"http://127.0.0.1:{taken.getsockname()[1]}") as client:
                self.assertRaises(Unreachable, client.infer, "digits", {"x": X})

    def test_a_server_that_is_silent_costs_the_timeout(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            with Client(f"http://127.0.0.1:{silent.getsockname()[1]}") as client:
                self.assertRaises(DeadlineExceeded, client.infer, "digits", {"x": X}, timeout=0.05)

    def test_answers_that_are_wrong_are_refused(self):
        short, strange = output("p", P), output("p", P) | {"datatype": "FP8"}
        lying = output("p", P) | {"shape": [2, 3]}
        for outputs, content in (([short], P.tobytes()[:-1]), ([strange], P.tobytes()), ([lying], P.tobytes())):
            with Server(answering(outputs, content)) as server, Client(server.url) as client:
                self.assertRaises(ProtocolError, client.infer, "digits", {"x": X})

    def test_an_answer_beyond_the_bound_is_not_read(self):
        with Server(answering([output("p", P)], P.tobytes())) as server:
            with Client(server.url, largest_answer=16) as client:
                self.assertRaisesRegex(ProtocolError, "beyond 16", client.infer, "digits", {"x": X})

    def test_arrays_that_cannot_be_sent_are_named(self):
        with Client("http://127.0.0.1:1") as client:
            with self.assertRaisesRegex(TypeError, "'x': arrays of complex128"):
                client.infer("digits", {"x": np.zeros(1, complex)})
        self.assertRaises(ValueError, Client, "ftp://127.0.0.1")


if __name__ == "__main__":
    unittest.main()

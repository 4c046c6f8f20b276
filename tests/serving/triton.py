"""NVIDIA's client for Triton, unchanged, against a node: python triton.py HOST:PORT SERVICE [INPUT WIDTH].

Packages: tritonclient[http,grpc], numpy. The service takes FP32 INPUT (default x) of [samples, WIDTH] (default 2).
"""

import sys

import numpy as np
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http


def check(module, client, service, name, width, **options):
    """Ask the same twice, all outputs and the first one by name, and see that the answers agree."""
    samples = np.linspace(-1, 1, 3 * width, dtype=np.float32).reshape(3, width)
    tensor = module.InferInput(name, list(samples.shape), "FP32")
    tensor.set_data_from_numpy(samples, **options)
    answer = client.infer(service, [tensor], request_id="seven")
    response = answer.get_response()
    if not isinstance(response, dict):
        identity, output = response.id, response.outputs[0].name
        answered_by = response.parameters["answered_by"].string_param
    else:
        identity, output = response["id"], response["outputs"][0]["name"]
        answered_by = response["parameters"]["answered_by"]
    assert identity == "seven" and answered_by, response
    asked = module.InferRequestedOutput(output, **({"binary_data": False} if options else {}))
    again = client.infer(service, [tensor], outputs=[asked], timeout=20_000_000)
    np.testing.assert_array_equal(answer.as_numpy(output), again.as_numpy(output))
    if service == "plus-one":
        np.testing.assert_array_equal(answer.as_numpy(output), samples + 1)
    refused(module, lambda: client.infer("no-such-service", [tensor]), "no-such-service")
    if service == "plus-one":
        return
    misshapen = module.InferInput(name, [1, width + 1], "FP32")
    misshapen.set_data_from_numpy(np.zeros((1, width + 1), np.float32), **options)
    mistyped = module.InferInput(name, [1, width], "INT64")
    mistyped.set_data_from_numpy(np.zeros((1, width), np.int64), **options)
    misnamed = module.InferInput("other", list(samples.shape), "FP32")
    misnamed.set_data_from_numpy(samples, **options)
    for wrong, word in ((misshapen, str(width + 1)), (mistyped, "i64"), (misnamed, "other")):
        refused(module, lambda: client.infer(service, [wrong]), word)


def refused(module, ask, word):
    try:
        ask()
    except module.InferenceServerException as error:
        assert word in error.message(), error
    else:
        raise AssertionError(f"{word}: what is wrong was answered")


def main():
    address, service = sys.argv[1].removeprefix("http://"), sys.argv[2]
    name, width = (sys.argv[3], int(sys.argv[4])) if len(sys.argv) > 4 else ("x", 2)
    for module, ways in (
        (over_http, [{"binary_data": True}, {"binary_data": False}]),
        (over_grpc, [{}]),
    ):
        client = module.InferenceServerClient(address)
        assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(service)
        node, model = client.get_server_metadata(), client.get_model_metadata(service)
        read = (lambda of, what: of[what]) if isinstance(node, dict) else getattr
        assert read(node, "name") == "sedge" and read(model, "name") == service
        for way in ways:
            check(module, client, service, name, width, **way)
            print(f"{module.__name__} {way or ''}: ok")
        client.close()


main()

#!/usr/bin/env python3
"""Ask the service `magika` what files are: identify.py URL FILE...

Names of kinds are those of `config.json` beside the model, where `cargo xtask setup --model magika` puts it; SEDGE_MAGIKA names
another folder. Needs numpy and the client (`pip install ./clients/python`).
"""

import json
import os
import pathlib
import sys

import numpy as np
from sedge_client import Client, SedgeError

DATA = os.environ.get("XDG_DATA_HOME") or pathlib.Path.home() / ".local/share"
FOLDER = pathlib.Path(os.environ.get("SEDGE_MAGIKA") or pathlib.Path(DATA, "sedge/models/magika"))


def features(path, config):
    """The file's beginning and end without the white space around them, as Magika's own programs take them."""
    content = pathlib.Path(path).read_bytes()
    begin = content[: config["block_size"]].lstrip()[: config["beg_size"]]
    end = content[-config["block_size"] :].rstrip()[-config["end_size"] :]
    taken = np.full(config["beg_size"] + config["end_size"], config["padding_token"], np.int32)
    taken[: len(begin)] = list(begin)
    taken[len(taken) - len(end) :] = list(end)
    return taken


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__.splitlines()[0])
    config = json.loads((FOLDER / "config.json").read_text())
    with Client(sys.argv[1]) as client:
        for path in sys.argv[2:]:
            try:
                result = client.infer("magika", {"bytes": features(path, config)[None]}, timeout=10)
            except SedgeError as error:
                sys.exit(f"{type(error).__name__}: {error}")
            scores = result.outputs["target_label"][0]
            unsure = ", and unsure" if result.hard else ""
            print(f"{path}: {config['target_labels_space'][scores.argmax()]} {scores.max():.2f}{unsure}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Put the ONNX files that packages ship into a folder: models.py FOLDER. pip checks each package's digest.

Prints one line for each model that is not to be had, and why; the others are there then.
"""

import pathlib
import subprocess
import sys
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
MEMBERS = {
    "silero_vad.onnx": "silero_vad/data/silero_vad.onnx",
    "magika.onnx": "magika/models/standard_v3_3/model.onnx",
}
# The same file on every machine: what is taken out of it runs on all.
WHEEL = ["--only-binary=:all:", "--platform", "manylinux_2_28_x86_64", "--python-version", "3.11", "--no-deps"]


def fetch(name, requirement, folder):
    with tempfile.TemporaryDirectory() as temporary:
        pinned = pathlib.Path(temporary, "requirement.txt")
        pinned.write_text(requirement)
        pip = [sys.executable, "-m", "pip", "--quiet", "download", "--require-hashes", "-r", pinned, "-d", temporary]
        subprocess.run([*pip, *WHEEL], check=True, capture_output=True, text=True)
        (wheel,) = pathlib.Path(temporary).glob("*.whl")
        content = zipfile.ZipFile(wheel).read(MEMBERS[name])
    partial = folder / f"{name}.partial"
    partial.write_bytes(content)
    partial.rename(folder / name)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    lines = [line for line in (HERE / "models.txt").read_text().splitlines() if line and not line.startswith("#")]
    for name, requirement in zip(MEMBERS, lines, strict=True):
        if (folder / name).is_file():
            continue
        try:
            fetch(name, requirement, folder)
        except subprocess.CalledProcessError as error:
            print(f"{name}: {(error.stderr.strip().splitlines() or ['pip failed'])[-1]}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""How fast pandas, pyarrow and Pillow make arrays of the files that host/data/benches/read.rs writes; one core.

    data.py FOLDER

Prints a JSON array of figures under the names that the bench gives its cases. Each is the fastest of the ways that these
packages offer for it: float32 features, row by row as models take them, and int64 labels. Bytes that are copied are counted
as the bench counts them: out of the file, and from one array into another; what is parsed or decoded is no copy.
"""

import json
import os
import pathlib
import sys
import time

TURNS, AT_LEAST = 5, 2.0
CORE = min(os.sched_getaffinity(0))
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def csv_float32(path):
    """Told what the columns are."""
    import numpy as np
    import pandas as pd

    with open(path) as file:
        names = file.readline().strip().split(",")
    types = {name: np.float32 for name in names[:-1]} | {names[-1]: np.int64}
    table = pd.read_csv(path, engine="c", dtype=types)
    x = table.iloc[:, :-1].to_numpy(dtype=np.float32)
    x, y = np.ascontiguousarray(x), table.iloc[:, -1].to_numpy()
    return len(y), path.stat().st_size + x.nbytes, (x, y)


def csv_default(path):
    """As it comes, and converted after."""
    import numpy as np
    import pandas as pd

    table = pd.read_csv(path, engine="c")
    x = np.ascontiguousarray(table.iloc[:, :-1].to_numpy(dtype=np.float32))
    y = table.iloc[:, -1].to_numpy()
    return len(y), path.stat().st_size + x.nbytes, (x, y)


def parquet_columns(path):
    """Column by column into an array that is there."""
    import numpy as np
    import pyarrow.parquet as pq

    table = pq.read_table(path, use_threads=False)
    x = np.empty((table.num_rows, table.num_columns - 1), dtype=np.float32)
    for place in range(table.num_columns - 1):
        x[:, place] = table.column(place).to_numpy()
    y = table.column(table.num_columns - 1).to_numpy()
    return len(y), path.stat().st_size + 2 * x.nbytes, (x, y)


def parquet_batches(path):
    """As above, in batches that stay in the processor's cache."""
    import numpy as np
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    rows, width = file.metadata.num_rows, file.metadata.num_columns
    x, y = np.empty((rows, width - 1), dtype=np.float32), np.empty(rows, dtype=np.int64)
    at = 0
    for batch in file.iter_batches(batch_size=16384, use_threads=False):
        to = at + batch.num_rows
        for place in range(width - 1):
            x[at:to, place] = batch.column(place).to_numpy()
        y[at:to] = batch.column(width - 1).to_numpy()
        at = to
    return rows, path.stat().st_size + x.nbytes + y.nbytes, (x, y)


def images(folder):
    import numpy as np
    from PIL import Image

    mean, std = np.array(MEAN, dtype=np.float32), np.array(STD, dtype=np.float32)
    names = sorted(path for path in folder.rglob("*") if path.is_file())
    x = np.empty((len(names), 3, 64, 64), dtype=np.float32)
    y = np.empty(len(names), dtype=np.int64)
    classes, copied = {}, 0
    for place, name in enumerate(names):
        image = Image.open(name).convert("RGB").resize((64, 64), Image.Resampling.BILINEAR)
        x[place] = ((np.asarray(image, dtype=np.float32) / 255 - mean) / std).transpose(2, 0, 1)
        y[place] = classes.setdefault(name.parent.name, len(classes))
        copied += name.stat().st_size
    return len(names), copied + 2 * x.nbytes, (x, y)


CASES = [
    ("CSV, 20 numbers and a label a row", "table.csv", "pandas' C engine", [csv_float32, csv_default]),
    ("CSV, 64 digits and a label a row", "digits.csv", "pandas' C engine", [csv_float32, csv_default]),
    ("Parquet, 20 numbers and a label a row", "table.parquet", "pyarrow", [parquet_columns, parquet_batches]),
    ("JPEG, 320 × 240 to 64 × 64", "jpeg", "Pillow and NumPy", [images]),
    ("PNG, 320 × 240 to 64 × 64", "png", "Pillow and NumPy", [images]),
]


def measure(read, path):
    rates, start = [], time.perf_counter()
    while len(rates) < TURNS or time.perf_counter() - start < AT_LEAST:
        turn = time.perf_counter()
        rows, copied, arrays = read(path)
        rates.append(rows / (time.perf_counter() - turn))
        del arrays
    rates.sort()
    return {"rows_per_second": rates[len(rates) // 2], "best": rates[-1], "copied_bytes": copied // rows}


def main():
    folder = pathlib.Path(sys.argv[1])
    os.sched_setaffinity(0, {CORE})
    figures = []
    for case, file, way, reads in CASES:
        if len(sys.argv) > 2 and sys.argv[2] not in file:
            continue
        try:
            import pyarrow

            pyarrow.set_cpu_count(1)
            best = max((measure(read, folder / file) for read in reads), key=lambda figure: figure["best"])
            figures.append({"case": case, "way": way} | best)
        except ImportError as error:
            figures.append({"case": case, "way": way, "absent": str(error)})
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

"""The files that static scenarios ask for: ``python -m bench.files FOLDER`` writes them."""

import os
import random
import sys
from collections.abc import Iterable
from pathlib import Path

SIZES = {"13b.txt": 13, "10k.txt": 10 * 1024, "1m.bin": 1024**2, "100m.bin": 100 * 1024**2}

# Below the folder and in the target alike: granian needs a prefix, and so all are asked for the same.
PREFIX = "static"


def content(name: str) -> bytes:
    """Return the content of a file: text without a pattern, the same at each run."""
    size = SIZES[name]
    return random.Random(name).randbytes(size // 2 + 1).hex()[:size].encode()


def write_files(folder: Path, names: Iterable[str] = tuple(SIZES)) -> None:
    """Write the files below ``folder``, down to the disk: to write them back later would disturb a figure."""
    (folder / PREFIX).mkdir(parents=True, exist_ok=True)
    for name in names:
        with open(folder / PREFIX / name, "wb") as file:
            file.write(content(name))
            file.flush()
            os.fsync(file.fileno())


if __name__ == "__main__":
    write_files(Path(sys.argv[1]))

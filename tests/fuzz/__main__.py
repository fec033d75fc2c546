"""Run the fuzz targets: ``python -m tests.fuzz --seconds 600 parser``.

With atheris, if it is there, else with hypothesis. The exit status is 1 if something was found; then the input is
shown, made smaller, for a row in tests/test_fuzz.py.
"""

import argparse
import subprocess
import sys
import traceback
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from tests.fuzz.seeds import words
from tests.fuzz.targets import TARGETS, Target
from tests.fuzz.unguided import run_for

ROOT = Path(__file__).parent.parent.parent
MOST_SECONDS = 30  # that one input may take; hundreds of times what the slowest takes
PATIENCE = 240  # seconds that atheris has to begin and to end
LONGEST = 4096  # bytes of an input


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    arguments.add_argument("target", nargs="*", help=f"of {', '.join(TARGETS)}; all if none is given")
    arguments.add_argument("--seconds", type=int, default=12, help="for each target")
    arguments.add_argument(
        "--keep", type=Path, help="a folder for what atheris learns, to go on with another time"
    )
    chosen = arguments.parse_args()
    for name in chosen.target or TARGETS:
        if not (_guided if find_spec("atheris") else _unguided)(name, chosen.seconds, chosen.keep):
            return 1
    return 0


def _unguided(name: str, seconds: int, keep: Path | None) -> bool:
    print(f"{name}: {run_for(TARGETS[name], seconds)} inputs, chosen blindly")
    return True


def _guided(name: str, seconds: int, keep: Path | None) -> bool:
    target = TARGETS[name]
    with TemporaryDirectory(prefix="aiowsgi-fuzz-") as temporary:
        folder = Path(temporary)
        (folder / "found").mkdir()
        (folder / "seeds").mkdir()
        learned = keep / name if keep is not None else folder / "learned"
        learned.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(target.seeds()):
            (folder / "seeds" / str(number)).write_bytes(seed)
        lines = ['"{}"'.format("".join(f"\\x{byte:02x}" for byte in word)) for word in words(target.steps)]
        (folder / "words").write_text("\n".join(lines))
        options = [
            f"-max_total_time={seconds}",
            f"-timeout={MOST_SECONDS}",
            f"-max_len={LONGEST}",
            f"-dict={folder / 'words'}",
            f"-artifact_prefix={folder / 'found'}/",
        ]
        command = [
            sys.executable,
            "-m",
            "tests.fuzz.guided",
            name,
            *options,
            str(learned),
            str(folder / "seeds"),
        ]
        done = subprocess.run(
            command,
            cwd=ROOT,
            timeout=seconds + PATIENCE,
            stderr=subprocess.STDOUT,
            stdout=subprocess.PIPE,
            text=True,
        )
        last = done.stdout.splitlines()[-40:]
        found = [path.read_bytes() for path in (folder / "found").iterdir()]
    if done.returncode == 0:
        print(f"{name}: {last[-1]}")
        return True
    print(*last, sep="\n")
    for data in found:
        _show(target, data)
    return False


def _show(target: Target, data: bytes) -> None:
    kind = _failure(target, data)
    print(f"the input: {data!r}")
    if kind is not None:
        print(f"made smaller: {_smaller(target, data, kind)!r}")


def _failure(target: Target, data: bytes) -> str | None:
    """Return where and how the target fails."""
    try:
        target.check(data)
    except Exception as error:  # noqa: BLE001 - whatever it is, it was found
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} {place.filename} {place.lineno}"
    return None


def _smaller(target: Target, data: bytes, kind: str) -> bytes:
    """Leave out of ``data`` what the same failure does not need."""
    end = monotonic() + PATIENCE
    size = len(data) // 2
    while size and monotonic() < end:
        at = 2
        while at < len(data):
            shorter = data[:at] + data[at + size :]
            if _failure(target, shorter) == kind:
                data = shorter
            else:
                at += size
        size //= 2
    return data


if __name__ == "__main__":
    sys.exit(main())

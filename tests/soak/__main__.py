"""Run a soak: ``python -m tests.soak --minutes 10``. The exit status is 1 if something is wrong, or left."""

import argparse
import sys

from tests.soak.run import soak

MOST_GROWTH = 1.05  # memory at the end, to that behind the first minute


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    arguments.add_argument("--minutes", type=float, default=10)
    arguments.add_argument("--clients", type=int, default=24)
    chosen = arguments.parse_args()
    seconds = chosen.minutes * 60
    first = min(60.0, seconds / 2)
    report = soak(seconds, chosen.clients, first)
    print(
        f"{report.visits.total()} visits: {dict(sorted(report.visits.items()))}; {report.died} more died on their way"
    )
    for minute in range(int(seconds // 60)):
        print(f"minute {minute + 1}: {report.loaded(minute * 60, minute * 60 + 60):.0f} KiB")
    growth = report.rests[-1] / report.rests[0]
    print(
        f"at rest: {report.rests[0]} KiB after {first:.0f} s, {report.rests[-1]} KiB at the end, {growth:.3f} times"
    )
    print(f"wrong: {report.wrong[:20] or 'nothing'}")
    print(f"left: {report.left or 'nothing'}")
    return 1 if report.wrong or report.left or growth > MOST_GROWTH else 0


if __name__ == "__main__":
    sys.exit(main())

"""The targets by their names, and what each begins with."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tests.fuzz import connection, parser
from tests.fuzz.script import Step
from tests.fuzz.seeds import seeds


class Target(NamedTuple):
    check: Callable[[bytes], None]
    settings: int  # how many the first byte of an input chooses from
    steps: Sequence[Step]

    def seeds(self) -> Iterator[bytes]:
        return seeds(self.steps, self.settings)


TARGETS = {
    "parser": Target(parser.check, len(parser.SETTINGS), parser.STEPS),
    "connection": Target(connection.check, len(connection.SETTINGS), connection.STEPS),
}

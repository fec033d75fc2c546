"""A target under hypothesis: changed seeds, chosen blindly, where there is no atheris."""

from time import monotonic

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.seeds import words
from tests.fuzz.targets import Target


@st.composite
def _changed(draw: st.DrawFn, target: Target) -> bytes:
    data = draw(st.sampled_from(list(target.seeds())))
    if draw(st.booleans()):
        data += draw(st.sampled_from(list(target.seeds())))[2:]
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        end = draw(st.one_of(st.just(at), st.integers(at, min(len(data), at + 40))))
        data = (
            data[:at]
            + draw(st.one_of(st.sampled_from(words(target.steps)), st.binary(max_size=2)))
            + data[end:]
        )
    return data


def run(target: Target, count: int) -> None:
    """Check ``count`` inputs. Raises what the target raises, with the smallest input found that makes it."""

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(_changed(target))
    def check(data: bytes) -> None:
        target.check(data)

    check()


def run_for(target: Target, seconds: float) -> int:
    """Check inputs for so long; return how many."""
    end, count = monotonic() + seconds, 0
    while monotonic() < end:
        run(target, 200)
        count += 200
    return count

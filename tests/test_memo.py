"""What a memo remembers, what it does not, and how much at most."""

from threading import Barrier, Thread

import pytest

from aiowsgi.http.memo import Memo


class Doubles(Memo[int, str]):
    """Doubles numbers, notes each time it has to, refuses negative ones and remembers no odd ones."""

    def __init__(self, size: int = 8) -> None:
        super().__init__(size)
        self.computed: list[int] = []

    def __missing__(self, key: int) -> str:
        self.computed.append(key)
        if key < 0:
            raise ValueError(f"{key} is negative")
        if key % 2 == 0:
            self.remember(key, str(2 * key))
        return str(2 * key)


def test_a_key_is_remembered_from_its_second_sighting_on() -> None:
    memo = Doubles()
    assert [memo[2], memo[2], memo[2], memo[2]] == ["4"] * 4
    assert memo.computed == [2, 2]


def test_a_key_that_is_seen_once_takes_no_place() -> None:
    memo = Doubles()
    for key in range(2, 1000, 2):
        assert memo[key] == str(2 * key)
    assert len(memo) == 0


def test_another_key_in_between_does_not_hide_the_first_sighting() -> None:
    memo = Doubles()
    for key in (2, 4, 6, 2, 4, 6, 2, 4, 6):
        assert memo[key] == str(2 * key)
    assert memo.computed == [2, 4, 6, 2, 4, 6]


def test_a_key_that_shares_its_place_is_only_remembered_later() -> None:
    # The hash of a small number is the number, and there are 4 * 8 places.
    memo = Doubles()
    for key in (2, 2 + 32, 2, 2 + 32):
        assert memo[key] == str(2 * key)
    assert len(memo) == 0
    assert [memo[34], memo[34]] == ["68", "68"]
    assert list(memo) == [34]


def test_what_must_not_be_kept_is_not_kept() -> None:
    memo = Doubles()
    assert [memo[3], memo[3], memo[3]] == ["6"] * 3
    assert memo.computed == [3, 3, 3]
    assert len(memo) == 0


def test_a_full_memo_starts_anew() -> None:
    memo = Doubles()
    for key in range(2, 18, 2):
        assert memo[key] == memo[key]
    assert len(memo) == 8
    assert memo[18] == memo[18] == "36"
    assert list(memo) == [18]
    assert memo[2] == memo[2] == "4"


def test_it_never_holds_more_than_its_size() -> None:
    memo = Doubles()
    for key in range(2, 1000, 2):
        assert memo[key] == memo[key]
        assert 0 < len(memo) <= 8


def test_an_exception_is_raised_each_time_and_nothing_remembered() -> None:
    memo = Doubles()
    for _ in range(3):
        with pytest.raises(ValueError, match="-1 is negative"):
            memo[-1]
    assert memo.computed == [-1, -1, -1]
    assert len(memo) == 0


def test_a_key_that_cannot_be_one_is_no_business_of_compute() -> None:
    memo = Doubles()
    with pytest.raises(TypeError):
        memo[[2]]  # type: ignore[index]
    assert memo.computed == []


def test_threads_may_share_it() -> None:
    memo = Doubles(size=16)
    threads_count, rounds = 4, 3000
    begin = Barrier(threads_count)
    wrong: list[object] = []

    def hammer(step: int) -> None:
        begin.wait()
        for number in range(rounds):
            key = 2 * (number * step % 40)
            value = memo[key]
            if value != str(2 * key) or len(memo) > 16 + threads_count:
                wrong.append((key, value, len(memo)))

    threads = [Thread(target=hammer, args=(step,)) for step in (1, 3, 7, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert all(memo[key] == str(2 * key) for key in range(0, 80, 2))

"""A user who is not root, whoever runs the tests."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

NOBODY = 65534


@contextmanager
def another_user(user: int = NOBODY) -> Iterator[None]:
    """Have this process be somebody else than root, who may do what everybody may, where it is root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)

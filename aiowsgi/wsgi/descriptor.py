"""A file's descriptor that several hold, on the event loop and in threads."""

import os


class Descriptor:
    """It closes when the last who holds it lets go: nobody has to know that he is the last."""

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        """``number`` is an open descriptor, which is this object's own from now on."""
        self._number = number

    def fileno(self) -> int:
        return self._number

    def __del__(self) -> None:
        if hasattr(self, "_number"):  # a subclass may have found nothing to open
            os.close(self._number)

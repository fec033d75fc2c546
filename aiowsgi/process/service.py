"""What a supervisor asks of the server that its processes are."""

from typing import Protocol

from aiowsgi.process.child import Report, Work
from aiowsgi.process.places import Places


class Service(Protocol):
    """What the processes are there for."""

    helper: Work | None  # what one more process does, beside the workers
    preloads: bool  # whether ``work`` is that of a preloader, one for all workers

    @property
    def obeys(self) -> bool:
        """Whether another process decides on the end of this one: it asks this one to stop, and kills it."""

    def work(self, report: Report, life: int | None) -> None:
        """Be a worker; see ``Work``."""

    def started(self) -> None:
        """All workers are ready, for the first time."""

    def failed(self, words: str) -> None:
        """One of the first workers could not start, for which ``words`` say the reason, and all will stop."""

    def reload(self) -> str:
        """Read anew what further workers will need; return why that is impossible, or nothing."""

    def reloaded(self, outcome: str) -> None:
        """All workers have been replaced since, or none more will be, because of ``outcome``."""

    def reopen(self) -> int | None:
        """Open the log file anew and return its descriptor; None where there is none, or with a line in the log."""

    def resized(self, workers: int) -> None:
        """There should be so many workers from now on."""

    def start_anew(self, report: Report, life: int | None) -> None:
        """Be the server of the new version; see ``Work``."""

    def upgrade(self) -> None:
        """A server of the new version is about to be started."""

    def upgraded(self, pid: int) -> None:
        """It is ready, in process ``pid``, and this one ends in silence; 0: there is none, and this one serves on."""

    def leave(self, stopping: bool) -> None:
        """Whoever asks is to be told that nobody should be sent here; the server is going to stop, or soon will be."""

    def is_silent(self, pid: int) -> bool:
        """Return whether the event loop of the worker ``pid``, which serves, has not gone round for some seconds."""

    def look(self, places: Places) -> float:
        """Look at what the loop's last turn has brought; return when to look again, on the monotonic clock."""

"""A supervisor with workers that do next to nothing, as a program: ``python -m tests.supervised drain 2``.

The workers say on standard output what they do. A line is one write, so the lines of several workers do not
mix; the end of that pipe means that every process is gone.
"""

import argparse
import contextlib
import logging
import math
import os
import resource
import signal
import sys
import time
from dataclasses import dataclass

from aiowsgi.observe.errorlog import tell as tell_people
from aiowsgi.process import control, places
from aiowsgi.process.child import Report, Work
from aiowsgi.process.places import Places
from aiowsgi.process.supervisor import Supervisor
from aiowsgi.server.life import release
from aiowsgi.server.listeners import open_listeners, open_private

TOKEN, TOKEN_END = os.pipe()  # holds tokens, so that some workers do something else than the others
os.set_blocking(TOKEN, False)
GO, GO_END = os.pipe()  # holds a byte for each worker that has begun to serve, to let others go on


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def take_token() -> bool:
    with contextlib.suppress(BlockingIOError):
        return bool(os.read(TOKEN, 1))
    return False


def drain(report: Report, life: int | None) -> None:
    """Serve until SIGTERM."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    say(f"serving {os.getpid()}")
    report.ready()
    os.write(GO_END, b".")
    signal.sigwait([signal.SIGTERM])
    say(f"drained {os.getpid()}")


def cling(report: Report, life: int | None) -> None:
    """Do not stop when asked to."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    say(f"serving {os.getpid()}")
    report.ready()
    signal.sigwait([signal.SIGTERM])
    say(f"clinging {os.getpid()}")
    signal.pause()


def orphan(report: Report, life: int | None) -> None:
    """Serve until the supervisor is gone."""
    assert life is not None
    release(life)
    say(f"serving {os.getpid()}")
    report.ready()
    assert os.read(life, 1) == b""
    say(f"orphaned {os.getpid()}")


def load_for_ever(report: Report, life: int | None) -> None:
    """Never become ready."""
    say(f"loading {os.getpid()}")
    signal.pause()


def leave(report: Report, life: int | None) -> None:
    """Become ready, and end."""
    report.ready()
    say(f"leaving {time.monotonic()}")


def fail(report: Report, life: int | None) -> None:
    """Fail to start, by an exception."""
    raise ValueError("the application is broken")


def leave_by_exit(report: Report, life: int | None) -> None:
    """Fail to start, by SystemExit."""
    sys.exit("out of luck")


def tell(report: Report, life: int | None) -> None:
    """Fail to start, with a text that no pipe holds."""
    report.failed("a line\n" * 50_000 + "the last line")


def crash(report: Report, life: int | None) -> None:
    """Die before being ready."""
    os.kill(os.getpid(), signal.SIGKILL)


def one_fails(report: Report, life: int | None) -> None:
    """Serve, but let one worker of two fail to start as soon as the other one serves."""
    if take_token():
        os.read(GO, 1)
        raise ValueError("the application is broken")
    drain(report, life)


def every_other_fails(report: Report, life: int | None) -> None:
    """Serve, and have the next worker fail to start."""
    if take_token():
        drain(report, life)
    else:
        os.write(TOKEN_END, b".")
        raise ValueError("the application is broken for now")


def wish(report: Report, life: int | None) -> None:
    """Serve until SIGTERM, and ask for a replacement at each SIGUSR1."""
    numbers = [signal.SIGTERM, signal.SIGUSR1]
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    say(f"serving {os.getpid()}")
    report.ready()
    while signal.sigwait(numbers) == signal.SIGUSR1:
        report.replace("it has had\nenough")
    say(f"drained {os.getpid()}")


def wish_in_vain(report: Report, life: int | None) -> None:
    """Serve, and have the next worker fail to start."""
    if not take_token():
        os.write(TOKEN_END, b".")
        raise ValueError("the application is broken for now")
    wish(report, life)


def serve_with_token(report: Report, life: int | None) -> None:
    """Serve where there is a token, else fail to start."""
    if not take_token():
        raise ValueError("the application is broken now")
    drain(report, life)


def fail_slowly(report: Report, life: int | None) -> None:
    """Serve where there is a token, else fail to start at a SIGUSR2."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    if not take_token():
        say(f"loading {os.getpid()}")
        signal.sigwait([signal.SIGUSR2])
        raise ValueError("the application is broken now")
    drain(report, life)


def load_slowly(report: Report, life: int | None) -> None:
    """Become ready at once where there is a token, else at a SIGUSR2."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    if not take_token():
        say(f"loading {os.getpid()}")
        signal.sigwait([signal.SIGUSR2])
    wish(report, life)


def load_through_sigterm(report: Report, life: int | None) -> None:
    """Do as ``load_slowly``, and see a SIGTERM only when ready."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    load_slowly(report, life)


def take_over(report: Report, life: int | None) -> None:
    """Become ready at a SIGUSR2, say so behind it, and serve until the supervisor is gone."""
    assert life is not None
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    say(f"loading {os.getpid()}")
    signal.sigwait([signal.SIGUSR2])
    report.ready()
    say(f"ready {os.getpid()}")
    assert os.read(life, 1) == b""


def babble(report: Report, life: int | None) -> None:
    """Serve, and report without an end where there is a token."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    report.ready()
    say(f"serving {os.getpid()}")
    if not take_token():
        signal.sigwait([signal.SIGTERM])
        return
    while True:
        os.write(report.descriptor, b"\1" + b"x" * 65535)


def break_later(report: Report, life: int | None) -> None:
    """Serve, and end by an exception when asked to stop."""
    drain(report, life)
    raise ValueError("cannot drain")


def help(report: Report, life: int | None) -> None:
    """Be no worker, but the helper."""
    say(f"helping {os.getpid()}")
    signal.pause()


def help_badly(report: Report, life: int | None) -> None:
    """Be a helper that fails."""
    raise ValueError("no help")


WORKS: dict[str, Work] = {
    "drain": drain,
    "cling": cling,
    "orphan": orphan,
    "load_for_ever": load_for_ever,
    "leave": leave,
    "fail": fail,
    "leave_by_exit": leave_by_exit,
    "tell": tell,
    "crash": crash,
    "one_fails": one_fails,
    "every_other_fails": every_other_fails,
    "wish": wish,
    "wish_in_vain": wish_in_vain,
    "serve_with_token": serve_with_token,
    "fail_slowly": fail_slowly,
    "load_slowly": load_slowly,
    "load_through_sigterm": load_through_sigterm,
    "take_over": take_over,
    "babble": babble,
    "break_later": break_later,
    "help": help,
    "help_badly": help_badly,
}


def descriptors() -> set[str]:
    return set(os.listdir("/dev/fd"))


def handlers() -> list[object]:
    numbers = (
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGCHLD,
        signal.SIGHUP,
        signal.SIGUSR1,
        signal.SIGTTIN,
        signal.SIGTTOU,
    )
    return [signal.getsignal(number) for number in numbers]


@dataclass
class Service:
    work: Work
    fails: bool  # where it is told of the start
    helper: Work | None = None
    preloads: bool = False
    obeys: bool = False
    patience: float | None = None  # seconds for all but the first ones to be ready
    successor: Work | None = None  # what stands for the new server; where nothing does, no process can be had

    def started(self) -> None:
        if self.fails:
            raise RuntimeError("the supervisor is broken")
        if self.patience is not None:
            places.PATIENCE = self.patience
        say("started")

    def reload(self) -> str:
        return ""

    def reloaded(self, outcome: str) -> None: ...

    def failed(self, words: str) -> None:
        tell_people(words)

    def resized(self, workers: int) -> None: ...

    def reopen(self) -> int | None:
        return None

    def start_anew(self, report: Report, life: int | None) -> None:
        assert self.successor is not None
        self.successor(report, life)

    def upgrade(self) -> None:
        if self.successor is None:
            self.limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (1, self.limits[1]))

    def upgraded(self, pid: int) -> None:
        if self.successor is None:
            resource.setrlimit(resource.RLIMIT_NOFILE, self.limits)
        say(f"upgraded {pid}")

    def leave(self, stopping: bool) -> None: ...

    def is_silent(self, pid: int) -> bool:
        return False

    def look(self, places: Places) -> float:
        return math.inf


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=WORKS)
    parser.add_argument("workers", type=int)
    parser.add_argument("--graceful", type=float, default=60.0)
    parser.add_argument(
        "--pause", type=float, help="seconds, for all pauses between failures and the next start"
    )
    parser.add_argument("--first-patience", type=float, help="seconds, for the first ones to be ready")
    parser.add_argument("--later-patience", type=float, help="the same for all others")
    parser.add_argument(
        "--steady", type=float, help="seconds, until the end of a worker is none of its start"
    )
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--bind", action="append", default=[])
    parser.add_argument("--control")
    parser.add_argument("--patience", type=float, default=control.PATIENCE)  # with the clients of that socket
    parser.add_argument("--log-level", default="INFO")
    parser.add_argument("--tokens", type=int, default=1)
    parser.add_argument("--no-more-descriptors", action="store_true")
    parser.add_argument("--fail-when-started", action="store_true")
    parser.add_argument("--helper", choices=WORKS)
    parser.add_argument("--successor", choices=WORKS)
    arguments = parser.parse_args()
    if arguments.steady is not None:
        places.STEADY = arguments.steady
    if arguments.first_patience is not None:
        places.PATIENCE = arguments.first_patience
    if arguments.pause is not None:
        places.FIRST_PAUSE = places.LONGEST_PAUSE = arguments.pause
    os.write(TOKEN_END, b"." * arguments.tokens)
    control.PATIENCE = arguments.patience
    logging.basicConfig(level=arguments.log_level, format="%(levelname)s %(message)s")
    before = descriptors(), handlers()
    supervisor = Supervisor(
        open_listeners(arguments.bind),
        Service(
            WORKS[arguments.work],
            arguments.fail_when_started,
            arguments.helper and WORKS[arguments.helper],
            patience=arguments.later_patience,
            successor=arguments.successor and WORKS[arguments.successor],
        ),
        arguments.workers,
        arguments.graceful,
        arguments.delay,
        open_private(arguments.control, []) if arguments.control else None,
    )
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if arguments.no_more_descriptors:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
    sys.stdout.write("said before the fork\n")  # and still in the buffer: standard output is a pipe
    status = supervisor.run()
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    if (descriptors(), handlers()) != before:
        say("descriptors are left open, or signal handlers in place")
    with contextlib.suppress(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
        say("a child is left")
    return status


if __name__ == "__main__":
    sys.exit(main())

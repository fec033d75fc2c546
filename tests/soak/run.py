"""The server, the clients, and what is measured."""

import random
import socket as sockets
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import monotonic
from typing import cast

from tests.authority import Authority
from tests.held_site import held
from tests.secure_client import SecurePeer
from tests.server import PATIENCE, RunningServer
from tests.soak.mortal import Died, MortalSocket
from tests.soak.visits import FILE, VISITS, Visitor, Wrong
from tests.thread_server import Peer

_FOREVER = 1 << 60  # bytes
# Of what a worker has, what has to be the same when everybody has left.
KINDS = ("files", "sockets", "threads")


@dataclass
class Report:
    """What a soak has found."""

    visits: Counter[str] = field(default_factory=Counter)  # whole ones, by their kind
    died: int = 0
    wrong: list[str] = field(default_factory=list)
    samples: list[tuple[float, int]] = field(default_factory=list)  # seconds, KiB under load
    rests: list[int] = field(
        default_factory=list
    )  # KiB with nobody there: after the first minute, and at the end
    left: list[str] = field(default_factory=list)  # what is held by nobody

    def loaded(self, begin: float, end: float) -> float:
        """Return the mean of KiB under load between these seconds."""
        return mean([memory for seconds, memory in self.samples if begin <= seconds < end] or [0])


class _Crowd:
    """Clients, each in a thread: one visit behind the other, on a new connection each."""

    def __init__(self, ports: tuple[int, int], context: ssl.SSLContext, seeds: range, report: Report) -> None:
        """``seeds`` are one for each client: the same ones would send once more what comes but once."""
        self._ports = ports  # without TLS, and with it
        self._context = context
        self._report = report
        self._stop = Event()
        self._threads = [Thread(target=self._visit, args=(random.Random(seed),)) for seed in seeds]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _visit(self, chance: random.Random) -> None:
        while not self._stop.wait(chance.uniform(0, 0.1)):
            visit = chance.choice(VISITS)
            life = int(2 ** chance.uniform(0, 21)) if chance.random() < 0.4 else _FOREVER
            try:
                with self._connected(chance, life) as peer:
                    visit(Visitor(peer, chance, self._stop))
                self._report.visits[visit.__name__] += 1
            except Died:
                self._report.died += 1
            except (ConnectionError, ssl.SSLError):
                # A bad request may be cut while it is sent.
                if visit.__name__ not in ("bad", "idle"):
                    self._report.wrong.append(f"{visit.__name__}: cut")
            except (Wrong, AssertionError, OSError) as error:
                self._report.wrong.append(f"{visit.__name__}: {error!r}")

    @contextmanager
    def _connected(self, chance: random.Random, life: int) -> Iterator[Peer]:
        room = chance.choice([None, 4096])
        if chance.random() < 0.7:
            peer = Peer(("127.0.0.1", self._ports[0]), room)
        else:
            peer = SecurePeer(("127.0.0.1", self._ports[1]), self._context, receive_buffer=room)
        mortal = MortalSocket(peer.socket, life)
        peer.socket = cast(sockets.socket, mortal)
        try:
            yield peer
        finally:
            if chance.random() < 0.5:
                mortal.reset()
            elif chance.random() < 0.3:
                with suppress(OSError, Died):
                    peer.send_eof()
                    peer.socket.recv(100)
            mortal.close()


def soak(seconds: float, clients: int, first: float) -> Report:
    """Have so many clients come for so long; rest after the ``first`` seconds, and at the end."""
    report = Report()
    with TemporaryDirectory(prefix="aiowsgi-soak-") as folder:
        root, temporary = Path(folder, "files"), Path(folder, "temporary")
        root.mkdir()
        temporary.mkdir()
        (root / "large.bin").write_bytes(FILE)
        (root / "small.txt").write_text("small")
        authority = Authority(Path(folder, "authority"))
        pair = authority.issue("server", "localhost")
        arguments = ["tests.held_site:application", "--static", f"/files={root}"]
        arguments += ["--bind", "127.0.0.1:0", "--bind", "tls:127.0.0.1:0", "--access-log", "/dev/null"]
        arguments += ["--certificate", str(pair.certificate), "--key", str(pair.key)]
        with RunningServer(*arguments, TMPDIR=str(temporary)) as server:
            ports = server.port, int(server.until(r"https://\S+:(\d+)$")[1])
            with Peer(("127.0.0.1", ports[0])) as watch:
                watch.get("/files/large.bin")
                before = held(watch, "?collect")
                begin = monotonic()
                for crowd, end in enumerate((first, seconds)):
                    seeds = range(crowd * clients, (crowd + 1) * clients)
                    with _Crowd(ports, authority.trusted(), seeds, report):
                        _sample(watch, report, begin, begin + end)
                    after = _at_rest(watch, before)
                    report.rests.append(after["memory"])
                report.left += [f"{after[k] - before[k]} {k}" for k in KINDS if after[k] != before[k]]
        report.left += [f"temporary file {path.name}" for path in temporary.iterdir()]
    return report


def _sample(watch: Peer, report: Report, begin: float, end: float) -> None:
    """Look at the memory once a second until ``end``."""
    pause = Event()
    while (now := monotonic()) < end:
        report.samples.append((now - begin, held(watch)["memory"]))
        pause.wait(min(1.0, end - now))


def _at_rest(watch: Peer, before: dict[str, int]) -> dict[str, int]:
    """Wait until the worker holds what it held before; return what it holds in the end."""
    end = monotonic() + PATIENCE
    while True:
        after = held(watch, "?collect")
        if all(after[kind] == before[kind] for kind in KINDS) or monotonic() > end:
            return after

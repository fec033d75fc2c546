"""One worker process: it accepts connections, looks after them once a second, and drains."""

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from time import monotonic

from aiowsgi.config import Config
from aiowsgi.server.accepting import acceptor
from aiowsgi.server.admission import Admission
from aiowsgi.server.answering import Answer, Answering, Reply
from aiowsgi.server.board import Board
from aiowsgi.server.certificates import Certificates
from aiowsgi.server.descriptors import hold_standard, most_connections
from aiowsgi.server.dispatch import Dispatch
from aiowsgi.server.doors import Doors
from aiowsgi.server.draining import begin_to_drain, drain
from aiowsgi.server.inspection import answers
from aiowsgi.server.life import release
from aiowsgi.server.listeners import Listener
from aiowsgi.server.parts import share
from aiowsgi.server.readycheck import check
from aiowsgi.server.recycling import Recycling
from aiowsgi.server.shared import Errand, Shared
from aiowsgi.server.sweep import LOOK, SWEEP, again_and_again, sweep
from aiowsgi.site.development import DevelopmentRouter
from aiowsgi.site.router import Router
from aiowsgi.wsgi import spool
from aiowsgi.wsgi.environ import Environ, server_environ
from aiowsgi.wsgi.pool import Pool

_LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
with suppress(ImportError):  # there is no uvloop for Windows
    import uvloop

    _LOOPS["uvloop"] = uvloop.new_event_loop

logger = logging.getLogger("aiowsgi.worker")


class Worker:
    """Serves ``router`` on ``listeners``, which stay the caller's.

    They stay open, but in a process that was made for the worker, where others have them open for whoever comes.
    ``access_log`` is the descriptor that the lines of the access log are written to, and stays the caller's, too.
    ``certificates`` are those of listeners for TLS, ``board`` is where its supervisor tells it something.
    """

    def __init__(
        self,
        config: Config,
        listeners: Sequence[Listener],
        router: Router,
        access_log: int | None = None,
        certificates: Certificates | None = None,
        board: Board | None = None,
    ) -> None:
        self._config = config
        self._access_log = access_log
        self._certificates = certificates
        self._listeners = listeners
        self._router = router
        self._board = board or Board()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._stopping = False
        self.deadline = 0.0  # on the monotonic clock: the end of the graceful timeout, once it drains

    def run(
        self,
        ready: Callable[[], None],
        life: int | None = None,
        signals: bool = False,
        replace: Callable[[str], None] = lambda reason: None,
        line: socket.socket | None = None,
    ) -> None:
        """Serve until stopped, then drain; blocks.

        ``ready`` is called once connections are accepted. ``life`` is a descriptor whose end of file begins the
        draining, as SIGTERM does with ``signals``. ``replace`` is called, with the reason, when another process
        should take the place of this one. On ``line`` the supervisor asks, and is answered; it is closed at the end.

        Raises NotReadyError.
        """
        with asyncio.Runner(loop_factory=_LOOPS[self._config.loop]) as runner:
            runner.run(self._serve(ready, life, signals, replace, line))

    def stop(self) -> None:
        """Begin to drain. From any thread."""
        self._stopping = True
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)

    async def _serve(
        self,
        ready: Callable[[], None],
        life: int | None,
        signals: bool,
        replace: Callable[[str], None],
        line: socket.socket | None,
    ) -> None:
        loop = self._loop = asyncio.get_running_loop()
        stop = self._stop = asyncio.Event()
        if self._stopping:
            stop.set()
        with ExitStack() as stack:
            shared = share(self._config, self._listeners, self._router, self._access_log, stack)
            self._heed(stop, stack, life, signals)
            if line is not None:
                reopen: Answer = partial(_reopen, shared)
                answering = Answering(line, loop, {**answers(shared), "reopen": reopen})
                stack.callback(answering.close)
            doors = Doors(loop)
            admission = Admission(shared, doors, most_connections(shared.limits))
            make_accept = acceptor(self._config, shared, admission, self._certificates)
            if not await self._passes(shared, stop):
                return
            await doors.open(
                [(listener, make_accept(self._environ(listener))) for listener in self._listeners]
            )
            dispatch = Dispatch(shared, doors, self._board.lateness)
            looks = [admission.sweep, dispatch.sweep, *self._looks(shared, replace)]
            if life is not None:  # else the process is a program's
                looks.append(hold_standard)
            sweeping = loop.create_task(sweep(shared, SWEEP, *looks))
            if isinstance(self._router, DevelopmentRouter):
                looking = loop.create_task(again_and_again(LOOK, self._router.look))
                stack.callback(looking.cancel)
            if life is not None:
                dispatch.begin()
                # What exists now lasts as long as this process: the collector need not look at it again.
                gc.collect()
                gc.freeze()
            try:
                ready()
                await stop.wait()
            finally:  # KeyboardInterrupt, too, gets here: it cancels this task
                self.deadline = monotonic() + self._config.timeouts.graceful
                sweeping.cancel()
                begin_to_drain(shared, self._config.timeouts, loop.time())
                dispatch.end()
                await self._close(doors, owned=life is not None)
                await drain(shared, self._config.timeouts)

    def _heed(self, stop: asyncio.Event, stack: ExitStack, life: int | None, signals: bool) -> None:
        """Have ``stop`` set at the end of file of ``life`` and, with ``signals``, by SIGTERM."""
        loop = asyncio.get_running_loop()
        if signals:
            loop.add_signal_handler(signal.SIGTERM, stop.set)
            stack.callback(loop.remove_signal_handler, signal.SIGTERM)
        if life is None:
            return

        def look() -> None:
            if not os.read(life, 1):
                loop.remove_reader(life)
                if not self._config.preload:  # else a preloader has died, and another takes its place
                    self._board.leave()
                stop.set()

        loop.add_reader(life, look)
        release(life)
        stack.callback(loop.remove_reader, life)

    async def _close(self, doors: Doors, owned: bool) -> None:
        """Accept nobody any more; the listeners are closed where they are this process's own."""
        await doors.close()
        if self._board.leaving:
            await doors.take_waiting()
        if owned:  # whoever comes now is refused as soon as no process has one left
            for listener in self._listeners:
                listener.close()

    async def _passes(self, shared: Shared, stop: asyncio.Event) -> bool:
        """Return whether to serve: not where it should stop before the check is answered. Raises NotReadyError."""
        path = self._config.ready_check
        if path is not None and not self._config.reload:  # which shows what is wrong
            # As if it came by https, where there is any: else it may be led there, which proves nothing.
            listener = max(self._listeners, key=lambda listener: listener.tls)
            checking = shared.loop.create_task(check(shared, self._environ(listener), path))
            stopping = shared.loop.create_task(stop.wait())
            await asyncio.wait([checking, stopping], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if checking.cancel():
                return False
            checking.result()
        return True

    def _looks(self, shared: Shared, replace: Callable[[str], None]) -> Iterator[Callable[[], None]]:
        """Yield what is to be done once a second."""
        recycling = Recycling(self._config.lifetime, shared, replace)
        yield recycling.look
        yield partial(_close_spools, shared.disk)
        if self._certificates is not None:
            yield partial(self._certificates.look, shared.disk)

    def _environ(self, listener: Listener) -> Environ:
        """Return what all requests that come in at ``listener`` have in common."""
        scheme, host, port = ("https", "localhost", "443") if listener.tls else ("http", "localhost", "80")
        if listener.family != getattr(socket, "AF_UNIX", None):
            host, port = listener.getsockname()[:2]
        if host in ("0.0.0.0", "::"):
            host = socket.gethostname()
        return server_environ(host, str(port), scheme, self._config.workers > 1)


def _reopen(shared: Shared, details: object, reply: Reply) -> None:
    assert isinstance(details, int)
    if shared.access_log is None:
        os.close(details)
        reply(None)
    else:
        shared.access_log.go_on(details, partial(reply, None))


def _close_spools(disk: Pool) -> None:
    if spool.are_left_behind():
        disk.submit(Errand(disk, spool.close_left_behind, lambda error: None))

"""What the connections of a worker share, put together at its start, and the end of its threads."""

import asyncio
import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from time import monotonic

from aiowsgi.config import Config
from aiowsgi.http.parser import Parser
from aiowsgi.http.states import deadlines, seconds_per_byte
from aiowsgi.observe.accesslog import AccessLog
from aiowsgi.observe.developmentlog import DevelopmentLog
from aiowsgi.observe.log import Log, Logs
from aiowsgi.observe.requestends import RequestEnds
from aiowsgi.server.listeners import Listener, port_of_https
from aiowsgi.server.shared import Shared
from aiowsgi.site import refresh
from aiowsgi.site.hooks import find_hook
from aiowsgi.site.https import Https
from aiowsgi.site.router import Router
from aiowsgi.wsgi.callpool import CallPool
from aiowsgi.wsgi.pool import Pool

logger = logging.getLogger("aiowsgi.worker")

DISK_THREADS = 2

# Seconds for all threads of a worker to end behind its last connection, one kind after the other; and for each kind at
# the least, so that one that hangs does not have the others told of.
LAST, LEAST = 1.0, 0.1


class _Last:
    """What is left of LAST."""

    def __init__(self) -> None:
        self._end = 0.0

    def seconds(self) -> float:
        """Return it; it begins when this is called first."""
        now = monotonic()
        self._end = self._end or now + LAST
        return max(LEAST, self._end - now)


def share(
    config: Config, listeners: Sequence[Listener], router: Router, access_log: int | None, stack: ExitStack
) -> Shared:
    """Put it together for the loop that runs; ``stack`` ends the threads. The others are what a ``Worker`` has."""
    loop, last = asyncio.get_running_loop(), _Last()
    pool = CallPool(config.threads, config.limits, config.timeouts, loop.call_soon, loop.call_soon_threadsafe)
    stack.callback(_close_calls, pool, last)
    disk = Pool(DISK_THREADS, loop.call_soon, loop.call_soon_threadsafe)
    stack.callback(_close_disk, disk, last)
    log = ends = None
    if access_log is not None:
        # A thread of its own: applications may keep the others busy for long.
        writer = Pool(1, loop.call_soon, loop.call_soon_threadsafe)
        log = _log(config, access_log, writer)
        stack.callback(_finish_log, writer, log, last)
    hook = find_hook("on_request_end", config.on_request_end, None)
    if hook is not None:
        teller = Pool(1, loop.call_soon, loop.call_soon_threadsafe)
        ends = RequestEnds(hook, teller.submit, teller.hand_over)
        stack.callback(_finish_ends, teller, ends, last)
    # First of all they are told to end, so that those that idle have while others were waited for.
    stack.callback(disk.close, 0.0)
    stack.callback(pool.close, 0.0)
    logs: list[Log] = [each for each in (log, ends) if each is not None]
    return Shared(
        loop=loop,
        parser=Parser(config.limits, fast=config.parser != "h11"),
        router=router,
        pool=pool,
        disk=disk,
        limits=config.limits,
        deadlines=deadlines(config.timeouts),
        seconds_per_byte=seconds_per_byte(config.timeouts),
        queue_timeout=config.timeouts.queue,
        log=Logs(*logs) if len(logs) > 1 else next(iter(logs), None),
        access_log=log,
        debug=config.debug,
        streams=config.stream_requests,
        https=_https(config, listeners),
        now=loop.time(),
    )


def _log(config: Config, descriptor: int, writer: Pool) -> AccessLog:
    if not (config.reload and config.access_log == "-"):
        return AccessLog(descriptor, writer.submit, writer.hand_over)
    log = DevelopmentLog(descriptor, writer.submit, writer.hand_over)
    log.coloured = os.isatty(descriptor) and not os.environ.get("NO_COLOR")  # https://no-color.org
    log.hidden = refresh.PREFIX + "/"
    return log


def _https(config: Config, listeners: Sequence[Listener]) -> Https | None:
    if config.hsts is None and not config.redirect_https:
        return None
    port = port_of_https(listeners) if config.redirect_https else None
    return Https(config.hsts, port, config.health_path)


def _close_calls(pool: CallPool, last: _Last) -> None:
    if not pool.close(last.seconds()):
        for told in pool.running():
            logger.warning("a thread is left behind: %s", told)


def _close_disk(disk: Pool, last: _Last) -> None:
    if not disk.close(last.seconds()):
        logger.warning("a look at the disk has not returned; its thread is left behind")


def _finish_log(writer: Pool, log: AccessLog, last: _Last) -> None:
    log.finish()
    if not writer.close(last.seconds()):
        logger.warning("the access log is not read, and its last lines are left out")


def _finish_ends(teller: Pool, ends: RequestEnds, last: _Last) -> None:
    ends.finish()
    if not teller.close(last.seconds()):
        logger.warning("on_request_end has not returned; it is not told of the last answers")

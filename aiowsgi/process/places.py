"""The places for workers: how one is filled, and how the process in it is replaced, whatever the reason."""

import contextlib
import logging
import math
import os
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from aiowsgi.process.child import Child, ending, lines

PATIENCE = 300.0  # seconds for a process to be ready: some load models for minutes, but not for ever
STEADY = 10.0  # seconds; a worker that ends, or wishes to, sooner after it became ready counts as ending at its start
FIRST_PAUSE = 0.1  # seconds from such an end to the next start; each one more in a row doubles it
LONGEST_PAUSE = 10.0  # seconds

logger = logging.getLogger("aiowsgi.supervisor")

Done = Callable[[str], object]  # told how a reload has ended: nothing, or why it was given up


@dataclass(eq=False, slots=True)
class _Place:
    """One of the N workers that there should be, whichever process it is at the moment."""

    current: Child | None = None  # it serves
    next: Child | None = None  # it starts, to serve in the stead of ``current``
    due: float = -math.inf  # when to start the next one, or to give up the one that starts; infinity: never
    pause: float = 0.0  # seconds; how long it was waited before the last start

    @property
    def generation(self) -> int:
        """What serves in it has loaded this; -1 if nothing does."""
        return self.current.generation if self.current is not None else -1

    @property
    def wants(self) -> bool:
        """Whether it has to have another process, even if no person asks for that."""
        return self.current is None or bool(self.current.wish)


class Places:
    """N places, each with a worker process that serves.

    Guarantees:
    - A place gets a process in one way only, whatever the reason: it becomes due, the next process is forked, and
      when that reports ready it is the current one. Only then is the one before it asked to stop.
    - So a place that has once had a process that serves is without one only when that died by itself.
    - Where those in a place end soon after their starts, or wish to be replaced, the pauses between them grow.
    - A next process that fails, or is not ready after PATIENCE, leaves the current one serving. Another try follows
      by itself where no person has asked for this one, after pauses that grow.
    - A reload replaces the processes of one place after the other, so that there is one more than N of those that
      are not about to end. It has succeeded when each place has a process that serves and has loaded everything
      since; the first of these that fails, or dies soon, ends it.
    - Every process is in ``children`` until it has been reaped, and has a deadline once it was asked to stop.
    """

    def __init__(
        self,
        count: int,
        spawn: Callable[[], Child],
        selector: selectors.BaseSelector,
        graceful: float,
        started: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        """Prepare ``count`` empty places; ``spawn`` forks a process, or raises OSError.

        A process that is asked to stop has ``graceful`` seconds until it is killed. ``started`` is called once, when
        all places have had a process; ``failed`` instead, with the words of the one that could not start.
        """
        self.children: dict[Child, _Place] = {}  # and the places that they have or had
        self._places = [_Place() for _ in range(count)]
        self._spawn = spawn
        self._selector = selector
        self._graceful = graceful
        self._started = started
        self._failed = failed
        self._starting = True  # until all of the first ones are ready
        self._stopping = False
        self._generation = 0  # of the code and the settings that are loaded now
        self._reloads: list[Done] = []  # who is to be told how the reload ends, which is going on

    @property
    def starting(self) -> bool:
        """Whether the first ones are not all ready yet."""
        return self._starting

    # What is asked for.

    def reload(self, done: Done = lambda outcome: None) -> None:
        """Replace all processes by such that have loaded everything anew.

        While a reload is going on, another one is the same reload: it begins again with what it has done so far. A
        process that is starting is not waited for: what it loads is out of date, and may never end.
        """
        self._generation += 1
        self._reloads.append(done)
        for place in self._places:
            place.pause = 0.0  # how the code before it has fared says nothing of this one
            self._do_without_next(place)
            if place.wants:
                place.due = -math.inf

    def resize(self, count: int) -> None:
        """Have ``count`` places from now on. Those where nothing serves go first, then those with the oldest code.

        Where all stop nothing is left to be done: the processes in the places may have been reaped.
        """
        if self._stopping:
            return
        while len(self._places) < count:
            self._places.append(_Place())
        while len(self._places) > count:
            place = min(reversed(self._places), key=lambda place: place.generation)
            self._places.remove(place)
            self._do_without_next(place)
            if place.current is not None:
                place.current.stop(self._graceful)
                place.current = None

    def _do_without_next(self, place: _Place) -> None:
        if place.next is not None:
            place.next.stop(self._graceful)
            place.next, place.due = None, math.inf

    def stop(self) -> None:
        """Ask all processes to stop, and start none any more."""
        self._stopping = True
        for child in self.children:
            if child.deadline == math.inf:
                child.stop(self._graceful)

    def kill(self) -> None:
        for child in self.children:
            child.kill()

    # What time brings.

    def act(self) -> None:
        """Do what is due by now."""
        now = time.monotonic()
        for place in self._places:
            if place.due <= now and not self._stopping:  # what fails may stop all
                if place.next is None:
                    self._start(place)
                else:
                    self._give_up(place, place.next)
        if not self._stopping:
            self._go_on()
        for child in self.children:
            if child.deadline <= now:
                logger.warning("%s has not stopped in time and is killed", child)
                child.kill()

    def due(self) -> float:
        """Return when there will be something to do, on the monotonic clock; infinity if nothing is known of."""
        starts = [] if self._stopping else [place.due for place in self._places]
        return min([*starts, *(child.deadline for child in self.children)], default=math.inf)

    def _go_on(self) -> None:
        """Go on with the start, or with a reload: how far that is the places tell, however they came to be so."""
        oldest = min(self._places, key=lambda place: place.generation)
        if oldest.current is None:
            return
        if self._starting:
            self._starting = False
            self._started()
        if self._reloads and not any(place.next is not None for place in self._places):
            self._reload_on(oldest)

    def _reload_on(self, oldest: _Place) -> None:
        if oldest.generation < self._generation:
            self._start(oldest)
        else:
            logger.info("reloaded")
            self._end_reload("")

    def _give_up_reload(self, outcome: str) -> None:
        logger.error("the reload is given up")
        for place in self._places:
            if not place.wants:
                self._do_without_next(place)
        self._end_reload(outcome)

    def _end_reload(self, outcome: str) -> None:
        reloads, self._reloads = self._reloads, []
        for done in reloads:
            done(outcome)

    def _start(self, place: _Place) -> None:
        place.due = math.inf
        try:
            child = self._spawn()
        except OSError as error:  # no more processes, descriptors or memory for now
            self._lost(place, f"no worker can be started: {error.strerror}")
            return
        child.generation = self._generation
        place.next, place.due = child, child.started_at + PATIENCE
        self.children[child] = place
        self._selector.register(child.pipe, selectors.EVENT_READ, partial(self._hear, child))

    def _give_up(self, place: _Place, child: Child) -> None:
        child.stop(self._graceful)
        self._lost(place, f"{child} is not ready after {PATIENCE:g} s and is stopped", child)

    # What the processes tell.

    def _hear(self, child: Child) -> None:
        place = self.children[child]
        if not child.hear():  # it may live on, but the end of file would be reported again and again
            self._selector.unregister(child.pipe)
        if self._stopping:  # nobody takes over from anybody: the one before may have been reaped
            return
        if child.ready and child is place.next:
            self._take_over(place, child)
        if child.wish and child is place.current and place.due == math.inf:
            self._grant(place, child)

    def _grant(self, place: _Place, child: Child) -> None:
        """Have a process replaced that wishes to be."""
        early = _is_early(child)
        self._try_again(place, early)
        if early:  # some bound is below what it needs
            line = "%s is replaced: %s, %.1f s after it was ready; the next one starts in %g s"
            logger.warning(line, child, child.wish, time.monotonic() - child.ready_at, place.pause)
        else:
            logger.info("%s is replaced: %s", child, child.wish)

    def _take_over(self, place: _Place, child: Child) -> None:
        logger.log(logging.DEBUG if self._starting else logging.INFO, "%s is ready", child)
        before, place.current, place.next, place.due = place.current, child, None, math.inf
        if before is not None:
            before.stop(self._graceful)

    def reap(self) -> None:
        """See to the processes that have ended."""
        for child in list(self.children):  # by their ids: this process may have children that are not ours
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid == 0:
                continue
            place = self.children.pop(child)
            child.hear_rest()
            for end in (child.pipe, child.line):
                with contextlib.suppress(KeyError):
                    self._selector.unregister(end)
            child.close()
            line = f"{child} {ending(status)}{' before it was ready' if self._starting and not child.ready else ''}"
            if self._stopping or child not in (place.current, place.next):
                # Others that cannot start have nothing to add to the first; one that cannot drain has.
                level = logging.ERROR if child.words and child.ready else logging.DEBUG
                logger.log(level, "%s", lines(line, child.words))
            else:
                self._lost(place, line, child)

    def _lost(self, place: _Place, line: str, child: Child | None = None) -> None:
        """See to what has lost its ``child``, or could not have one: ``line`` says how."""
        words = child.words if child else ""
        if self._starting and not (child and child.ready):
            self._failed(words or f"aiowsgi: {line}")
            return
        early = child is None or _is_early(child)
        if child is not None and child is place.current:
            place.current = None
        else:
            place.next, place.due = None, math.inf
        logger.error("%s", lines(f"{line}; {self._fill(place, early)}", words))
        if self._reloads and early and (child is None or child.generation == self._generation):
            self._give_up_reload(lines(line, words))

    def _fill(self, place: _Place, early: bool) -> str:
        """Have a place that has lost a process filled again, if it has to be; return what becomes of it."""
        if place.next is not None:
            return "the next one is starting already"
        serves = f"{place.current} serves on"
        if not place.wants:
            return serves
        self._try_again(place, early)
        again = f"the next one starts in {place.pause:g} s"
        return again if place.current is None else f"{serves}; {again}"

    def _try_again(self, place: _Place, early: bool) -> None:
        """Have the next one start: at once, or if the one before has ended ``early`` after a pause that grows."""
        place.pause = min(max(FIRST_PAUSE, 2 * place.pause), LONGEST_PAUSE) if early else 0.0
        place.due = time.monotonic() + place.pause


def _is_early(child: Child) -> bool:
    """Whether it ends, or wishes to, so soon that the next one may do the same; also one that never was ready."""
    return time.monotonic() - child.ready_at < STEADY

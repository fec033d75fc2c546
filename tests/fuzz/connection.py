"""The whole connection, on a transport in memory: it answers what h11 reads of the same bytes, and nothing else.

Two clients of one server, each a stream of bytes in pieces; between them the loop turns or does not, threads do their
jobs or do not, a client takes its answers or does not, time passes, and clients leave. Whatever happens:

- nothing raises, and no state is left by a way that ``http/states.py`` does not have (that raises);
- the requests that reach the site are the first of those that h11 reads, with their fields and their content: none is
  made up, none is left out, and none is read from another's content;
- what is sent is a whole answer to each of them in its order, and then, perhaps, one more that refuses;
- when all that waits was done, a connection reads on, has a deadline, and owes no answer;
- when time passes then, it ends, and no descriptor is left.
"""

import logging
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import h11

from aiowsgi.config import Limits, Timeouts
from aiowsgi.http.messages import Request
from aiowsgi.http.parser import Parser
from aiowsgi.http.states import State
from tests.fuzz.cranked import CrankedCallPool, CrankedLoop, CrankedPool, cranked
from tests.fuzz.script import Step, read_script
from tests.fuzz.site import Handled, Planned, Site
from tests.reading import STATUSES, Message, read, read_by_h11
from tests.wire_client import Client, Server

SETTINGS = (
    Limits(),
    Limits(content_memory=100, response_memory=500, pipelined=200),
    Limits(request_line=60, head=300, fields=8, content=300, content_memory=0, pipelined=0, queue=1),
)
_TIMEOUTS = Timeouts()
_AGE = 100.0  # seconds, more than any timeout
_MOST_TURNS = 100_000  # past so many turns without an end, something turns in a circle


def check(data: bytes) -> None:
    """Raise AssertionError, or whatever the server raises, if ``data`` shows a fault."""
    script = read_script(data)
    open_before = _open_files()
    with _no_failures(), cranked() as loop:
        scene = _Scene(loop, SETTINGS[script.setting % len(SETTINGS)])
        scene.play(script.steps)
        scene.come_to_rest()
        for peer in scene.peers:
            peer.check_rest()
        scene.age()
        for peer in scene.peers:
            peer.check_end()
        assert not scene.server.shared.connections
    del scene, peer
    assert _open_files() <= open_before  # fewer, if the garbage of others was collected meanwhile


def _open_files() -> int:
    return len(os.listdir("/dev/fd"))


@contextmanager
def _no_failures() -> Iterator[None]:
    """Check that nothing fails inside the block but what is to fail."""
    failures = _Failures()
    logger = logging.getLogger("aiowsgi")
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(failures)
    try:
        yield
    finally:
        logger.removeHandler(failures)
        logger.propagate = propagate
    for failure in failures.found:
        raise AssertionError("this was logged") from failure


class _Failures(logging.Handler):
    """Keeps the exceptions that are logged."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, Planned):
            self.found.append(error)


class _Scene:
    """A server and two clients."""

    def __init__(self, loop: CrankedLoop, limits: Limits) -> None:
        self._loop = loop
        site = Site(self._whose)
        self.server = Server(
            site, limits=limits, timeouts=_TIMEOUTS, make_pools=(CrankedCallPool, CrankedPool)
        )
        self.peers = [_Peer(self.server.connect(), limits), _Peer(self.server.connect(), limits)]
        self._seconds = 0.0
        self._at = 0  # which of them is meant

    def _whose(self, request: Request) -> list[Handled]:
        [handled] = [peer.handled for peer in self.peers if peer.sent(request)]
        return handled

    def play(self, steps: list[bytes | Step]) -> None:
        for step in steps:
            peer = self.peers[self._at]
            if isinstance(step, bytes):
                peer.send(step)
            elif step == Step.OTHER:
                self._at = 1 - self._at
            elif step in _PEER_STEPS:
                peer.do(step)
            else:
                self._do(step)

    def _do(self, step: Step) -> None:
        match step:
            case Step.TURN:
                self._turn()
            case Step.THREAD:
                self._work("pool")
            case Step.DISK:
                self._work("disk")
            case Step.SECOND:
                self._pass_time(1.0)
            case Step.AGE:
                self._pass_time(_AGE)
            case Step.DRAIN:
                self.server.shared.draining = True
                for connection in list(self.server.shared.connections):
                    connection.drain()

    def _pass_time(self, seconds: float) -> None:
        self._seconds += seconds
        for peer in self.peers:
            peer.timed_out = self._seconds >= _TIMEOUTS.linger  # the shortest of them
        self.server.pass_time(seconds)

    def _turn(self) -> bool:
        turned = self._loop.turn()
        delivered = [peer.deliver() for peer in self.peers]
        return turned or any(delivered)

    def _work(self, name: str) -> bool:
        pool = getattr(self.server, name)
        assert isinstance(pool, CrankedCallPool | CrankedPool)
        return pool.work()

    def come_to_rest(self) -> None:
        """Have everything done that can be done without time passing."""
        for peer in self.peers:
            peer.do(Step.UNBLOCK)
        for _ in range(_MOST_TURNS):
            if not (self._turn() or self._work("pool") or self._work("disk")):
                return
        raise AssertionError("it does not come to an end")

    def age(self) -> None:
        """Have time pass until every deadline has come."""
        for _ in range(4):  # ANSWERING, CLOSING, and each may have taken a byte meanwhile
            self._pass_time(_AGE)
            self.come_to_rest()


class Answer(NamedTuple):
    """A response as h11 reads it."""

    status: int
    content: bytes
    ended: bool
    until_close: bool  # nothing else tells where it ends


_PEER_STEPS = {Step.CUT, Step.BLOCK, Step.TAKE, Step.UNBLOCK, Step.EOF, Step.LOSE}


class _Peer:
    """A client, with what has not been read of its bytes yet, and all that must be true of what it gets."""

    def __init__(self, client: Client, limits: Limits) -> None:
        self._client = client
        self._limits = limits
        self._transport = client.transport
        self.handled: list[Handled] = []
        self._waiting: deque[bytes | None] = (
            deque()
        )  # pieces that the server does not read yet; None is the end
        self._stream = b""  # that the server has read
        self._ended = False
        self.timed_out = False
        self._left = False

    def sent(self, request: Request) -> bool:
        """Tell whether ``request`` is the one that is being answered."""
        return self._client.connection._request is request

    def send(self, piece: bytes) -> None:
        if not self._ended:
            self._waiting.append(piece)
            self.deliver()

    def deliver(self) -> bool:
        """Give the connection what it reads now."""
        delivered = False
        while self._waiting and self._transport.reading and not self._transport.closing:
            delivered = True
            piece = self._waiting.popleft()
            if piece is None:
                self._client.send_eof()
            else:
                self._stream += piece
                self._client.send(piece)
        return delivered

    def do(self, step: Step) -> None:
        transport = self._transport
        match step:
            case Step.BLOCK:
                transport.blocked = True
            case Step.TAKE:
                transport.take(50)
            case Step.UNBLOCK:
                transport.blocked = False
                while transport.held:
                    transport.take(len(transport.held))
            case Step.EOF if not self._ended:
                self._ended = True
                self._waiting.append(None)
                self.deliver()
            case Step.LOSE:
                self._left = True
                transport.closing = True
                self._client.lose()

    # What must be true.

    def check_rest(self) -> None:
        """Check what holds when nothing is left to be done but by the client."""
        client, transport = self._client, self._transport
        requests, answers = self._check_exchange()
        if client.lost or transport.closing:
            return
        assert transport.reading
        assert not transport.held
        assert client.connection.deadline < float("inf")
        if client.state in (State.IDLE, State.HEAD):
            assert len(answers) == len(requests)
        elif client.state == State.ANSWERING:  # the content is still to come
            assert len(answers) == len(requests) - 1
            assert not requests[-1].ended
        elif client.state == State.DISCARDING:
            assert len(answers) == len(requests)
            assert not requests[-1].ended
        else:
            assert client.state == State.CLOSING
            assert transport.eof_written

    def check_end(self) -> None:
        """Check what holds when the last deadline has passed."""
        self._check_exchange()
        assert self._client.lost
        assert self._client.state == State.CLOSED

    def _check_exchange(self) -> tuple[list[Message], list[Answer]]:
        requests = _persistent(read_by_h11(self._stream)[0])
        handled = self.handled
        routed = [request for request in requests if request.target != "*"]
        assert len(handled) <= len(routed)
        for its, request in zip(handled, routed, strict=False):
            assert (its.method, its.target, its.version) == (request.method, request.target, request.version)
            assert its.fields == request.fields
            if its.content is not None:
                assert request.ended
                assert its.content == request.content
        return requests, self._check_answers(requests)

    def _check_answers(self, requests: list[Message]) -> list[Answer]:
        answers: list[Answer] = []
        handled = iter(self.handled)
        data = self._client.sent
        for request in requests:
            its = next(handled, None) if request.target != "*" else None
            method = request.method if its is not None else "GET"
            expects = "HTTP_EXPECT" in request.fields
            if its is not None or request.target == "*":
                answer, data = self._read_answer(data, method, expects)
            else:
                answer, data = self._read_refusal(data, expects)
            if answer is None:
                break
            answers.append(answer)
            if its is not None and answer.status == 200 and method != "HEAD":
                whole = its.expected(request.content)
                assert answer.content == whole if answer.ended else whole.startswith(answer.content)
            if its is None and request.target != "*":
                self._check_refusal(answer)
                break
            if not answer.ended:
                self._check_cut(its.way if its is not None else "")
                break
        if data:
            # What no whole head came of is refused, too.
            answer, data = self._read_refusal(data, False)
            if answer is not None:
                self._check_refusal(answer)
        assert data == b""
        return answers

    def _check_refusal(self, answer: Answer) -> None:
        """Check that a request which did not reach the site is one that the parser refuses, or that came too late."""
        if answer.status == 408:
            assert self.timed_out
        else:
            assert answer.status in STATUSES
            assert read(Parser(self._limits, fast=False), [self._stream]).refused in STATUSES
        assert answer.ended or self._left

    def _read_refusal(self, data: bytes, expects: bool) -> tuple[Answer | None, bytes]:
        """Read an answer that has no content where its request line says HEAD, whatever else is wrong with it."""
        answer, rest = self._read_answer(data, "GET", expects)
        if answer is not None and not answer.ended and b"HEAD " in self._stream:
            return self._read_answer(data, "HEAD", expects)
        return answer, rest

    def _read_answer(self, data: bytes, method: str, expects: bool) -> tuple[Answer | None, bytes]:
        answer, rest = _read_answer(data, method, expects)
        transport = self._transport
        cut = self._left or transport.aborted or transport.socket.reset
        if answer is None:
            assert cut or not rest, "a head is not whole"
            return None, b""
        if answer.until_close and cut:
            answer = answer._replace(ended=False)
        return answer, rest

    def _check_cut(self, way: str) -> None:
        assert self._left or self.timed_out or way in ("short", "late"), "an answer is not whole"


def _persistent(requests: list[Message]) -> list[Message]:
    """Return those up to the first behind which the connection ends."""
    for number, request in enumerate(requests, 1):
        if not request.keep_alive:
            return requests[:number]
    return requests


def _read_answer(data: bytes, method: str, expects: bool) -> tuple[Answer | None, bytes]:
    """Read one answer from the beginning of ``data``, if its head is whole; return it and what is behind it."""
    if not data:
        return None, data
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    response: Any = client.next_event()
    if isinstance(response, h11.InformationalResponse):
        assert expects
        assert response.status_code == 100
        response = client.next_event()
    if response is h11.NEED_DATA:
        return None, client.trailing_data[0]
    assert isinstance(response, h11.Response)
    framed = {name for name, _ in response.headers} & {b"content-length", b"transfer-encoding"}
    until_close = not framed and method != "HEAD" and response.status_code not in (204, 304)
    client.receive_data(b"")
    content = b""
    try:
        while isinstance(event := client.next_event(), h11.Data):
            content += event.data
    except h11.RemoteProtocolError as error:  # it breaks off
        error.__traceback__ = None  # which h11 makes a circle of
        return Answer(response.status_code, content, False, until_close), b""
    assert isinstance(event, h11.EndOfMessage)
    return Answer(response.status_code, content, True, until_close), client.trailing_data[0]


STEPS = tuple(Step)

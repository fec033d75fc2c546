"""The life of a connection: its states, what moves it from one to the next, and how long it may stay.

                       RECEIVED        REQUEST              ANSWERED
    (accepted) -> IDLE ---------> HEAD --------> ANSWERING ----------> IDLE
                    \\_____________________________/   |   \\
                               REQUEST        LAST |    \\ EARLY            CONTENT_END
                                                   v     ----> DISCARDING -------------> IDLE
                    LAST from every live state:  CLOSING -- LOST --> CLOSED

Rule 1: what a connection is doing is its State and nothing else; there are no flags beside it that tell the same.
Rule 2: every change goes through ``after``. A pair that the table does not have is a bug, and is raised.
Rule 3: every live state has one deadline (``deadlines``). It is a number on the connection, pushed forward by
progress, and looked at once a second: no timer for a connection or a request.
"""

from enum import IntEnum

from aiowsgi.config import Timeouts


class State(IntEnum):
    IDLE = 0  # nothing of a next request has come
    HEAD = 1  # a part of a head has come
    ANSWERING = 2  # a request is being read to its end, waits for a thread, or is being answered
    DISCARDING = 3  # answered in full, but the request's content is still coming
    CLOSING = 4  # the last answer is being sent, or was; what still comes is thrown away
    CLOSED = 5


class Event(IntEnum):
    RECEIVED = 0  # bytes that are no whole head yet
    REQUEST = 1  # a whole head
    ANSWERED = 2  # the whole answer was given to the transport, and the request has been read to its end
    EARLY = 3  # the whole answer was given to the transport, and the request has not been read to its end
    CONTENT_END = 4  # the request that was answered early has been read to its end
    LAST = 5  # no further request will be read
    LOST = 6  # the transport is gone


_TABLE: dict[State, dict[Event, State]] = {
    State.IDLE: {
        Event.RECEIVED: State.HEAD,
        Event.REQUEST: State.ANSWERING,
        Event.LAST: State.CLOSING,
        Event.LOST: State.CLOSED,
    },
    State.HEAD: {
        Event.RECEIVED: State.HEAD,
        Event.REQUEST: State.ANSWERING,
        Event.LAST: State.CLOSING,
        Event.LOST: State.CLOSED,
    },
    State.ANSWERING: {
        Event.ANSWERED: State.IDLE,
        Event.EARLY: State.DISCARDING,
        Event.LAST: State.CLOSING,
        Event.LOST: State.CLOSED,
    },
    State.DISCARDING: {
        Event.CONTENT_END: State.IDLE,
        Event.LAST: State.CLOSING,
        Event.LOST: State.CLOSED,
    },
    State.CLOSING: {
        Event.LOST: State.CLOSED,
    },
    State.CLOSED: {},
}

# The table as tuples, for a look-up without hashing: this is walked twice a request.
_AFTER = tuple(tuple(_TABLE[state].get(event) for event in Event) for state in State)


def after(state: State, event: Event) -> State:
    """Return the state that ``event`` leads to. Raises RuntimeError where the table has none."""
    following = _AFTER[state][event]
    if following is None:
        raise RuntimeError(f"a connection that is {state.name} cannot see {event.name}")
    return following


def seconds_per_byte(timeouts: Timeouts) -> float:
    """Return by how much each byte of content that comes or is taken puts off the deadline.

    Never further than one transfer timeout from then on. So a client may pause for that long, and one that is
    slower than the least rate has its deadline come closer, however it drips.
    """
    return 1 / timeouts.min_rate if timeouts.min_rate else timeouts.transfer


def deadlines(timeouts: Timeouts) -> tuple[float, ...]:
    """Return how many seconds without progress each State may last, in the order of the states."""
    return (
        timeouts.keep_alive,
        timeouts.head,
        timeouts.transfer,
        timeouts.transfer,
        timeouts.linger,
        float("inf"),
    )

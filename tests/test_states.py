"""Every pair of a state and an event, and every deadline."""

from itertools import product

import pytest

from aiowsgi.config import Timeouts
from aiowsgi.http.states import Event, State, after, deadlines

# All that can happen. Whatever is not here must raise.
CHANGES = {
    (State.IDLE, Event.RECEIVED): State.HEAD,
    (State.IDLE, Event.REQUEST): State.ANSWERING,
    (State.IDLE, Event.LAST): State.CLOSING,
    (State.IDLE, Event.LOST): State.CLOSED,
    (State.HEAD, Event.RECEIVED): State.HEAD,
    (State.HEAD, Event.REQUEST): State.ANSWERING,
    (State.HEAD, Event.LAST): State.CLOSING,
    (State.HEAD, Event.LOST): State.CLOSED,
    (State.ANSWERING, Event.ANSWERED): State.IDLE,
    (State.ANSWERING, Event.EARLY): State.DISCARDING,
    (State.ANSWERING, Event.LAST): State.CLOSING,
    (State.ANSWERING, Event.LOST): State.CLOSED,
    (State.DISCARDING, Event.CONTENT_END): State.IDLE,
    (State.DISCARDING, Event.LAST): State.CLOSING,
    (State.DISCARDING, Event.LOST): State.CLOSED,
    (State.CLOSING, Event.LOST): State.CLOSED,
}


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)), ids=lambda value: value.name)
def test_each_event_leads_where_it_should_or_is_a_bug(state: State, event: Event) -> None:
    following = CHANGES.get((state, event))
    if following is None:
        with pytest.raises(RuntimeError, match=f"{state.name} cannot see {event.name}"):
            after(state, event)
    else:
        assert after(state, event) is following


def test_every_state_but_the_last_ends_when_the_transport_is_gone() -> None:
    assert {after(state, Event.LOST) for state in State if state != State.CLOSED} == {State.CLOSED}


def test_every_live_state_has_the_deadline_that_its_setting_says() -> None:
    timeouts = Timeouts(keep_alive=1, head=2, transfer=3, linger=4, graceful=5)
    assert dict(zip(State, deadlines(timeouts), strict=True)) == {
        State.IDLE: 1,
        State.HEAD: 2,
        State.ANSWERING: 3,
        State.DISCARDING: 3,
        State.CLOSING: 4,
        State.CLOSED: float("inf"),
    }


def test_a_connection_reads_heads_in_the_states_before_answering_only() -> None:
    # The connection compares states with <= and relies on this order.
    assert list(State) == sorted(State)
    assert [state for state in State if state <= State.HEAD] == [State.IDLE, State.HEAD]

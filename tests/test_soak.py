"""Some seconds of the soak that ``python -m tests.soak`` runs for long."""

from tests.soak.run import soak
from tests.soak.visits import VISITS


def test_clients_that_die_anywhere_leave_nothing() -> None:
    report = soak(seconds=4, clients=16, first=2)
    assert report.wrong == []
    assert report.left == []
    assert report.died
    assert report.visits.keys() <= {visit.__name__ for visit in VISITS}
    assert report.visits.total() > 50

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.model import Failure, Interface
from check_portcheck.outcome import Counts, Outcome
from unit.samples import HERE, LOOPBACK, SIX, outcome, report, service, unanswered

BOTH = Interface("192.0.2.7", "eth0", 2, "eth0", chosen=("192.0.2.7", "eth0"))
"""An address that was chosen twice: by itself and by its device."""
OTHER = Interface("192.0.2.8", "eth0", 2, "eth0", chosen=("eth0",))


def test_counts_are_kept_per_chosen_name() -> None:
    of = report(
        service("22/tcp", BOTH),
        service("80/tcp", LOOPBACK, BOTH),
        interfaces=(LOOPBACK, BOTH),
        unanswered=(unanswered("400-499/tcp", BOTH),),
        failures=(Failure("device eth7 does not exist", "eth7"),),
    )
    counts = outcome(of, "required * 22/tcp", "required eth0 25/tcp").counts()
    assert counts == {
        "127.0.0.1": Counts(open=1, unexpected=1, missing=1, unverified=0),
        "192.0.2.7": Counts(open=2, unexpected=1, missing=1, unverified=1),
        "eth0": Counts(open=2, unexpected=1, missing=1, unverified=1),
        "eth7": Counts(0, 0, 0, 0),
    }
    assert list(counts) == ["127.0.0.1", "192.0.2.7", "eth0", "eth7"]


def test_a_name_counts_a_service_once_on_however_many_interfaces() -> None:
    of = report(
        service("80/tcp", BOTH, OTHER),
        service("81/tcp", BOTH),
        service("81/tcp", OTHER),
        service("22/tcp", OTHER),
        interfaces=(BOTH, OTHER),
    )
    assert outcome(of, "optional * 22/tcp", "required * 25/tcp").counts() == {
        "192.0.2.7": Counts(open=2, unexpected=2, missing=1, unverified=0),
        "eth0": Counts(open=3, unexpected=2, missing=1, unverified=0),
    }


def test_what_is_required_of_what_is_not_here_counts_under_the_first_name() -> None:
    of = report(interfaces=(LOOPBACK, BOTH))
    counts = outcome(of, "required 192.0.2.99 25/tcp").counts()
    assert {name: count.unverified for name, count in counts.items()} == {
        "127.0.0.1": 1,
        "192.0.2.7": 0,
        "eth0": 0,
    }


def test_an_absent_name_that_was_chosen_otherwise_too_is_counted_once() -> None:
    of = report(service("80/tcp"), failures=(Failure("gone", "192.0.2.7"),))
    assert outcome(of).counts() == {"192.0.2.7": Counts(1, 1, 0, 0)}


EVERY = (LOOPBACK, HERE, SIX)
SEEN = st.dictionaries(
    st.sampled_from(["22/tcp", "80/tcp", "53/udp"]),
    st.lists(st.sampled_from(EVERY), min_size=1, unique=True),
)


@given(SEEN)
def test_a_service_counts_as_if_it_were_one_on_each_interface(
    found: dict[str, list[Interface]],
) -> None:
    rules = ("optional * 22/tcp", "required * 53/udp")
    together = [service(port, *interfaces) for port, interfaces in found.items()]
    apart = [service(port, each) for port, interfaces in found.items() for each in interfaces]
    one = outcome(report(*together, interfaces=EVERY), *rules).counts()
    assert one == outcome(report(*apart, interfaces=EVERY), *rules).counts()


def test_a_later_note_comes_behind_the_others_and_changes_nothing_else() -> None:
    of = outcome(report(), notes=("one", "two"))
    noted = of.noted("three")
    assert isinstance(noted, Outcome)
    assert noted.notes == ("one", "two", "three")
    assert noted._replace(notes=of.notes) == of
    assert of.notes == ("one", "two")

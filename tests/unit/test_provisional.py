"""What is told before a run has its result, against a machine that is written out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from check_portcheck.config.settings import Settings
from check_portcheck.model import Look, Method, Registrations, ScanError
from unit.samples import HERE, owned, service
from unit.test_investigation import Written, known, registered, run, said, seen

if TYPE_CHECKING:
    from check_portcheck.outcome import Outcome
    from unit.samples import Seen

BACKDOOR, SSH = service("4444/tcp"), service("22/tcp", owners=(owned("sshd"),))
NOT_PROBED = [
    f"unverified 192.0.2.7:0-65535/{protocol}: unanswered: not probed yet"
    for protocol in ("tcp", "udp")
]


class Listener:
    """What a run told, by its steps."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, list[str] | None]] = []

    def __call__(self, step: str, outcome: Outcome | None) -> None:
        assert outcome is None or outcome.unfinished
        self.steps.append((step, outcome and [said(each) for each in outcome.verdict.findings]))


def told(
    machine: Written, *rules: str, settings: Settings | None = None
) -> list[tuple[str, list[str] | None]]:
    """The steps of a run, each with the findings that were told before it, where they were new."""
    listener = Listener()
    run(machine, *rules, settings=settings, tell=listener)
    return listener.steps


def test_where_all_is_well_nothing_is_put_into_words() -> None:
    found = seen(SSH)
    assert told(Written(found, glance=found), "optional * 22/tcp") == [
        ("looking at the ports", None),
        ("looking up what is behind it", None),
    ]


def test_what_is_found_is_told_as_soon_as_it_is() -> None:
    listed, whole = seen(BACKDOOR), seen(BACKDOOR, service("80/tcp", no_socket=True))
    machine = Written(whole, whole, owners=known(BACKDOOR), glance=listed)
    found = ["unexpected 192.0.2.7:80/tcp", "unexpected 192.0.2.7:4444/tcp"]
    assert told(machine) == [
        ("looking at the ports", sorted(["unexpected 192.0.2.7:4444/tcp", *NOT_PROBED], key=order)),
        ("looking again", found),
        ("looking up what is behind it", None),
    ]


def order(text: str) -> tuple[str, int]:
    """By protocol and number, as findings are."""
    port = text.split(":")[1]
    return port.partition("/")[2], int(port.partition("/")[0].partition("-")[0])


def test_what_is_gone_in_the_second_look_is_taken_back() -> None:
    found = seen(BACKDOOR)
    assert told(Written(found, seen(), glance=found))[-1] == ("looking up what is behind it", [])


@pytest.mark.parametrize("method", [Method.TABLE, Method.FULL])
def test_what_is_found_is_told_before_a_portmapper_is_asked(method: Method) -> None:
    found = seen(BACKDOOR)
    machine = Written(
        *(found, found),
        registrations={HERE: [Registrations()]},
        owners=known(BACKDOOR),
        glance=found,
    )
    steps = told(machine, "required * nfs/tcp", settings=Settings(method=method))
    step, findings = steps[0]
    assert step == "asking the portmapper"
    assert findings
    assert "unexpected 192.0.2.7:4444/tcp" in findings
    assert "unverified 192.0.2.7:nfs/tcp: not asked yet" in findings
    assert not [each for each in findings if each.startswith("missing")]
    step, findings = steps[1]
    assert step == "looking at the ports"
    assert findings
    assert "missing 192.0.2.7:nfs/tcp: not registered" in findings


def test_a_program_whose_portmapper_answers_is_no_finding_any_more() -> None:
    found = seen(service("2049/tcp"))
    machine = Written(found, registrations={HERE: [registered(nfs=2049)]}, glance=found)
    steps = told(machine, "required * nfs/tcp")
    assert [step for step, _ in steps[:2]] == ["asking the portmapper", "looking at the ports"]
    assert steps[1][1] == NOT_PROBED


def test_without_a_look_at_the_table_nothing_is_known_at_first() -> None:
    found = seen(BACKDOOR)
    machine = Written(found, found, owners=known(BACKDOOR), glance=None)
    assert told(machine, settings=Settings(method=Method.PROBE)) == [
        ("looking at the ports", None),
        ("looking again", ["unexpected 192.0.2.7:4444/tcp"]),
        ("looking up what is behind it", None),
    ]


def test_a_backdoor_is_told_before_owners_are_looked_for() -> None:
    found = seen(BACKDOOR, SSH)
    machine = Written(found, found, owners=known(BACKDOOR, SSH), glance=None)
    steps = told(machine, "optional * 22/tcp@sshd", settings=Settings(method=Method.TABLE))
    owner = "owner not determined (not looked up yet), expected sshd"
    assert steps == [
        (
            "looking for owners",
            [f"unverified 192.0.2.7:22/tcp: {owner}", "unexpected 192.0.2.7:4444/tcp"],
        ),
        ("looking again", ["unexpected 192.0.2.7:4444/tcp"]),
        ("looking up what is behind it", None),
    ]


def test_owners_are_looked_for_before_ports_are_probed() -> None:
    wrong = service("22/tcp", owners=(owned("nc"),))
    found = seen(wrong)
    machine = Written(found, found, owners=known(wrong), glance=found)
    steps = told(machine, "optional * 22/tcp@sshd")
    finding = "unexpected 192.0.2.7:22/tcp: owner nc, expected sshd"
    assert steps[0] == ("looking for owners", None)
    assert steps[1][0] == "looking at the ports"
    assert finding in (steps[1][1] or ())
    assert ("looking again", [finding]) in steps
    assert len(machine.asked_owners) == 2  # before the first look and, of what was found, after


def test_a_required_port_is_not_missing_before_it_was_probed() -> None:
    found = seen(BACKDOOR)
    steps = told(Written(found, found, owners=known(BACKDOOR), glance=found), "required * 80/tcp")
    first, second = (findings or [] for _, findings in steps[:2])
    assert "unverified 192.0.2.7:80/tcp: unanswered: not probed yet" in first
    assert "missing 192.0.2.7:80/tcp" in second


@pytest.mark.parametrize("other", [(), (BACKDOOR,)])
def test_a_port_for_clients_is_not_unexpected_at_first_sight(other: tuple[Seen, ...]) -> None:
    found = seen(*other, service("40000/udp"))
    machine = Written(found, *[seen(*other)] * 9, owners=known(BACKDOOR), glance=found)
    steps = dict(told(machine))
    perhaps = "unverified 192.0.2.7:40000/udp: not looked at for long, may be a client's"
    backdoor = ["unexpected 192.0.2.7:4444/tcp"] * len(other)
    assert steps["looking again"] == [*backdoor, perhaps]
    assert (steps["looking at the ports"] is None) == (not other)
    assert steps["looking up what is behind it"] == backdoor


def test_a_table_that_takes_long_leaves_as_long_again_for_what_comes_after_the_ports() -> None:
    """As one of 60,000 sockets does: all of it is read and judged again."""
    found = seen(BACKDOOR)
    at_once = Written(found, found, owners=known(BACKDOOR), glance=found)
    slow = Written(found, found, owners=known(BACKDOOR), glance=found, glance_takes=1.0)
    for machine in (at_once, slow):
        run(machine, seconds=20.0)
    assert at_once.asked[0].seconds - slow.asked[0].seconds == pytest.approx(1.0 + 2 * 1.0)


def test_what_was_known_before_a_failure_was_told() -> None:
    found = seen(BACKDOOR)
    listener = Listener()
    with pytest.raises(ScanError):
        run(Written(found, ScanError("a worker failed"), glance=found), tell=listener)
    assert listener.steps[-1] == ("looking again", ["unexpected 192.0.2.7:4444/tcp"])


def test_nothing_was_known_where_the_table_cannot_be_read() -> None:
    listener = Listener()
    with pytest.raises(ScanError):
        run(Written(ScanError("netlink"), glance=Look(())), tell=listener)
    assert listener.steps == [("looking at the ports", None)]

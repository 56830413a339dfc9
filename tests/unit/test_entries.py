"""What is one incident, and what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.model import Endpoint, Owner
from check_portcheck.policy.verdict import FindingKind
from check_portcheck.report.entries import Entry, Subject, entries, told
from check_portcheck.report.wording import Wording
from unit.samples import (
    HERE,
    LOOPBACK,
    NAMES,
    SIX,
    Seen,
    outcome,
    owned,
    process,
    registration,
    report,
    service,
    unanswered,
)

if TYPE_CHECKING:
    from check_portcheck.model import Report

EVERY = (HERE, LOOPBACK)
NC = owned("nc", user="games")
SAME = Owner("games", (process("nc", 30590, "games"),))


def found(of: Report, kind: FindingKind, *rules: str) -> list[Entry]:
    findings = outcome(of, *rules).verdict.findings
    return entries(of, (Subject.found(each) for each in findings if each.kind is kind))


def unexpected(*seen: Seen) -> list[str]:
    of = report(*seen, interfaces=EVERY)
    words = Wording(of, NAMES)
    return [words.entry(each, 4) for each in found(of, FindingKind.UNEXPECTED)]


def by(owner: Owner, *ports: str, where: tuple[object, ...] = EVERY) -> list[Seen]:
    return [service(port, *where, owners=(owner,)) for port in ports]  # type: ignore[arg-type]


def test_ports_of_one_process_are_one_entry_and_few_ports_come_first() -> None:
    decoys = by(SAME, *(f"{n}/tcp" for n in (*range(20000, 20200), 45678)))
    real = by(owned("sh", user="root"), "4444/tcp")
    assert unexpected(*decoys[:100], *real, *decoys[100:]) == [
        "*:4444/tcp sh[4711] user root",
        "*:20000-20199,45678/tcp nc[30590] user games",
    ]


def test_both_protocols_are_one_entry() -> None:
    names = by(SAME, "53/tcp", "53/udp")
    assert unexpected(*names) == ["*:53/tcp,53/udp nc[30590] user games"]


def test_a_name_is_told_where_all_ports_have_it() -> None:
    assert unexpected(*by(SAME, "22/tcp", "8080/tcp")) == ["*:22,8080/tcp nc[30590] user games"]
    assert unexpected(*by(SAME, "22/tcp")) == ["*:22/tcp (maybe_ssh) nc[30590] user games"]
    both = [service(port, *EVERY, rpc=("nfs",)) for port in ("2049/tcp", "2049/udp")]
    assert unexpected(*both) == ["*:2049/tcp,2049/udp (nfs)"]


def test_what_a_rule_allows_is_told_by_its_program() -> None:
    seen = [service("1/tcp", rpc=("nfs",)), service("2/tcp", rpc=("mountd",)), service("3/tcp")]
    of = report(*seen)
    allowed = [Subject.allowed(each) for each in outcome(of).verdict.judged]
    assert [len(each.items) for each in entries(of, allowed, by_program=True)] == [1, 1, 1]
    assert [len(each.items) for each in entries(of, allowed)] == [3]


def test_sockets_of_one_process_at_each_address_are_one_entry() -> None:
    apart = [*by(NC, "80/tcp", where=(LOOPBACK,)), *by(NC, "80/tcp", where=(HERE,))]
    assert unexpected(*apart) == ["*:80/tcp nc[4711] user games"]


def test_other_processes_and_other_places_are_other_entries() -> None:
    assert unexpected(
        *by(NC, "1/tcp", "2/tcp"), *by(SAME, "3/tcp"), *by(NC, "4/tcp", where=(HERE,))
    ) == [
        "*:3/tcp nc[30590] user games",
        "192.0.2.7:4/tcp nc[4711] user games",
        "*:1-2/tcp nc[4711] user games",
    ]


def test_without_a_socket_what_is_alike_is_one_entry() -> None:
    hidden = [service(f"{n}/tcp", *EVERY, no_socket=True) for n in (1, 2, 9)]
    forwarded = service("5/tcp", *EVERY, no_socket=True, forwarded=Endpoint("172.17.0.2", 80))
    assert unexpected(*hidden, forwarded) == [
        "*:5/tcp forwarded to 172.17.0.2:80",
        "*:1-2,9/tcp no socket",
    ]


def test_each_missing_service_is_a_fault_of_its_own() -> None:
    of = report(interfaces=EVERY)
    missing = found(of, FindingKind.MISSING, "required * 25/tcp", "required * 80/tcp")
    assert [len(each.items) for each in missing] == [1, 1]


def test_stretches_without_an_answer_are_one_entry() -> None:
    of = report(unanswered=(unanswered("400-499/tcp"), unanswered("7/udp")))
    (entry,) = found(of, FindingKind.UNVERIFIED)
    assert Wording(of, NAMES).entry(entry, 4) == "192.0.2.7:400-499/tcp,7/udp: unanswered"
    assert entry.size == 101


def test_a_service_is_cut_where_other_programs_are_registered() -> None:
    of = report(
        service("80/tcp", HERE, SIX, LOOPBACK),
        interfaces=(HERE, SIX, LOOPBACK),
        registered=(registration("80/tcp", "nfs", SIX),),
    )
    words = Wording(of, NAMES)
    assert [words.entry(each, 4) for each in found(of, FindingKind.UNEXPECTED)] == [
        "0.0.0.0/0:80/tcp",
        "[2001:db8::7]:80/tcp (nfs)",
    ]


def test_a_service_that_is_told_twice_counts_once() -> None:
    of = report(
        *by(NC, "80/tcp", where=(LOOPBACK,)),
        *by(SAME, "80/tcp", "81/tcp", where=(HERE,)),
        interfaces=EVERY,
    )
    counted = [number for number, _ in told(found(of, FindingKind.UNEXPECTED))]
    assert counted == [1, 1]


@pytest.mark.parametrize("most", [1, 4])
@given(
    st.dictionaries(
        st.sampled_from([f"{n}/{p}" for n in range(1, 9) for p in ("tcp", "udp")]),
        st.tuples(st.sampled_from([NC, SAME]), st.sampled_from([EVERY, (HERE,), (LOOPBACK,)])),
    )
)
def test_every_port_is_in_an_entry_of_its_owner_at_its_place(
    most: int, of: dict[str, tuple[Owner, tuple[object, ...]]]
) -> None:
    seen = [by(owner, port, where=where)[0] for port, (owner, where) in of.items()]
    whole = report(*seen, interfaces=EVERY)
    spots = [
        (str(item), entry.owners, entry.interfaces)
        for entry in found(whole, FindingKind.UNEXPECTED)
        for item in entry.items
    ]
    assert sorted(map(str, spots)) == sorted(
        str((port, (owner,), where)) for port, (owner, where) in of.items()
    )
    assert all(Wording(whole, NAMES).entry(e, most) for e in found(whole, FindingKind.UNEXPECTED))

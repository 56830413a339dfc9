from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.model import Endpoint, Owner, Process, Unseen
from check_portcheck.policy.verdict import Finding, FindingKind, Judged
from check_portcheck.report.entries import Subject, entries
from check_portcheck.report.wording import (
    Wording,
    clean,
    number_of,
    owner_text,
    ports_text,
    reason_lines,
    rule_text,
    short,
)
from unit.samples import (
    HERE,
    NAMES,
    Seen,
    item,
    owned,
    port,
    report,
    rule,
    service,
)

if TYPE_CHECKING:
    from check_portcheck.model import Report

WORDING = Wording(report(), NAMES)
"""The words where nothing is known but names."""


def wording(of: Seen) -> Wording:
    """The words for what a report shows of a service."""
    return Wording(report(of), NAMES)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sshd", "sshd"),
        ("caf\u00e9 \u4e2d\u6587", "caf\u00e9 \u4e2d\u6587"),
        ("a|b", "a?b"),
        ("a\nb\r\x00\x1b[31m\x7f\x9b", "a?b???[31m??"),
        ("\u202eevil\u2066\u200b\ufeff\u2028", "?evil????"),
        (b"\xff\xfe".decode(errors="surrogateescape"), "??"),
        ("\ud800\U000e0001\U0010ffff\ue000", "????"),
    ],
)
def test_foreign_text_is_cleaned(text: str, shown: str) -> None:
    assert clean(text) == shown


@given(st.text(st.characters()))
def test_what_is_clean_can_be_printed_anywhere(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) == len(text)
    assert not {"|", "\n", "\r", "\0"} & set(cleaned)
    assert {unicodedata.category(char)[0] for char in cleaned} <= set("LMNPSZ")
    assert cleaned.encode().decode() == cleaned
    assert clean(cleaned) == cleaned


@given(st.text(st.characters()), st.integers(4, 30))
def test_short_text_has_its_length(text: str, longest: int) -> None:
    cut = short(text, longest)
    assert len(cut) <= longest
    assert cut == clean(text) or (cut.endswith("...") and clean(text).startswith(cut[:-3]))


def test_short_text_is_kept_up_to_its_length() -> None:
    assert short("x" * 120) == "x" * 120
    assert short("x" * 121) == "x" * 117 + "..."


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (service("22/tcp"), "maybe_ssh"),
        (service("22/udp"), None),
        (service("23/tcp"), None),
        (service("22/tcp", rpc=("nfs",)), "nfs"),
        (service("2049/tcp", rpc=("nfs", "mountd")), "nfs/mountd"),
    ],
)
def test_the_name_of_a_service(found: Seen, name: str | None) -> None:
    assert wording(found).service_name(found.service) == name


@pytest.mark.parametrize(
    ("owner", "text"),
    [
        (Owner(), ""),
        (Owner("www-data"), " user www-data"),
        (Owner("www-data", unseen=Unseen.NOT_ROOT), " user www-data"),
        (Owner("root", kernel=True), " kernel"),
        (owned("sshd"), " sshd[4711] user root"),
        (owned("nginx", "nginx"), " nginx[4711] and 1 more user root"),
        (owned("nginx", "nginx", "nginx"), " nginx[4711] and 2 more user root"),
        (owned("x" * 40), f" {'x' * 40}[4711] user root"),
        (owned("x" * 41), f" {'x' * 37}...[4711] user root"),
        (Owner("root", (Process(7, "a b|c\n", None),)), " a b?c?[7]"),
        (Owner("0", (Process(7, "x" * 99, None, user="u" * 999),)), None),
    ],
)
def test_an_owner(owner: Owner, text: str | None) -> None:
    told = owner_text(owner)
    assert told == text if text is not None else len(told) < 200


def test_an_interpreter_is_named_with_its_script() -> None:
    command = ("python3", "-u", "/srv/app.py", "--port", "8080")
    process = Process(4711, "python3", "/usr/bin/python3.11", command, "www-data")
    assert owner_text(Owner("www-data", (process,))) == (" python3[4711] /srv/app.py user www-data")


FOREIGN = st.text(st.characters()) | st.sampled_from(["python3", "/bin/sh", "-c", "|", "\n\x1b"])


@given(FOREIGN, FOREIGN, st.lists(FOREIGN, max_size=4))
def test_any_owner_is_told_in_clean_words(name: str, executable: str, command: list[str]) -> None:
    process = Process(7, name, executable, tuple(command), name, deleted=True)
    words = owner_text(Owner(name, (process,)))
    assert clean(words) == words
    assert len(words) < 300


def told(of: Report, *subjects: Subject, most: int = 4) -> list[str]:
    """What is told of some subjects in the words of a report."""
    words = Wording(of, NAMES)
    return [words.entry(each, most) for each in entries(of, subjects)]


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (service("8080/tcp"), "8080/tcp (maybe_http-alt)"),
        (
            service("8080/tcp", owners=(owned("java"),)),
            "8080/tcp (maybe_http-alt) java[4711] user root",
        ),
        (
            service("9/udp", owners=(owned("a"), owned("b"), owned("a"))),
            "9/udp a[4711] user root, b[4711] user root",
        ),
        (service("9/tcp", no_socket=True), "9/tcp no socket"),
        (
            service("9/tcp", no_socket=True, forwarded=Endpoint("172.17.0.2", 80)),
            "9/tcp forwarded to 172.17.0.2:80",
        ),
        (service("2049/tcp", rpc=("nfs",), owners=(Owner(kernel=True),)), "2049/tcp (nfs) kernel"),
    ],
)
def test_a_service(found: Seen, text: str) -> None:
    of = report(found)
    judged = Judged(found.service, rule("optional * 1/tcp"))
    assert told(of, Subject.allowed(judged)) == [f"192.0.2.7:{text}, optional by optional * 1/tcp"]


SSH = service("22/tcp")
REQUIRED = rule("required * 22/tcp")
ABSENT = rule("required fe80::1%x|y 22/tcp")


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        (
            Finding(FindingKind.UNEXPECTED, (HERE,), item("22/tcp"), SSH.service),
            "192.0.2.7:22/tcp (maybe_ssh)",
        ),
        (
            Finding(FindingKind.UNEXPECTED, (HERE,), item("22/tcp"), SSH.service, None, "a|b"),
            "192.0.2.7:22/tcp (maybe_ssh): a?b",
        ),
        (
            Finding(FindingKind.UNEXPECTED, (HERE,), item("22/tcp"), None, None, "x" * 200),
            f"192.0.2.7:22/tcp (maybe_ssh): {'x' * 200}",
        ),
        (
            Finding(FindingKind.UNEXPECTED, (HERE,), item("22/tcp"), None, None, "x" * 201),
            f"192.0.2.7:22/tcp (maybe_ssh): {'x' * 197}...",
        ),
        (
            Finding(FindingKind.MISSING, (HERE,), item("22/tcp"), None, REQUIRED),
            "192.0.2.7:22/tcp (maybe_ssh), required by required * 22/tcp",
        ),
        (
            Finding(
                FindingKind.MISSING, (HERE,), item("nfs/tcp"), None, REQUIRED, "not registered"
            ),
            "192.0.2.7:nfs/tcp: not registered, required by required * 22/tcp",
        ),
        (
            Finding(FindingKind.UNVERIFIED, (HERE,), item("1-9/tcp"), None, None, "unanswered"),
            "192.0.2.7:1-9/tcp: unanswered",
        ),
        (
            Finding(FindingKind.UNVERIFIED, (), item("22/tcp"), None, ABSENT, "is absent"),
            "[fe80::1%x?y]:22/tcp (maybe_ssh): is absent, required by required fe80::1%x?y 22/tcp",
        ),
    ],
)
def test_a_finding(finding: Finding, text: str) -> None:
    assert told(report(), Subject.found(finding)) == [text]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("required * 22/tcp", "required"),
        ("optional * 22/tcp", "optional"),
        ("ignore * 22/tcp", "ignored"),
    ],
)
def test_a_service_that_a_rule_allows(text: str, kind: str) -> None:
    judged = Judged(SSH.service, rule(text))
    assert told(report(), Subject.allowed(judged)) == [
        f"192.0.2.7:22/tcp (maybe_ssh), {kind} by {text}"
    ]


@pytest.mark.parametrize(
    ("items", "text"),
    [
        (["22/tcp"], "22/tcp"),
        (["53/udp", "53/tcp"], "53/tcp,53/udp"),
        (["81/tcp", "80/tcp", "443/tcp"], "80-81,443/tcp"),
        (["9/tcp", "7/tcp", "5/tcp", "3/tcp"], "3,5,7,9/tcp"),
        (["9/tcp", "7/tcp", "5/tcp", "3/tcp", "20-29/tcp", "1/udp"], "3,5,7,9,10 more/tcp,1/udp"),
        (["1-9/tcp", "5-20/tcp", "21/tcp"], "1-21/tcp"),
        (["nfs/tcp", "22/tcp"], "nfs/tcp,22/tcp"),
    ],
)
def test_ports_that_follow_each_other_are_one_stretch(items: list[str], text: str) -> None:
    assert ports_text(map(item, items), 4) == text


def test_a_program_whose_file_is_gone_is_marked() -> None:
    command = ("python3", "/srv/app.py")
    gone = Process(4711, "python3", "/usr/bin/python3", command, "www-data", deleted=True)
    assert owner_text(Owner("www-data", (gone,))) == (
        " python3[4711] (deleted) /srv/app.py user www-data"
    )


def test_a_port_is_not_named_for_another_protocol() -> None:
    assert WORDING.port_name(port("8080/udp")) is None


def test_a_rule_with_its_source() -> None:
    assert rule_text(rule("optional * 22/tcp@sshd")) == "*:22/tcp@sshd, optional * 22/tcp@sshd"
    assert rule_text(REQUIRED._replace(source="a|b:7")) == "*:22/tcp, a?b:7"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 ports"), (1, "1 port"), (2, "2 ports"), (1000, "1000 ports")]
)
def test_a_number_of_things(count: int, text: str) -> None:
    assert number_of(count, "port") == text


def test_a_number_of_what_has_another_plural() -> None:
    assert number_of(1, "address", "addresses") == "1 address"
    assert number_of(2, "address", "addresses") == "2 addresses"


@pytest.mark.parametrize(
    ("reason", "lines"),
    [
        ("", ["no reason given"]),
        ("one", ["one"]),
        ("one|\ntwo\x07\nthree", ["one?", "two?", "three"]),
        ("0123456789abcde", ["0123456789abcde"]),
        ("0123456789abcdef\nb", ["0123456789ab...", "0123456789abcdef", "b"]),
    ],
)
def test_the_lines_of_a_reason(reason: str, lines: list[str]) -> None:
    assert reason_lines(reason, 15) == lines

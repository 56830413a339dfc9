from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.judgement import Finding, FindingKind, Judged
from check_portcheck.model import Owner, Process
from check_portcheck.wording import (
    clean,
    finding_text,
    folded,
    judged_text,
    owner_text,
    port_name,
    service_text,
    short,
)
from unit.samples import ALIAS, HERE, LOOPBACK, SIX, item, names, owned, port, rule, service

if TYPE_CHECKING:
    from pathlib import Path

    from check_portcheck.model import OpenService
    from check_portcheck.names import Names


@pytest.fixture(name="known")
def known_fixture(tmp_path: Path) -> Names:
    return names(tmp_path)


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
def test_the_name_of_a_service(known: Names, found: OpenService, name: str | None) -> None:
    assert port_name(found.port, found, known) == name


@pytest.mark.parametrize(
    ("owner", "text"),
    [
        (Owner(), ""),
        (Owner("www-data"), " user www-data"),
        (Owner("www-data", unseen="not root"), " user www-data"),
        (Owner("root", kernel=True), " kernel"),
        (owned("sshd"), " sshd[4711] user root"),
        (owned("nginx", "nginx", "nginx"), " nginx[4711] and 2 more user root"),
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
        (service("9/tcp", no_socket=True, forwarded=True), "9/tcp forwarded"),
        (service("2049/tcp", rpc=("nfs",), owners=(Owner(kernel=True),)), "2049/tcp (nfs) kernel"),
    ],
)
def test_a_service(known: Names, found: OpenService, text: str) -> None:
    assert service_text(found, known) == text


REQUIRED = rule("required * 22/tcp")


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        (
            Finding(FindingKind.UNEXPECTED, HERE, item("22/tcp"), service("22/tcp")),
            "22/tcp (maybe_ssh)",
        ),
        (
            Finding(FindingKind.UNEXPECTED, HERE, item("22/tcp"), service("22/tcp"), None, "a|b"),
            "22/tcp (maybe_ssh): a?b",
        ),
        (
            Finding(FindingKind.MISSING, HERE, item("22/tcp"), None, REQUIRED),
            "22/tcp (maybe_ssh), required by required * 22/tcp",
        ),
        (
            Finding(FindingKind.MISSING, HERE, item("nfs/tcp"), None, REQUIRED, "not registered"),
            "nfs/tcp: not registered, required by required * 22/tcp",
        ),
        (
            Finding(FindingKind.UNVERIFIED, HERE, item("1-9/tcp"), None, None, "unanswered"),
            "1-9/tcp: unanswered",
        ),
    ],
)
def test_a_finding(known: Names, finding: Finding, text: str) -> None:
    assert finding_text(finding, known) == text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("required * 22/tcp", "required"),
        ("optional * 22/tcp", "optional"),
        ("ignore * 22/tcp", "ignored"),
    ],
)
def test_a_service_that_a_rule_allows(known: Names, text: str, kind: str) -> None:
    judged = Judged(service("22/tcp"), rule(text))
    assert judged_text(judged, known) == f"22/tcp (maybe_ssh), {kind} by {text}"


def test_entries_that_differ_in_the_interface_are_one() -> None:
    entries = [
        (HERE, "80/tcp"),
        (HERE, "22/tcp"),
        (LOOPBACK, "80/tcp"),
        (SIX, "80/tcp"),
        (ALIAS, "80/tcp"),
    ]
    assert folded(entries, 4) == [
        "{192.0.2.7,127.0.0.1,[2001:db8::7],192.0.2.8}:80/tcp",
        "192.0.2.7:22/tcp",
    ]
    assert folded(entries, 2)[0] == "{192.0.2.7,127.0.0.1,2 more}:80/tcp"
    assert folded([], 2) == []


def test_a_port_is_not_named_for_another_protocol(known: Names) -> None:
    assert port_name(port("8080/udp"), None, known) is None

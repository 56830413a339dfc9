from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from check_portcheck import __version__
from check_portcheck.config.settings import Settings
from check_portcheck.memory.history import Event, History
from check_portcheck.model import (
    Coverage,
    Endpoint,
    Failure,
    Interface,
    Owner,
    Severity,
    State,
    Unseen,
)
from check_portcheck.policy.verdict import Severities
from check_portcheck.report.form import Assessment
from check_portcheck.report.json_object import JsonObject
from unit.samples import HERE, SIX, hostile, outcome, owned, port, registration, report, service

if TYPE_CHECKING:
    from check_portcheck.outcome import Outcome

CRITICAL = Assessment(State.CRITICAL, "the summary", ("unexpected_x=1;;0;0",))


SCHEMA = json.loads((Path(__file__).parents[2] / "docs/json-schema.json").read_text())


def valid(text: str) -> dict[str, Any]:
    """The object in a text, which is as the schema says."""
    answer: dict[str, Any] = json.loads(text)
    jsonschema.Draft202012Validator(SCHEMA).validate(answer)
    return answer


def told(of: Outcome) -> dict[str, Any]:
    """The object for an outcome."""
    return valid(JsonObject().finished(of, CRITICAL)[0])


def test_it_tells_everything() -> None:
    of = report(
        service("22/tcp", owners=(owned("sshd"),)),
        service("80/tcp", SIX, no_socket=True, forwarded=Endpoint("172.17.0.2", 80), owners=()),
        service("2049/tcp", rpc=("nfs",), owners=(Owner(kernel=True),)),
        interfaces=(HERE, SIX),
        failures=(Failure("device eth7 does not exist", "eth7"),),
    )._replace(coverage=Coverage(100, 90, 4, filtered=3, untracked=6, resume=5))
    rules = ("required * 22/tcp", "ignore * nfs/tcp", "optional * 1/tcp")
    text, code = JsonObject().finished(outcome(of, *rules, notes=("a note",)), CRITICAL)
    answer = valid(text)
    assert (code, answer["exit_code"], answer["state"]) == (2, 2, "CRITICAL")
    assert answer["summary"] == "the summary"
    assert (answer["format"], answer["version"]) == (2, __version__)
    assert (answer["method"], answer["protocols"], answer["ports"]) == (
        "full",
        ["tcp", "udp"],
        [0, 65535],
    )
    assert answer["interfaces"] == [
        {"address": "192.0.2.7", "device": "eth0", "chosen": ["192.0.2.7"]},
        {"address": "2001:db8::7", "device": "eth0", "chosen": ["2001:db8::7"]},
    ]
    assert [
        (each["interfaces"], each["port"], each["protocol"], each["verdict"], each["name"])
        for each in answer["services"]
    ] == [
        (["192.0.2.7"], 22, "tcp", "expected", "maybe_ssh"),
        (["192.0.2.7"], 2049, "tcp", "ignored", "nfs"),
        (["2001:db8::7"], 80, "tcp", "unexpected", None),
    ]
    ssh, nfs, web = answer["services"]
    assert ssh["rule"] == {
        "kind": "required",
        "text": "*:22/tcp",
        "source": "required * 22/tcp",
    }
    assert (ssh["evidence"], ssh["no_socket"], ssh["forwarded_to"]) == ("table", False, None)
    assert ssh["owners"][0]["processes"][0] == {
        "pid": 4711,
        "name": "sshd",
        "executable": "/usr/sbin/sshd",
        "command": [],
        "user": "root",
        "started": 1.0,
        "unit": "sshd.service",
        "deleted": False,
    }
    assert (nfs["rpc"], nfs["owners"][0]["kernel"]) == ([{"program": 100003, "name": "nfs"}], True)
    assert (web["rule"], web["evidence"], web["no_socket"], web["forwarded_to"]) == (
        None,
        "probe",
        True,
        {"2001:db8::7": "172.17.0.2:80"},
    )
    missing, unexpected = answer["findings"]
    assert missing == {
        "kind": "missing",
        "interfaces": ["2001:db8::7"],
        "bound": None,
        "item": "22/tcp",
        "service": None,
        "rule": ssh["rule"],
        "reason": None,
        "since": None,
        "since_reason": "no state file",
    }
    about = {name: web[name] for name in unexpected["service"]}
    assert unexpected["service"] == about
    assert (web["owners"], web["owners_reason"]) == (None, "no socket")
    assert answer["failures"] == ["device eth7 does not exist"]
    assert answer["notes"] == ["a note"]
    assert answer["unused_rules"] == [
        {"kind": "optional", "text": "*:1/tcp", "source": "optional * 1/tcp"}
    ]
    assert answer["counts"] == {
        "192.0.2.7": {"open": 2, "unexpected": 0, "missing": 0, "unverified": 0},
        "2001:db8::7": {"open": 1, "unexpected": 1, "missing": 1, "unverified": 0},
        "eth7": {"open": 0, "unexpected": 0, "missing": 0, "unverified": 0},
    }
    assert answer["coverage"] == {
        "ports": 100,
        "probed": 90,
        "looked_up": 4,
        "untracked": 6,
        "filtered": 3,
    }
    assert answer["seconds"] == 1.5


def test_severities_are_those_of_the_settings() -> None:
    settings = Settings(severities=Severities(Severity.WARN, Severity.INFO))
    assert told(outcome(report(), settings=settings))["severity"] == {
        "unexpected": "warn",
        "missing": "info",
    }


def test_a_service_and_a_finding_have_all_their_interfaces() -> None:
    history = History(
        {"192.0.2.7 [2001:db8::7]": {"unexpected 80/tcp": 5.0}},
        (
            Event("closed", (HERE, SIX), (port("25/tcp"),)),
            Event("moved", (HERE,), (port("2/tcp"),), "nfs", (port("1/tcp"),)),
        ),
    )
    of = report(service("80/tcp", HERE, SIX), interfaces=(HERE, SIX))
    answer = told(outcome(of, history=history))
    assert [each["interfaces"] for each in answer["services"]] == [["192.0.2.7", "2001:db8::7"]]
    (finding,) = answer["findings"]
    assert (finding["interfaces"], finding["since"]) == (["192.0.2.7", "2001:db8::7"], 5.0)
    closed, moved = answer["events"]
    assert closed == {
        "what": "closed",
        "interfaces": ["192.0.2.7", "2001:db8::7"],
        "ports": ["25/tcp"],
        "name": None,
        "before": [],
    }
    assert moved == {
        "what": "moved",
        "interfaces": ["192.0.2.7"],
        "ports": ["2/tcp"],
        "name": "nfs",
        "before": ["1/tcp"],
    }


def test_a_service_is_told_apart_where_other_programs_are_registered() -> None:
    of = report(
        service("2049/tcp", HERE, SIX),
        interfaces=(HERE, SIX),
        registered=(registration("2049/tcp", "nfs", SIX),),
    )
    services = told(outcome(of))["services"]
    assert [(each["interfaces"], each["name"], each["rpc"]) for each in services] == [
        (["192.0.2.7"], None, []),
        (["2001:db8::7"], "nfs", [{"program": 100003, "name": "nfs"}]),
    ]


def test_why_owners_are_unknown_is_told() -> None:
    of = report(service("22/tcp", owners=(owned(unseen=Unseen.NOT_ROOT),)))
    (service_told,) = told(outcome(of, "optional * 22/tcp@sshd"))["services"]
    assert service_told["verdict"] == "unverified"
    assert service_told["owners"] == [
        {"user": "root", "kernel": False, "processes": None, "processes_reason": "not root"}
    ]
    assert told(outcome(report(service("22/tcp"))))["services"][0]["owners_reason"] == (
        "not looked up"
    )


def test_programs_that_could_not_be_asked_for_are_null_with_the_reason() -> None:
    (found,) = told(outcome(report(service("22/tcp"), unreachable={HERE: "timed out"})))["services"]
    assert (found["rpc"], found["rpc_reason"]) == (None, "timed out")


def test_what_a_socket_is_bound_to_that_no_scanned_address_reaches() -> None:
    place = Interface("0.0.0.0", "eth2", 4, "0.0.0.0%eth2", chosen=HERE.chosen, scanned=False)
    group = Interface("224.0.0.251", "", 0, "224.0.0.251", chosen=HERE.chosen, scanned=False)
    answer = told(outcome(report(service("53/udp", place), service("5353/udp", group))))
    assert [(each["interfaces"], each["bound"]) for each in answer["services"]] == [
        (["0.0.0.0"], {"address": "0.0.0.0", "device": "eth2"}),
        (["224.0.0.251"], {"address": "224.0.0.251", "device": None}),
    ]


def test_rules_for_what_is_not_here() -> None:
    answer = told(outcome(report(), "required 192.0.2.99 25/tcp", "optional eth7 22/tcp"))
    (finding,) = answer["findings"]
    assert (finding["interfaces"], finding["rule"]["text"]) == ([], "192.0.2.99:25/tcp")
    assert [each["text"] for each in answer["rules_without_effect"]] == ["eth7:22/tcp"]


@pytest.mark.parametrize("state", State)
def test_every_state_is_as_the_schema_says(state: State) -> None:
    text, code = JsonObject().finished(outcome(report()), Assessment(state, "summary", ()))
    assert (valid(text)["state"], code) == (state.name, state)


def test_a_run_that_was_cut_short_tells_why_and_how_much_it_leaves_out() -> None:
    of = outcome(report(*(service(f"{number}/tcp") for number in range(1, 251))))
    assert "left_out" not in told(of)
    form = JsonObject()
    text, _ = form.finished(of._replace(unfinished=True), Assessment(State.CRITICAL, "summary", ()))
    answer = valid(form.cut_short(text, 'a "reason"\n'))
    assert (answer["unfinished"], answer["state"]) == ('a "reason"?', "CRITICAL")
    assert (len(answer["services"]), len(answer["findings"])) == (100, 100)
    assert answer["left_out"] == {"services": 150, "findings": 150}
    assert answer["counts"] == told(of)["counts"]


def test_what_is_not_as_the_schema_says_is_refused() -> None:
    answer = told(outcome(report(service("22/tcp"))))
    for broken in (
        {**answer, "surplus": 1},
        {name: value for name, value in answer.items() if name != "findings"},
        {**answer, "findings": [{**answer["findings"][0], "since": "long"}]},
        {**answer, "services": [{**answer["services"][0], "surplus": 1}]},
    ):
        with pytest.raises(jsonschema.ValidationError):
            valid(json.dumps(broken))


def test_it_is_ascii_and_clean() -> None:
    text, _ = JsonObject().finished(hostile(), CRITICAL)
    assert text.isascii()
    values: list[object] = [valid(text)]
    while values:
        value = values.pop()
        if isinstance(value, dict):
            values += [*value, *value.values()]
        elif isinstance(value, list):
            values += value
        elif isinstance(value, str):
            assert value.isprintable(), value
            assert "|" not in value


def test_unknown_gives_the_reason_and_its_details() -> None:
    text, code = JsonObject().unknown('one | thing\nanother "thing"')
    assert code == 3
    assert valid(text) == {
        "format": 2,
        "version": __version__,
        "state": "UNKNOWN",
        "exit_code": 3,
        "summary": "one ? thing",
        "details": ['another "thing"'],
    }


def test_an_inactive_check_says_so() -> None:
    text, code = JsonObject().inactive()
    assert code == 0
    assert valid(text) == {
        "format": 2,
        "version": __version__,
        "state": "OK",
        "exit_code": 0,
        "summary": "inactive (PortCheckActive = no)",
    }


def test_a_reused_object_tells_its_age() -> None:
    text, _ = JsonObject().finished(outcome(report()), CRITICAL)
    again = JsonObject().reused(text, 1000.0, 120.4, 300)
    assert valid(again) == {**valid(text), "age": 120}

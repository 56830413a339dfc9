"""What verdicts say, in texts that a table of cases can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_portcheck.model import Unseen
from check_portcheck.policy.judgement import judge
from unit.samples import HERE, owned, policy, service

if TYPE_CHECKING:
    from check_portcheck.model import Interface, Owner, Report
    from check_portcheck.policy.verdict import Finding, Verdict
    from unit.samples import Seen

SSH = service("22/tcp")
NOT_ROOT = owned(unseen=Unseen.NOT_ROOT)
NO_PORTMAPPER = {HERE: "portmapper timed out"}


def where(interfaces: tuple[Interface, ...]) -> str:
    """``192.0.2.7``, ``192.0.2.7+127.0.0.1``."""
    return "+".join(map(str, interfaces))


def said(finding: Finding) -> str:
    """``missing 192.0.2.7:22/tcp: reason (rule)``."""
    text = f"{finding.kind} {where(finding.interfaces)}:{finding.item}"
    text += f": {finding.reason}" if finding.reason else ""
    return text + (f" ({finding.rule.source})" if finding.rule else "")


def findings(of: Report, *rules: str) -> list[str]:
    return [said(finding) for finding in judge(of, policy(*rules)).findings]


def allowed(verdict: Verdict) -> list[tuple[str, str | None]]:
    return [
        (
            f"{where(each.service.interfaces)}:{each.service.port}",
            each.rule.source if each.rule else None,
        )
        for each in verdict.judged
    ]


def by(*owners: Owner) -> Seen:
    """A port with a socket of each owner."""
    return service("22/tcp", owners=owners)

"""One run, from settings to text and exit code, with what is remembered between runs."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from check_portcheck import plugin
from check_portcheck.config import owners
from check_portcheck.config.options import effective
from check_portcheck.investigation import investigate
from check_portcheck.kernel import interfaces, processes, sockettable
from check_portcheck.machine import ThisMachine
from check_portcheck.model import State
from check_portcheck.outcome import Task
from check_portcheck.policy.idle import idle
from check_portcheck.policy.rules import Policy
from check_portcheck.report.forms import form_of

if TYPE_CHECKING:
    from check_portcheck.config.settings import Settings
    from check_portcheck.deadline import Deadline
    from check_portcheck.guard import Parent
    from check_portcheck.kernel.selection import Chosen
    from check_portcheck.memory.history import Memory
    from check_portcheck.names import Names
    from check_portcheck.outcome import Outcome
    from check_portcheck.report.form import Answer, Form


def answer(settings: Settings, names: Names, deadline: Deadline, parent: Parent) -> Answer:
    """Text and exit code, at the latest at *deadline*; *parent* is told what is known before.

    Raises InterfaceError where there is nothing to scan.
    """
    form = form_of(settings.format)
    if not settings.active and not settings.check_config:
        return form.inactive()
    memory, trouble, ours = _recall(settings)
    if memory and (age := _age(memory, settings)) is not None:
        text = form.reused(memory.output, memory.taken, age, settings.interval)
        return text, memory.code
    chosen = interfaces.choose(settings.interfaces, settings.devices, official=settings.official)
    policy = Policy(settings.rules)
    if settings.check_config:
        return effective(settings) + _remarks(policy, chosen), State.OK
    return _investigated(
        Task(
            settings=settings,
            policy=policy,
            names=names,
            chosen=chosen,
            ephemeral=sockettable.ephemeral_ports(),
            deadline=deadline,
            notes=(*settings.notes, *chosen.notes, *trouble),
            memory=memory and _comparable(memory, settings),
        ),
        form,
        parent,
        remember=ours,
    )


def _remarks(policy: Policy, chosen: Chosen) -> str:
    """What in the policy can have no effect on this machine now, as comments of a file."""
    users = {name: processes.user_named(name) for name in owners.named(policy.rules)}
    without = [f"{rule}, {rule.source}" for rule in idle(policy.rules, chosen.interfaces)]
    doubtful = owners.doubtful(policy.rules, users, processes.running())
    lines = [f"# no effect now: {each}\n" for each in without]
    return "".join(lines + [f"# doubtful: {each}\n" for each in doubtful])


def _investigated(task: Task, form: Form, parent: Parent, *, remember: bool) -> Answer:
    """What comes of a task, as text and exit code; *remember*: whether the next run may know it."""
    known = _KnownSoFar(task, form, parent)
    resource = plugin.Portcheck(partial(investigate, task, ThisMachine(), known.tell))
    assessment = plugin.assess(resource, task.settings.severities)
    if resource.outcome is None:
        return known.cut_short(assessment.headline)
    if task.settings.print_policy:
        from check_portcheck.report import policyfile

        return policyfile.policy_file(resource.outcome)
    parent.step("writing the result")
    text, code = form.finished(resource.outcome, assessment)
    if remember and (trouble := _remember(resource.outcome, text, code)):
        return form.finished(resource.outcome.noted(trouble), assessment)
    return text, code


class _KnownSoFar:
    """What is known before a run has its result, as the text that is told if it gets none."""

    def __init__(self, task: Task, form: Form, parent: Parent) -> None:
        self._task = task
        self._form = form
        self._parent = parent
        self._answer: Answer | None = None

    def tell(self, step: str, outcome: Outcome | None) -> None:
        """Tell the parent what comes next, and what is known where that has changed."""
        if outcome and not self._task.settings.print_policy:
            resource = plugin.Portcheck(lambda: outcome)
            assessment = plugin.assess(resource, self._task.settings.severities)
            self._answer = self._form.finished(outcome, assessment)
            self._parent.known(*self._answer)
        self._parent.step(step)

    def cut_short(self, reason: str) -> Answer:
        """The last that was known, or else that nothing is, for a reason."""
        if self._answer is None:
            return self._form.unknown(reason)
        text, code = self._answer
        return self._form.cut_short(text, reason), code


def _recall(settings: Settings) -> tuple[Memory | None, list[str], bool]:
    """What the last run left, a note when that cannot be used, and whether to write the file."""
    if settings.state is None:
        return None, [], False
    from check_portcheck.memory import statefile

    try:
        return statefile.read(settings.state), [], True
    except statefile.StateFileError as unusable:
        return None, [f"state file {settings.state} {unusable}"], unusable.ours


def _age(memory: Memory, settings: Settings) -> float | None:
    """Seconds since the remembered result, None where it may not be used again."""
    age = time.time() - memory.taken
    asked = settings.print_policy or settings.check_config
    if asked or memory.settings != _fingerprint(settings):
        return None
    return age if 0 <= age < settings.interval else None


def _comparable(memory: Memory, settings: Settings) -> Memory:
    """The memory without services that other settings found: what these leave out did not close."""
    same = memory.settings == _fingerprint(settings)
    return memory if same else memory._replace(open={})


def _remember(outcome: Outcome, text: str, code: int) -> str | None:
    """Write the state file; gives a note where that fails."""
    from check_portcheck.memory import history, statefile

    settings, before = outcome.task.settings, outcome.task.memory
    memory = history.Memory(
        taken=outcome.taken,
        settings=_fingerprint(settings),
        output=text,
        code=code,
        since=outcome.history.since,
        open=history.opened(outcome.report, outcome.task.names, before.open if before else {}),
        resume=outcome.report.coverage.resume,
    )
    try:
        statefile.write(str(settings.state), memory)
    except statefile.StateFileError as failed:
        return f"state file {settings.state} {failed}"
    return None


def _fingerprint(settings: Settings) -> str:
    """What must be the same for a result to be used again."""
    import hashlib

    return hashlib.sha256(repr(settings).encode(errors="replace")).hexdigest()

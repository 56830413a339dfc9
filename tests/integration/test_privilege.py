"""As root nothing that another user could change decides what is done."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from namespace import NOBODY, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from namespace import Check

FEW = ("--no-official", "--interface", "127.0.0.1", "--min-port", "65500", "--confirm", "0")
OK = "PORTCHECK OK - "
OPEN_TO_ALL = "[PortCheck]\nPortCheckOptional = *:*/tcp,*/udp\n"


@pytest.fixture(name="policy")
def policy_fixture() -> Iterator[Path]:
    """A policy of root's in a directory of root's; as /tmp may be, one above it is sticky."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        path = Path(directory) / "policy"
        path.write_text(OPEN_TO_ALL)
        path.chmod(0o644)
        yield path


def by_sudo(check: Check, policy: Path, *options: str, caller: int = NOBODY) -> str:
    """What the check tells as root for a user who called sudo."""
    command = check.program.command("--config", policy, *FEW, *options)
    environment = {**check.program.environment, "SUDO_UID": str(caller)}
    return told(check.there.run(*command, env=environment))


def test_a_policy_of_roots_own_is_obeyed(alone: Check, policy: Path) -> None:
    assert alone.output("--config", policy, *FEW).startswith(OK)
    link = policy.with_name("link")
    link.symlink_to(policy)
    assert alone.output("--config", link, *FEW).startswith(OK)


DISTRUSTED: dict[str, tuple[Callable[[Path], object], str]] = {
    "the group's": (
        lambda path: path.chmod(0o664),
        "the policy {0} may be written by group or others: chmod go-w {0}",
    ),
    "another's": (
        lambda path: os.chown(path, 12345, 0),
        "the policy {0} belongs to user 12345: chown root {0}",
    ),
    "in the group's directory": (
        lambda path: path.parent.chmod(0o775),
        (
            "the directory {1} of the policy may be written by group or others: "
            "use one of root's, such as /etc/portcheck"
        ),
    ),
    "in another's directory": (
        lambda path: os.chown(path.parent, 12345, 0),
        (
            "the directory {1} of the policy belongs to user 12345: "
            "use one of root's, such as /etc/portcheck"
        ),
    ),
}


@pytest.mark.parametrize("caller", [0, NOBODY])
@pytest.mark.parametrize(("change", "reason"), DISTRUSTED.values(), ids=DISTRUSTED)
def test_a_policy_that_another_user_could_change_is_refused(
    alone: Check, policy: Path, change: Callable[[Path], object], reason: str, caller: int
) -> None:
    change(policy)
    expected = reason.format(policy, policy.parent)
    text = by_sudo(alone, policy, caller=caller)
    assert text == f"PORTCHECK UNKNOWN - {expected}\nexit 3\n"


def test_a_link_of_another_user_is_refused(alone: Check, policy: Path) -> None:
    policy.parent.chmod(0o1777)
    link = policy.with_name("link")
    link.symlink_to(policy)
    os.chown(link, 12345, 0, follow_symlinks=False)
    assert alone.output("--config", link, *FEW) == (
        f"PORTCHECK UNKNOWN - the policy {link} belongs to user 12345: chown root {link}\nexit 3\n"
    )


def test_who_called_sudo_may_use_his_own_policy_that_names_no_state_file(
    alone: Check, policy: Path
) -> None:
    with tempfile.TemporaryDirectory(dir="/var/lib") as directory:
        victim = Path(directory) / "file"
        policy.write_text(f"{OPEN_TO_ALL}PortCheckState = {victim}\n")
        os.chown(policy, NOBODY, NOBODY)
        text = by_sudo(alone, policy)
        assert text.startswith(OK)
        assert f"note: {policy}:3: PortCheckState counts only in a file of root's" in text
        assert not victim.exists()
        os.chown(policy, 0, 0)
        assert by_sudo(alone, policy).startswith(OK)
        assert stat.S_IMODE(victim.stat().st_mode) == 0o600


def test_lines_of_a_file_that_only_root_reads_are_not_told_to_who_called_sudo(
    alone: Check, policy: Path
) -> None:
    policy.write_text("[PortCheck]\nroot:$y$secret = 1\n")
    policy.chmod(0o600)
    assert "secret" in alone.output("--config", policy, *FEW)
    assert by_sudo(alone, policy) == (
        f"PORTCHECK UNKNOWN - {policy}: has errors, which only root is told, "
        "since you may not read it\nexit 3\n"
    )
    os.chown(policy, NOBODY, 0)
    assert "secret" in by_sudo(alone, policy)

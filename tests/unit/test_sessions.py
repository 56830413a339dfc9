from __future__ import annotations

import pytest
from sessions import Step, matches, rewritten, steps

GUIDE = """Text.

```console
web1# cat >file <<end
> one
> end
web1$ cat file; id -u
one
1000
```

```sh
# no session
```

```console
web1# true
```
"""


def test_a_session_has_commands_with_what_they_print() -> None:
    assert steps(GUIDE) == [
        Step("web1#", "cat >file <<end\none\nend", ""),
        Step("web1$", "cat file; id -u", "one\n1000\n"),
        Step("web1#", "true", ""),
    ]


def test_output_without_a_command_is_an_error() -> None:
    with pytest.raises(ValueError, match="no command before 'one"):
        steps("```console\none\n```\n")


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("", ""),
        ("sshd[12] started 2026-11-25 01:02:03\n", "sshd[4711] started 2027-01-02 03:04:05\n"),
        ("fine | time=1.234s\n", "fine | time=12.000s\n"),
        ("(120 s ago)\n", "(0 s ago)\n"),
        ("one\n...\nlast\n", "one\ntwo\nthree\nlast\n"),
        ("one\n...\n", "one\n"),
    ],
)
def test_what_changes_with_each_run_does_not_differ(shown: str, printed: str) -> None:
    assert matches(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("one\n", "two\n"),
        ("one\n", "one\ntwo\n"),
        ("one\ntwo\n", "one\n"),
        ("sshd[12]\n", "nginx[12]\n"),
        ("one\n...\nlast\n", "one\ntwo\n"),
        ("22/tcp\n", "23/tcp\n"),
        ("a.c\n", "abc\n"),
    ],
)
def test_everything_else_does(shown: str, printed: str) -> None:
    assert not matches(shown, printed)


def test_a_guide_is_written_anew_where_it_is_no_longer_true() -> None:
    printed = {"cat file; id -u": "one\n0\n"}
    expected = GUIDE.replace("1000\n", "0\n")
    assert rewritten(GUIDE, lambda step: printed.get(step.command, "")) == expected
    assert rewritten(GUIDE, lambda step: step.output) == GUIDE

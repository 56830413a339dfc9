"""Prints bash's completion, made from the parser. Run with the package on Python's path."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

from check_portcheck import cli
from check_portcheck.config.settings import Format
from check_portcheck.model import Method, Severity

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

_OFFERS = {
    "BOOL": "yes no",
    "LEVEL": " ".join(Severity),
    "METHOD": " ".join(Method),
    "FORMAT": " ".join(Format),
    "ADDR[,ADDR...]": "all",
    "NAME[,NAME...]": "$(ls /sys/class/net)",
}
"""What to offer for a value, by the word that stands for it in the help; nothing for others."""

_SCRIPT = string.Template(
    """\
# bash completion for check_portcheck(1)

_check_portcheck()
{
    local cur prev words cword split
    _init_completion -s || return

    if [[ $$cur != -* ]]; then
        case $$prev in
$cases
        esac
    fi
    $$split && return

    COMPREPLY=($$(compgen -W '$options' -- "$$cur"))
} &&
    complete -F _check_portcheck check_portcheck
"""
)


def script() -> str:
    """The completion, for bash-completion's directory."""
    actions = cli.parser()._actions  # noqa: SLF001  # argparse has no public way to them
    options = [name for action in actions for name in action.option_strings]
    return _SCRIPT.substitute(cases="\n".join(_cases(actions)), options=" ".join(options))


def _cases(actions: list[argparse.Action]) -> Iterator[str]:
    """What completes a word, by the option before it."""
    takers: dict[str, list[str]] = {}
    for action in actions:
        if action.nargs != 0:
            takers.setdefault(str(action.metavar), []).extend(action.option_strings)
    for metavar, options in takers.items():
        offer = "_filedir" if metavar == "FILE" else _offer(_OFFERS.get(metavar, ""))
        yield f"            {' | '.join(options)})"
        yield f"                {offer}"
        yield "                return"
        yield "                ;;"


def _offer(words: str) -> str:
    return f'COMPREPLY=($(compgen -W "{words}" -- "$cur"))' if words else ":"


if __name__ == "__main__":
    print(script(), end="")

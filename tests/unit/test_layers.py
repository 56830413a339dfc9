"""Imports run one way, between folders and inside them, and each kind of I/O has a room."""

from __future__ import annotations

import ast
import graphlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import check_portcheck

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PACKAGE = "check_portcheck"
DIRECTORY = Path(check_portcheck.__file__).parent


def floors() -> list[set[str]]:
    """The rooms on each floor, from the lowest up, as ARCHITECTURE.md draws them."""
    text = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text()
    drawn = text.partition("## Rooms and floors")[2].split("```")[1]
    return [set(line.split("  ")[0].split()) for line in reversed(drawn.strip().splitlines())]


FLOORS = floors()

ALLOWED = {
    "nagiosplugin": {"plugin"},
    "psutil": {"kernel.processes"},
    "argparse": {"cli"},
    "subprocess": set(),
}
"""Libraries that only these modules may import."""

LATE = {
    *("psutil", "json", "ipaddress", "pathlib", "subprocess", "logging", "asyncio"),
    "multiprocessing",
}
"""Libraries that take time to import: at its top a module makes every run pay for them."""

PURE = {
    *("model", "names", "outcome", "elsewhere", "daemons", "confirmation"),
    *("questions", "inquiry", "provisional", "investigation", "memory.history", "kernel.selection"),
    *("policy", "config", "report", "probing.portset", "probing.turns"),
    *("kernel.cgroups", "kernel.ctnetlink", "kernel.rtnetlink", "kernel.sockdiag"),
    *("rpc.oncrpc", "rpc.xdr"),
}
"""Folders and modules without files, sockets, processes and clocks."""

MEETS_THE_WORLD = re.compile(
    r"(open|input|print|socket\.(socket|create_\w+|getaddrinfo|gethost\w+|getserv\w+)"
    r"|os\.(open|read|write|fork|pipe|stat|scandir|readlink|environ\S*|get\w+|urandom)"
    r"|time\.(time|monotonic|sleep)|subprocess\.\w+|select\.\w+|signal\.\w+|Path)"
)
"""Calls that only impure modules make."""

OPEN_SOCKETS = {"kernel.netlink", "probing.clients", "rpc.rpcbind"}


def paths() -> dict[str, Path]:
    """The file of each module, by its name inside the package: ``kernel.netlink``."""
    return {
        ".".join(path.relative_to(DIRECTORY).with_suffix("").parts): path
        for path in DIRECTORY.rglob("*.py")
    }


MODULES = sorted(paths())


def tree(module: str) -> ast.Module:
    return ast.parse(paths()[module].read_text())


def folder(module: str) -> str:
    return module.partition(".")[0]


def for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(node):
        if not for_types_only(child):
            yield child
            yield from nodes(child)


def imported(statements: Iterable[ast.AST]) -> set[str]:
    """The full names of the modules that the statements import."""
    found: set[str] = set()
    for node in statements:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            assert node.module
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            inside = {name for name in names if (DIRECTORY.parent / path_of(name)).exists()}
            found |= inside or {node.module}
    return found


def path_of(name: str) -> str:
    return name.replace(".", "/") + ".py"


def own(module: str) -> set[str]:
    """The modules of the package that a module imports anywhere, be it for types only."""
    found = {name for name in imported(ast.walk(tree(module))) if folder(name) == PACKAGE}
    return {name.removeprefix(f"{PACKAGE}.") for name in found - {PACKAGE}}


def test_every_room_is_on_one_floor() -> None:
    named = [name for floor in FLOORS for name in floor]
    assert len(FLOORS) > 10
    assert sorted(named) == sorted({folder(module) for module in MODULES})


@pytest.mark.parametrize("module", MODULES)
def test_imports_come_from_lower_floors_or_the_same_folder(module: str) -> None:
    number = next(number for number, floor in enumerate(FLOORS) if folder(module) in floor)
    lower = {name for floor in FLOORS[:number] for name in floor} | {folder(module)}
    assert {folder(name) for name in own(module)} <= lower


def test_no_modules_import_each_other() -> None:
    graphlib.TopologicalSorter({module: own(module) for module in MODULES}).prepare()


@pytest.mark.parametrize("module", [name for name in MODULES if name.endswith(".__init__")])
def test_a_folder_gives_nothing_but_its_modules(module: str) -> None:
    assert [type(node) for node in tree(module).body] == [ast.Expr]


@pytest.mark.parametrize("module", MODULES)
def test_libraries_are_imported_where_they_belong(module: str) -> None:
    found = {name.split(".")[0] for name in imported(nodes(tree(module)))}
    for library, rooms in ALLOWED.items():
        assert library not in found or module in rooms, library
    at_once = {name.split(".")[0] for name in imported(tree(module).body)}
    assert not at_once & LATE


@pytest.mark.parametrize("module", MODULES)
def test_sockets_are_opened_where_they_belong(module: str) -> None:
    opened = {
        ast.unparse(node.func)
        for node in nodes(tree(module))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func)
        in {f"socket.{name}" for name in ("socket", "create_connection", "socketpair", "fromfd")}
    }
    assert not opened or module in OPEN_SOCKETS


def is_pure(module: str) -> bool:
    return module in PURE or folder(module) in PURE


@pytest.mark.parametrize("module", [name for name in MODULES if is_pure(name)])
def test_what_is_pure_does_not_meet_the_world(module: str) -> None:
    calls = {
        ast.unparse(node.func) for node in ast.walk(tree(module)) if isinstance(node, ast.Call)
    }
    assert not {call for call in calls if MEETS_THE_WORLD.fullmatch(call)}
    at_run_time = imported(nodes(tree(module)))
    used = {n.removeprefix(f"{PACKAGE}.") for n in at_run_time if n.startswith(f"{PACKAGE}.")}
    assert {name for name in used if not is_pure(name)} <= {"kernel.netlink"}


def test_the_rules_can_fail() -> None:
    assert MEETS_THE_WORLD.fullmatch("socket.socket")
    assert MEETS_THE_WORLD.fullmatch("open")
    assert not MEETS_THE_WORLD.fullmatch("socket.inet_pton")
    code = ast.parse(
        "import psutil\nif TYPE_CHECKING:\n    import json\nfrom check_portcheck import cli"
    )
    assert imported(nodes(code)) == {"psutil", "check_portcheck.cli"}
    assert imported(ast.walk(code)) == {"psutil", "json", "check_portcheck.cli"}
    assert imported(nodes(ast.parse("from check_portcheck.cli import main"))) == {
        "check_portcheck.cli"
    }

"""Imports run one way: a module imports only from lower floors, and each kind of I/O has a room."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import check_portcheck

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "check_portcheck"
DIRECTORY = Path(check_portcheck.__file__).parent

FLOORS = (
    {"__init__"},
    {"model", "portset", "netlink", "guard"},
    {"policy", "values", "names", "oncrpc", "sockdiag", "rtnetlink", "probes"},
    {"judgement", "conflicts", "grammar", "samhainrc", "history"}
    | {"interfaces", "sockettable", "rpcbind", "owners", "forwards"},
    {"config", "wording", "sweep", "statefile"},
    {"contact", "narrative", "snapshot"},
    {"look", "formats"},
    {"scan"},
    {"plugin"},
    {"run"},
    {"cli"},
    {"__main__"},
)
MODULES = sorted(module for floor in FLOORS for module in floor)

ALLOWED = {
    "nagiosplugin": {"plugin"},
    "psutil": {"owners", "sockettable"},
    "argparse": {"cli"},
    "subprocess": {"forwards"},
}
"""Libraries that only these modules may import."""

LATE = {"psutil", "json", "ipaddress", "subprocess", "logging", "asyncio", "multiprocessing"}
"""Libraries that take time to import: at its top a module makes every run pay for them."""

OPEN_SOCKETS = {"netlink", "probes", "rpcbind"}


def tree(module: str) -> ast.Module:
    return ast.parse((DIRECTORY / f"{module}.py").read_text())


def for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(node):
        if not for_types_only(child):
            yield child
            yield from nodes(child)


def imported(statements: Iterator[ast.AST] | list[ast.stmt]) -> set[str]:
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


def test_every_module_is_on_one_floor() -> None:
    assert sorted(path.stem for path in DIRECTORY.glob("*.py")) == MODULES
    assert len(MODULES) == len(set(MODULES))


@pytest.mark.parametrize("module", MODULES)
def test_imports_come_from_lower_floors(module: str) -> None:
    number = next(number for number, floor in enumerate(FLOORS) if module in floor)
    lower = {f"{PACKAGE}.{name}" for floor in FLOORS[:number] for name in floor} | {PACKAGE}
    own = {name for name in imported(nodes(tree(module))) if name.split(".")[0] == PACKAGE}
    assert own <= lower


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


def test_the_rules_can_fail() -> None:
    code = ast.parse(
        "import psutil\nif TYPE_CHECKING:\n    import json\nfrom check_portcheck import cli"
    )
    assert imported(nodes(code)) == {"psutil", "check_portcheck.cli"}
    assert imported(nodes(ast.parse("from check_portcheck.cli import main"))) == {
        "check_portcheck.cli"
    }

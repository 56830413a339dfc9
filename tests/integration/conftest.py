from __future__ import annotations

import compileall
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from namespace import NOBODY, Check, Program, host, namespace
from zoo import Living, oracle, zoo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from namespace import Namespace


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the path of a program to test, which stands alone: a venv's, or a single file."""
    parser.addoption("--program", default="", help="an installed check, in place of the checkout")


@pytest.fixture(name="program", scope="session")
def program_fixture(pytestconfig: pytest.Config) -> Iterator[Program]:
    """Copies of package and libraries, since neither checkout nor venv need be readable for all.

    For the same reason ``nobody`` gets the system's Python where it cannot run the one in use.
    """
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        directory.chmod(0o755)
        for name in ("check_portcheck", "nagiosplugin", "psutil"):
            found = importlib.util.find_spec(name)
            assert found
            assert found.origin
            unused = shutil.ignore_patterns("tests", "__pycache__")
            shutil.copytree(Path(found.origin).parent, directory / name, ignore=unused)
        compileall.compile_dir(directory, quiet=1)
        subprocess.run(["chmod", "--recursive", "a+rX", directory], check=True)
        interpreters = {0: sys.executable, NOBODY: readable_interpreter(directory)}
        yield Program(directory, interpreters, pytestconfig.getoption("program"))


def readable_interpreter(packages: Path) -> str:
    """A Python that ``nobody`` can run, with the libraries in *packages*."""
    as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    candidates = (os.path.realpath(sys.executable), "/usr/bin/python3")
    for candidate in candidates:
        tried = subprocess.run(
            [*as_nobody, candidate, "-c", "import nagiosplugin, psutil"],
            env={"PYTHONPATH": str(packages)},
            cwd="/",
            stderr=subprocess.DEVNULL,
            check=False,
        )
        if tried.returncode == 0:
            return candidate
    raise AssertionError(f"nobody can run none of {candidates}")


@pytest.fixture(name="empty")
def empty_fixture() -> Iterator[Namespace]:
    """A namespace with nothing but loopback."""
    with namespace() as made:
        yield made


@pytest.fixture(name="alone")
def alone_fixture(empty: Namespace, program: Program) -> Check:
    """The check in a namespace with nothing but loopback."""
    return Check(empty, program)


@pytest.fixture(name="pair")
def pair_fixture() -> Iterator[tuple[Namespace, Namespace]]:
    """A namespace with eth0, and the one with its peer."""
    with host() as made:
        yield made


@pytest.fixture(name="check")
def check_fixture(pair: tuple[Namespace, Namespace], program: Program) -> Check:
    """The check in a namespace with lo and eth0."""
    return Check(pair[0], program)


@pytest.fixture(name="living", scope="session")
def living_fixture(program: Program) -> Iterator[Living]:
    """One zoo for all: no look at it changes it."""
    with host() as (here, _), zoo(here) as made:
        yield Living(made, oracle(made), Check(here, program))

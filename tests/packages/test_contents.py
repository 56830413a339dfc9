"""What is in wheel, sdist, zipapp and Debian package, beside what is in the checkout."""

from __future__ import annotations

import subprocess
import zipfile
from email.parser import Parser
from typing import TYPE_CHECKING

import pytest

from check_portcheck import __version__
from packages.artefacts import CHECKOUT, built, tracked

if TYPE_CHECKING:
    from email.message import Message
    from pathlib import Path

WHEEL, SDIST = "*.whl", "check_portcheck-*.tar.gz"
NOT_IN_WHEEL = (".ci/", ".gitignore")
SHARED = f"check_portcheck-{__version__}.data/data/share/check_portcheck/"
ABOUT = f"check_portcheck-{__version__}.dist-info/"


def wheel() -> dict[str, bytes]:
    with zipfile.ZipFile(built(WHEEL)) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def zipapp() -> dict[str, bytes]:
    with zipfile.ZipFile(built("check_portcheck.pyz")) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def unpacked_sdist(target: Path) -> Path:
    target.mkdir(exist_ok=True)
    subprocess.run(["tar", "-xf", built(SDIST), "-C", target], check=True)
    [directory] = target.iterdir()
    return directory


def debian(target: Path) -> Path:
    subprocess.run(["dpkg-deb", "--extract", built("*.deb"), target], check=True)
    return target


def metadata() -> Message:
    return Parser().parsestr(wheel()[f"{ABOUT}METADATA"].decode())


def test_the_sdist_has_every_file_of_the_checkout(tmp_path: Path) -> None:
    directory = unpacked_sdist(tmp_path)
    files = [path for path in directory.rglob("*") if path.is_file()]
    contents = {str(path.relative_to(directory)): path.read_bytes() for path in files}
    del contents["PKG-INFO"]
    assert contents == {name: (CHECKOUT / name).read_bytes() for name in tracked()}


def test_the_wheel_has_the_package_and_all_else_below_share() -> None:
    expected = {
        name if name.startswith("check_portcheck/") else SHARED + name: CHECKOUT / name
        for name in tracked()
        if not name.startswith(NOT_IN_WHEEL)
    }
    found = {name: text for name, text in wheel().items() if not name.startswith(ABOUT)}
    assert found == {name: path.read_bytes() for name, path in expected.items()}
    assert "check_portcheck/py.typed" in found


def test_the_metadata_tell_what_is_known() -> None:
    told = metadata()
    assert (told["Name"], told["Version"]) == ("check_portcheck", __version__)
    assert told["License-Expression"] == "MIT"
    assert told["Requires-Python"] == ">=3.11"
    for field in ("Summary", "Author", "Keywords", "Description-Content-Type", "License-File"):
        assert told[field], field
    assert "Typing :: Typed" in told.get_all("Classifier", [])
    assert f"{ABOUT}licenses/LICENSE" in wheel()


def test_the_zipapp_has_the_package_a_library_and_both_licences() -> None:
    names = set(zipapp())
    package = {name for name in tracked() if name.startswith("check_portcheck/")}
    assert {name for name in package if name.endswith(".py")} <= names
    assert "LICENSE" in names
    [terms] = [name for name in names if name.endswith("licenses/LICENSE.txt")]
    assert b"Zope Public License" in zipapp()[terms]
    sources = {name for name in names if name.endswith(".py")}
    assert {f"{name}c" for name in sources} == {name for name in names if name.endswith(".pyc")}


def test_the_zipapp_starts_as_the_debian_package_does_with_its_own_modules() -> None:
    start = (CHECKOUT / "packaging/check_portcheck").read_text()
    added = '    sys.path.insert(0, "/usr/share/check-portcheck")\n'
    assert zipapp()["__main__.py"].decode() == start.replace(added, "") != start


def test_the_debian_package_has_the_modules_for_itself_alone(tmp_path: Path) -> None:
    private = debian(tmp_path) / "usr/share/check-portcheck"
    found = {str(path.relative_to(private)) for path in private.rglob("*") if path.is_file()}
    assert found == {name for name in tracked() if name.startswith("check_portcheck/")}


@pytest.mark.parametrize("directory", ["checkmk", "icinga", "nrpe", "policies"])
def test_the_debian_package_has_the_shipped_files_as_examples(
    tmp_path: Path, directory: str
) -> None:
    examples = debian(tmp_path) / "usr/share/doc/check-portcheck/examples"
    shipped = {name for name in tracked() if name.startswith(f"{directory}/")}
    for name in shipped:
        text = (CHECKOUT / name).read_text()
        there = text.replace("/opt/check_portcheck/bin/python3", "/usr/bin/python3")
        assert (examples / name).read_text() == there
    found = {path for path in (examples / directory).rglob("*") if path.is_file()}
    assert len(found) == len(shipped)


def test_the_debian_package_puts_nothing_in_etc(tmp_path: Path) -> None:
    assert {path.name for path in debian(tmp_path).iterdir()} == {"usr"}


def test_the_debian_changelog_is_of_this_version() -> None:
    [package, version, *_] = (CHECKOUT / "packaging/debian/changelog").read_text().split()
    assert package == "check-portcheck"
    assert version.startswith(f"({__version__}-")


def test_lintian_has_nothing_to_say() -> None:
    command = ["lintian", "--allow-root", "--display-info", "--fail-on", "error,warning,info"]
    said = subprocess.run([*command, built("*.deb")], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (0, ""), said.stderr


@pytest.mark.parametrize("kind", ["deb", "wheel", "zipapp"])
def test_another_build_of_the_same_files_gives_the_same_bytes(tmp_path: Path, kind: str) -> None:
    directory = unpacked_sdist(tmp_path / "elsewhere")
    subprocess.run(["packaging/build", kind], cwd=directory, check=True, capture_output=True)
    made = {path.name: path.read_bytes() for path in (directory / "dist").iterdir()}
    assert made
    for name, content in made.items():
        assert built(name).read_bytes() == content, name

"""Makes check_portcheck.pyz: the package and nagiosplugin in one file that Python runs as it is.

    python3 packaging/onefile.py FILE NAGIOSPLUGIN-WHEEL

Each module is there as source, for any Python, and as byte code for the one that runs this, which
saves half of a run's time. Nothing is compressed, since each run would have to unpack it. The same
input gives the same bytes.
"""

from __future__ import annotations

import py_compile
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROJECT = Path(__file__).parents[1]
_SHEBANG = b"#!/usr/bin/python3 -I\n"
_START = PROJECT / "packaging" / "check_portcheck"
_PATH = b'    sys.path.insert(0, "/usr/share/check-portcheck")\n'
"""What the start script of the Debian package needs and a file that is its own package does not."""
_UNUSED = ("nagiosplugin/examples/", "nagiosplugin/platform/nt.py")
_OLDEST = (1980, 1, 1, 0, 0, 0)
"""The first time that a ZIP file can name; Python goes by what is in the byte code."""


def contents(wheel: Path) -> dict[str, bytes]:
    """What is in the file, by its path there."""
    sources = {
        "__main__.py": _START.read_bytes().replace(_PATH, b""),
        **_package(),
        **dict(_library(wheel)),
    }
    return sources | dict(_compiled(sources))


def _package() -> dict[str, bytes]:
    files = [PROJECT / "LICENSE", *PROJECT.glob("check_portcheck/**/*.py")]
    return {str(file.relative_to(PROJECT)): file.read_bytes() for file in files}


def _library(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """The modules of a wheel, and all that it says of itself, its licence included."""
    with zipfile.ZipFile(wheel) as packed:
        for name in packed.namelist():
            if not name.startswith(_UNUSED):
                yield name, packed.read(name)


def _compiled(sources: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Byte code beside its source, where zipimport looks for it, to be believed as it is."""
    with TemporaryDirectory() as made:
        source, target = Path(made, "source.py"), Path(made, "target.pyc")
        for name, content in sorted(sources.items()):
            if name.endswith(".py"):
                source.write_bytes(content)
                py_compile.compile(
                    str(source),
                    cfile=str(target),
                    dfile=name,
                    doraise=True,
                    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                )
                yield f"{name}c", target.read_bytes()


def write(target: Path, files: Mapping[str, bytes]) -> None:
    """Write the files, in the order of their paths, as one that can be run."""
    with target.open("wb") as file:
        file.write(_SHEBANG)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as packed:
            for name, content in sorted(files.items()):
                entry = zipfile.ZipInfo(name, _OLDEST)
                entry.external_attr = 0o100644 << 16
                packed.writestr(entry, content)
    target.chmod(0o755)


if __name__ == "__main__":
    write(Path(sys.argv[1]), contents(Path(sys.argv[2])))

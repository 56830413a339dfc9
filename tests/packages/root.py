"""A Debian system in a directory: what a fresh host is, without a kernel of its own."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGES = (
    *("python3-nagiosplugin", "python3-psutil", "nagios-nrpe-plugin", "nagios-nrpe-server"),
    *("iproute2", "netbase", "sudo"),
)
_ENTER = """
mount -t proc proc "$0/proc"
mount --rbind /dev "$0/dev"
ip link set lo up
exec chroot "$0" sh -eu -c "$@"
"""
"""What mounts is seen by this script alone, in a mount namespace that it has to itself."""


class Root:
    """A directory with a Debian system."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, path: str) -> Path:
        """Where a file of the system is for this process."""
        return self._directory / path.lstrip("/")

    def receive(self, file: Path, path: str) -> None:
        """Copy a file into the system, with its mode."""
        shutil.copy(file, self.path(path))

    def run(self, script: str, *words: str) -> str:
        """What a script of root's prints, with loopback and processes of its own.

        All that it starts ends with it. Raises AssertionError where it fails.
        """
        command = ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child"]
        done = subprocess.run(
            [*command, "sh", "-eu", "-c", _ENTER, self._directory, script, "sh", *words],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def files(self) -> set[str]:
        """Every file and directory, but for the records of apt and dpkg and what daemons wrote."""
        found = self._directory.rglob("*")
        names = {str(path.relative_to(self._directory)) for path in found}
        passing = ("proc/", "dev/", "run/", "tmp/", "var/log/", "var/lib/dpkg/", "var/cache/")
        return {name for name in names if not name.startswith(passing)}


@contextlib.contextmanager
def debian(*suites: str) -> Iterator[dict[str, Root]]:
    """New systems with a monitoring agent and the libraries, by suite; gone afterwards."""
    with tempfile.TemporaryDirectory() as made, contextlib.ExitStack() as ending:
        include = f"--include={','.join(_PACKAGES)}"
        # Nothing is synced to a disk that soon has to forget it.
        options = ["--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io", include]
        makers = []
        for suite in suites:  # at the same time
            command = ["mmdebstrap", *options, suite, f"{made}/{suite}"]
            makers.append(ending.enter_context(subprocess.Popen(command)))
        assert [maker.wait() for maker in makers] == [0] * len(suites)
        yield {suite: Root(Path(made, suite)) for suite in suites}

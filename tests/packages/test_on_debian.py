"""What an administrator does with package and zipapp, on fresh systems of Debian 12 and 13."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from packages.artefacts import built, tracked
from packages.root import Root, debian

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POLICY = """[PortCheck]
PortCheckOfficial = no
PortCheckInterface = 127.0.0.1
PortCheckMaxPort = 9999
PortCheckRequired = *:5666/tcp@user:nagios
PortCheckOptional = *:7777/tcp@python3
"""
SET_UP = """
cd /usr/share/doc/check-portcheck/examples
install -D -m 0644 /tmp/policy /etc/portcheck/policy.conf
install -m 0644 nrpe/check_portcheck.cfg /etc/nagios/nrpe.d/
install -m 0440 nrpe/sudoers /etc/sudoers.d/check_portcheck
"""
"""What README.Debian says."""
OURS = {
    "etc/nagios/nrpe.d/check_portcheck.cfg",
    "etc/portcheck",
    "etc/portcheck/policy.conf",
    "etc/sudoers.d/check_portcheck",
}
"""What the administrator made by that."""
ASK = """
rm -f /run/nagios/nrpe.pid # of a daemon that ended with the namespaces of the run before
service nagios-nrpe-server start >/dev/null
for try in $(seq 600); do
    /usr/lib/nagios/plugins/check_nrpe -H 127.0.0.1 >/dev/null && break
    sleep 0.1
done
/usr/lib/nagios/plugins/check_nrpe -H 127.0.0.1 -t 120 -c check_portcheck || echo "exit $?"
"""
LISTEN = """
/usr/bin/python3 -c "import socket, time
held = socket.create_server(('127.0.0.1', 7777))
time.sleep(86400)" >/dev/null 2>&1 &
until ss -Hltn | grep -q :7777; do sleep 0.1; done
"""
BY_SUDO = r"sed -i 's,^command,#&,; s,^#command\(.*sudo\),command\1,' /etc/nagios/nrpe.d/*.cfg"
"""Makes the line with sudo the one that counts."""
WITHOUT_LIBRARIES = "mount -t tmpfs tmpfs /usr/lib/python3/dist-packages\n"
SUITES = ("bookworm", "trixie")
PROGRAM = "/usr/lib/nagios/plugins/check_portcheck.pyz"
FEW = "--no-official --interface 127.0.0.1 --min-port 7700 --max-port 7800"


@pytest.fixture(name="systems", scope="module")
def systems_fixture() -> Iterator[dict[str, Root]]:
    """A system whose Python is the one that made the zipapp's byte code, and one of another."""
    with debian(*SUITES) as made:
        for root in made.values():
            root.receive(built("*.deb"), "/tmp/new.deb")
            root.receive(built("*.pyz"), PROGRAM)
            root.path("/tmp/policy").write_text(POLICY)
        yield made


@pytest.fixture(name="root", params=SUITES)
def root_fixture(request: pytest.FixtureRequest, systems: dict[str, Root]) -> Root:
    """Each of them."""
    return systems[request.param]


@pytest.fixture(name="older", scope="module")
def older_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of an older version, with a module that there is no more."""
    copy = tmp_path_factory.mktemp("older")
    subprocess.run(["tar", "-xf", built("*.tar.gz"), "-C", copy, "--strip=1"], check=True)
    (copy / "check_portcheck/retired.py").touch()
    changelog = copy / "packaging/debian/changelog"
    changelog.write_text(changelog.read_text().replace("check-portcheck (", "check-portcheck (0~"))
    subprocess.run(["packaging/build", "deb"], cwd=copy, check=True, capture_output=True)
    [made] = copy.glob("dist/*.deb")
    return made


@pytest.fixture(name="installed")
def installed_fixture(root: Root) -> Iterator[Root]:
    """A system with the package and the files beside it, all of which are gone afterwards."""
    root.run(f"dpkg --install /tmp/new.deb; {SET_UP}")
    yield root
    root.run("dpkg --purge check-portcheck; cd /; rm -rf " + " ".join(OURS))


def modules(root: Root) -> set[str]:
    """The modules of the package that are there as byte code."""
    cached = root.path("/usr/share/check-portcheck").rglob("__pycache__/*.pyc")
    private = root.path("/usr/share/check-portcheck")
    return {
        str(path.relative_to(private).parents[1] / path.name.partition(".")[0]) for path in cached
    }


def test_the_package_is_upgraded_and_leaves_nothing(root: Root, older: Path) -> None:
    sources = {name for name in tracked() if name.startswith("check_portcheck/")}
    ours = {name.removesuffix(".py") for name in sources if name.endswith(".py")}
    before = root.files()
    root.receive(older, "/tmp/old.deb")
    root.run(f"dpkg --install /tmp/old.deb; {SET_UP}")
    assert modules(root) == {*ours, "check_portcheck/retired"}
    root.run("dpkg --install /tmp/new.deb")
    assert modules(root) == ours
    root.run("dpkg --purge check-portcheck")
    assert root.files() == before | OURS
    assert root.path("/etc/portcheck/policy.conf").read_text() == POLICY
    root.run("cd /; rm -rf " + " ".join(OURS))


def test_nrpe_runs_it_as_nagios(installed: Root) -> None:
    told = installed.run(LISTEN + ASK)
    finding = "PORTCHECK UNKNOWN - 1 unverified: 127.0.0.1:7777/tcp user root: owner not determined"
    assert told.startswith(finding)
    assert told.endswith("\nnote: processes not seen: not root\nexit 3\n")


def test_nrpe_runs_it_by_sudo(installed: Root) -> None:
    told = installed.run(f"{LISTEN}\n{BY_SUDO}\n{ASK}")
    assert told.startswith(
        "PORTCHECK OK - 2 open services on 1 interface, all expected (full scan "
    )


def test_the_package_has_the_program_on_the_path(installed: Root) -> None:
    installed.path("/tmp/enum.py").write_text("raise Exception")
    told = installed.run("cd /tmp; PYTHONPATH=/tmp check_portcheck --version || echo $?")
    assert told.startswith("check_portcheck ")
    assert told.endswith("\n3\n")


def test_the_zipapp_needs_no_library_and_says_what_it_lacks(root: Root) -> None:
    told = root.run(f"{WITHOUT_LIBRARIES}{LISTEN} {PROGRAM} {FEW} || echo exit $?")
    assert told.startswith("PORTCHECK CRITICAL - 1 unexpected: 127.0.0.1:7777/tcp user root | ")
    assert told.endswith("\nnote: processes not seen: psutil cannot be imported\nexit 2\n")


def test_the_zipapp_shows_processes_where_psutil_is_installed(root: Root) -> None:
    told = root.run(f"{LISTEN} {PROGRAM} {FEW} || echo exit $?")
    assert told.startswith("PORTCHECK CRITICAL - 1 unexpected: 127.0.0.1:7777/tcp python3[")


def test_the_zipapp_runs_as_nagios(root: Root) -> None:
    told = root.run(f"{WITHOUT_LIBRARIES} runuser -u nagios -- {PROGRAM} {FEW} || echo exit $?")
    assert told.startswith(
        "PORTCHECK OK - 0 open services on 1 interface, all expected (full scan "
    )

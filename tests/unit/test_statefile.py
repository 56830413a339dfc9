from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from check_portcheck.kernel.trust import TrustError
from check_portcheck.memory import statefile
from check_portcheck.memory.history import Memory
from check_portcheck.memory.statefile import StateFileError

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY = Memory(
    taken=1_700_000_000.5,
    settings="abc",
    output="PORTCHECK OK - größer\nopen: 192.0.2.7:22/tcp\n",
    code=2,
    since={"192.0.2.7 [2001:db8::7]": {"unexpected 22/tcp": 1_600_000_000.25}},
    open={
        "192.0.2.7 [2001:db8::7]": {"22/tcp": []},
        "[2001:db8::7]": {"2049/udp": ["nfs", "RPC_100075"]},
    },
    resume=17,
)
VALUES: dict[str, Any] = {"version": 2, **MEMORY._asdict()}


@pytest.fixture(name="path")
def path_fixture() -> Iterator[Path]:
    """A path in a new directory; as root all above it must be root's, which /tmp is not."""
    above = "/var/lib" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(dir=above) as directory:
        yield Path(directory) / "state"


def written(path: Path, content: str | bytes) -> str:
    """A file that has that content and is the user's own."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(0o600)
    return str(path)


def entries(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


def complaint(path: Path | str) -> str:
    with pytest.raises(StateFileError) as caught:
        statefile.read(str(path))
    return str(caught.value)


def test_what_is_written_is_read(path: Path) -> None:
    statefile.write(str(path), MEMORY)
    assert statefile.read(str(path)) == MEMORY


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.builds(
        Memory,
        taken=st.floats(0, 2e9),
        settings=st.text(),
        output=st.text(),
        code=st.integers(0, 3),
        since=st.dictionaries(st.text(), st.dictionaries(st.text(), st.floats(0, 2e9))),
        open=st.dictionaries(
            st.text(),
            st.dictionaries(
                st.from_regex(r"[0-9]{1,5}/(tcp|udp)", fullmatch=True), st.lists(st.text())
            ),
        ),
        resume=st.integers(0, 2**40),
    )
)
def test_whatever_is_written_is_read(path: Path, memory: Memory) -> None:
    statefile.write(str(path), memory)
    assert statefile.read(str(path)) == memory


def test_what_knows_nothing_yet_is_written_and_read(path: Path) -> None:
    empty = Memory(MEMORY.taken, "abc", "", 0)
    statefile.write(str(path), empty)
    assert statefile.read(str(path)) == empty


def test_no_file_is_no_memory(path: Path) -> None:
    assert statefile.read(str(path)) is None
    assert statefile.read(str(path / "below/nothing")) is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"version": ',
        '{"version": 2}',
        '{"version": ' + "[" * 100_000,
        json.dumps(VALUES)[:-1],
        json.dumps(VALUES) + "x",
        *(
            json.dumps({name: value for name, value in VALUES.items() if name != left_out})
            for left_out in VALUES
            if left_out != "version"
        ),
        *(json.dumps(VALUES | {name: None}) for name in VALUES),
        *(json.dumps(VALUES | {name: [[]]}) for name in VALUES),
        *(json.dumps(VALUES | {"code": code}) for code in (-1, 4, 0.5, "0", 2.0, True)),
        *(json.dumps(VALUES | {"version": version}) for version in (0, 1, 3, "2")),
        *(
            json.dumps(VALUES | {"since": {"x": {"missing 1/tcp": when}}})
            for when in (-1, 1e300, float("nan"), float("inf"), "now", None)
        ),
        *(json.dumps(VALUES | {"taken": taken}) for taken in (-1, 2**41, float("inf"), "now")),
        json.dumps(VALUES).replace("1700000000.5", "1e400"),
        json.dumps(VALUES).replace("1700000000.5", "1" + "0" * 400),
        *(json.dumps(VALUES | {"since": {"x": of}}) for of in (None, 5.0, [5.0])),
        *(
            json.dumps(VALUES | {"open": {"x": {port: []}}})
            for port in ("", "x", "1", "/tcp", "x/tcp", "x:1/tcp", "1/sctp", "-1/tcp", "1/tcp\n")
        ),
        *(json.dumps(VALUES | {"open": {"x": ports}}) for ports in (None, "1/tcp", ["1/tcp"])),
        *(
            json.dumps(VALUES | {"open": {"x": {"1/tcp": of}}})
            for of in (None, "nfs", {"nfs": 1}, [1])
        ),
        '{"version": ' + "9" * 10_000 + "}",
    ],
)
def test_a_damaged_file_is_called_that(path: Path, content: str | bytes) -> None:
    assert complaint(written(path, content)) == "is damaged"


@pytest.mark.parametrize(
    "content",
    ["null", "[]", "{}", b"\xff\xfe", "[" * 100_000, json.dumps([VALUES]), "root:x:0:0", " {}"],
)
def test_a_file_that_never_was_one_is_somebody_elses(path: Path, content: str | bytes) -> None:
    with pytest.raises(StateFileError) as caught:
        statefile.read(written(path, content))
    assert str(caught.value) == "is no state file of this check and is left alone"
    assert not caught.value.ours


def test_times_are_those_that_a_calendar_can_take(path: Path) -> None:
    for latest, known in ((0, True), (2**40 - 1, True), (2**40, False)):
        content = json.dumps(VALUES | {"since": {"x": {"missing 1/tcp": latest}}})
        if known:
            found = statefile.read(written(path, content))
            assert found
            assert found.since == {"x": {"missing 1/tcp": latest}}
        else:
            assert complaint(written(path, content)) == "is damaged"


def test_no_more_is_read_than_a_state_may_take(path: Path) -> None:
    content, most = json.dumps(VALUES), 16 * 1024 * 1024
    assert statefile.read(written(path, content + " " * (most - len(content)) + "x")) == MEMORY
    assert complaint(written(path, content + " " * (most - len(content) - 1) + "x")) == "is damaged"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(
        st.integers(len(statefile._BEGINNING), len(json.dumps(VALUES)) - 1),
        st.binary(min_size=1, max_size=3),
    ),
)
def test_a_damaged_byte_gives_a_memory_or_the_one_error(
    path: Path, damage: tuple[int, bytes]
) -> None:
    content = bytearray(json.dumps(VALUES).encode())
    content[damage[0] : damage[0] + 1] = damage[1]
    said = "is damaged"
    try:
        found = statefile.read(written(path, bytes(content)))
    except StateFileError as error:
        found, said = MEMORY, str(error)
    assert found
    assert (said, found.resume >= 0) == ("is damaged", True)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
NAMED = st.sampled_from(["1/tcp", "65536/udp", "x", ""])
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(NAMED | st.text(max_size=8), inner)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(VALUES)), ANYTHING)
def test_any_value_in_its_place_gives_a_memory_or_the_one_error(
    path: Path, name: str, value: object
) -> None:
    said = "is damaged"
    try:
        found = statefile.read(written(path, json.dumps(VALUES | {name: value})))
    except StateFileError as error:
        found, said = MEMORY, str(error)
    assert said == "is damaged"
    assert found
    assert type(found.code) is int
    statefile.write(str(path), found)
    assert statefile.read(str(path)) == found


def distrusted(path: Path) -> str:
    """What is said of a file that another user could have written: to root it is worse."""
    with pytest.raises((StateFileError, TrustError)) as caught:
        statefile.read(str(path))
    return str(caught.value)


def test_only_the_user_may_be_able_to_write_it(path: Path) -> None:
    for mode in (0o600, 0o644, 0o400):
        statefile.write(str(path), MEMORY)
        path.chmod(mode)
        assert statefile.read(str(path)) == MEMORY
    expected = "belongs to, or may be written by, another user"
    if os.geteuid() == 0:
        remedy = f"may be written by group or others: chmod go-w {path}"
        expected = f"the state file {path} {remedy}"
    for mode in (0o620, 0o602):
        path.chmod(mode)
        assert distrusted(path) == expected


def test_a_link_a_fifo_and_a_directory_are_refused_at_once(path: Path) -> None:
    target = path.with_name("target")
    statefile.write(str(target), MEMORY)
    path.symlink_to(target)
    assert "symbolic link" in distrusted(path)
    path.unlink()
    path.mkdir(mode=0o700)
    assert complaint(path) == "is no regular file and is left alone"
    path.rmdir()
    os.mkfifo(path, 0o600)
    assert complaint(path) == "is no regular file and is left alone"


def test_no_descriptor_is_left_open(path: Path) -> None:
    before = entries(Path("/proc/self/fd"))
    statefile.write(str(path), MEMORY)
    statefile.read(str(path))
    complaint(written(path, "damaged"))
    complaint(path.parent)
    assert entries(Path("/proc/self/fd")) == before


def test_the_file_is_replaced_and_not_written_over(path: Path) -> None:
    umask = os.umask(0)
    try:
        statefile.write(str(path), MEMORY)
    finally:
        os.umask(umask)
    with path.open() as reader:
        statefile.write(str(path), MEMORY._replace(code=3))
        assert json.load(reader)["code"] == 2
    assert path.stat().st_mode == stat.S_IFREG | 0o600
    assert entries(path.parent) == ["state"]


def test_what_cannot_be_written_says_why_and_leaves_nothing(path: Path) -> None:
    path.mkdir()
    for target, reason in (
        (path, "Is a directory"),
        (path / "below/state", "No such file or directory"),
        (path / ("n" * 300), "File name too long"),
    ):
        with pytest.raises(StateFileError, match=f"^cannot be written: {reason}$"):
            statefile.write(str(target), MEMORY)
    assert entries(path.parent) == ["state"]
    assert entries(path) == []


def test_nothing_is_left_where_memory_runs_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_memory(*_: object, **__: object) -> None:
        raise MemoryError

    statefile.write(str(path), MEMORY)
    monkeypatch.setattr(os, "replace", without_memory)
    with pytest.raises(MemoryError):
        statefile.write(str(path), MEMORY._replace(code=3))
    assert entries(path.parent) == [path.name]
    assert statefile.read(str(path)) == MEMORY

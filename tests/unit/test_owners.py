from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck import owners
from check_portcheck.model import Owner, Process, Protocol, Socket

ID = "0123456789ab" + "c" * 52


def process(*command: str, executable: str | None = None) -> Process:
    return Process(4711, "name", executable, command)


def udp(uid: int | None = 0, inode: int | None = 7) -> Socket:
    return Socket(Protocol.UDP, "0.0.0.0", 2049, v6only=False, device=0, uid=uid, inode=inode)


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/system.slice/nginx.service", "nginx.service"),
        ("/system.slice/ssh.socket", "ssh.socket"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
        ("/system.slice/_memory.service", "memory.service"),
        ("/init.scope", "init.scope"),
        ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/a.service", "user@1000.service"),
        ("/../system.slice/cron.service", "cron.service"),
        ("/machine.slice/systemd-nspawn@web.service/payload", "systemd-nspawn@web.service"),
        (f"/system.slice/docker-{ID}.scope", "container:0123456789ab"),
        (f"/docker/{ID}", "container:0123456789ab"),
        (f"/machine.slice/libpod-{ID}.scope/container", "container:0123456789ab"),
        (
            f"/kubepods.slice/kubepods-pod.slice/cri-containerd-{ID}.scope",
            "container:0123456789ab",
        ),
        (f"/kubepods/burstable/pod0-1/{ID}", "container:0123456789ab"),
        (f"/kubepods-podx.slice:cri-containerd:{ID}", "container:0123456789ab"),
        ("/", None),
        ("/user.slice", None),
        ("/openrc.sshd", None),
        (f"/docker/{ID[:-1]}", None),
        ("/lxc.payload.web/system.slice/nginx.service", None),
    ],
)
def test_unit_is_the_topmost_group_that_is_no_slice(path: str, unit: str | None) -> None:
    assert owners.unit(f"0::{path}\n") == unit
    assert owners.unit(f"3:cpu,cpuacct:/\n1:name=systemd:{path}\n") == unit


def test_a_group_that_a_user_made_below_his_own_does_not_pass_for_a_unit_or_a_container() -> None:
    user = "/user.slice/user-1000.slice/user@1000.service"
    assert owners.unit(f"0::{user}/nginx.service") == "user@1000.service"
    assert owners.unit(f"0::{user}/docker-{ID}.scope") == "user@1000.service"


def test_both_hierarchies_of_a_hybrid_system_are_looked_at() -> None:
    assert owners.unit("1:name=systemd:/system.slice/a.service\n0::/") == "a.service"
    assert owners.unit("1:name=systemd:/\n0::/system.slice/a.service") == "a.service"


def test_other_hierarchies_of_version_1_do_not_name_a_unit() -> None:
    assert owners.unit("5:memory:/system.slice/a.service\n1:name=systemd:/") is None


@given(st.text())
def test_no_text_of_groups_is_too_odd(text: str) -> None:
    unit = owners.unit(text)
    assert unit is None or unit in text or unit.startswith("container:")


@pytest.mark.parametrize(
    ("command", "script"),
    [
        ("python3 /srv/app.py --port 80", "/srv/app.py"),
        ("/usr/bin/python3.11 -u -W ignore -X dev app.py", "app.py"),
        ("python3 -m http.server 8000", "-m http.server"),
        ("python3 -Im http.server", "-m http.server"),
        ("python3 -c pass", None),
        ("python3 -uc pass", None),
        ("python3 -", None),
        ("python3", None),
        ("python3 -m", None),
        ("python3 -- -odd.py", "-odd.py"),
        ("pypy3 app.py", "app.py"),
        ("/bin/sh -e /etc/daemon start", "/etc/daemon"),
        ("-bash", None),
        ("bash -euo pipefail +x run.sh", "run.sh"),
        ("bash -lc exec", None),
        ("perl -w -I lib server.pl", "server.pl"),
        ("perl -we 1", None),
        ("ruby3.1 -r json app.rb", "app.rb"),
        ("node --require ./a.js server.js", "server.js"),
        ("node -pe 1", None),
        ("php8.2 -S 127.0.0.1:8000 -t web", "-S 127.0.0.1:8000"),
        ("php -d a=b -f x.php", "-f x.php"),
        ("java -Xmx1g -ea -jar app.jar", "-jar app.jar"),
        ("java -cp a:b -Dx=y org.example.Main", "org.example.Main"),
        ("app", None),
        ("nginx: master process /usr/sbin/nginx", None),
    ],
)
def test_script_of_a_command_line(command: str, script: str | None) -> None:
    assert owners.script(process(*command.split())) == script


def test_a_short_script_name_is_no_option() -> None:
    assert owners.script(process("python3", "am")) == "am"


def test_an_empty_argument_is_no_script() -> None:
    assert owners.script(process("python3", "")) is None
    assert owners.script(process("")) is None
    assert owners.script(process()) is None


def test_the_program_file_must_be_the_interpreter_too() -> None:
    command = ("python3", "/srv/app.py")
    assert owners.script(process(*command, executable="/usr/bin/python3.11")) == "/srv/app.py"
    assert owners.script(process(*command, executable="/var/tmp/x")) is None


def test_a_title_in_place_of_the_command_line_is_no_script() -> None:
    titled = process("gunicorn: master [app]", "x", executable="/usr/bin/python3.11")
    assert owners.script(titled) is None


arguments = st.sampled_from(["", "-", "--", "-m", "-W", "-c", "-um", "a.py", "+x"]) | st.text()


@given(st.sampled_from(["python3", "bash", "perl", "node", "java", "php", "ruby", ""]), st.data())
def test_no_command_line_is_too_odd(interpreter: str, data: st.DataObject) -> None:
    rest = data.draw(st.lists(arguments, max_size=5))
    script = owners.script(process(interpreter, *rest))
    assert script is None or script.split(" ", 1)[-1] in " ".join(rest)


def test_a_long_command_line_keeps_its_start() -> None:
    kept = owners._bounded(["java", "-cp", "x" * 5000, "org.example.Main", *["y"] * 5000])
    assert kept[:4] == ("java", "-cp", "x" * 250, "org.example.Main")
    assert len(" ".join(kept)) <= 1000


@given(st.lists(st.text(max_size=600), max_size=2000))
def test_a_command_line_is_bounded(command: list[str]) -> None:
    kept = owners._bounded(command)
    assert len(" ".join(kept)) <= 1000
    assert all(whole.startswith(cut) for whole, cut in zip(command, kept, strict=False))


@pytest.mark.parametrize(
    ("socket", "gap", "owner"),
    [
        (udp(), None, Owner("root", kernel=True)),
        (udp(inode=0), "not root", Owner("root", kernel=True)),
        (udp(), "not root", Owner("root", unseen="not root")),
        (udp(inode=8), None, Owner("root", unseen="closed meanwhile")),
        (udp(uid=4_000_000_000), None, Owner("4000000000", unseen="no process found")),
        (udp(None, None), None, Owner(unseen="socket table without owners")),
    ],
)
def test_the_kernel_is_named_only_when_nothing_else_is_left(
    socket: Socket, gap: str | None, owner: Owner
) -> None:
    assert owners._without_process(socket, gap, {7}) == owner


def test_nothing_is_read_when_nobody_asks() -> None:
    assert owners.find([], deadline=0, table=lambda: pytest.fail("read")) == {}


def test_without_inode_no_process_is_looked_for() -> None:
    socket = udp(inode=0)
    found = owners.find([socket], deadline=0, table=lambda: pytest.fail("read"))
    assert found == {socket: Owner("root", kernel=True)}

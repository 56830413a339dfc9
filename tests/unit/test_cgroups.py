from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.kernel import cgroups

ID = "0123456789ab" + "c" * 52


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/system.slice/nginx.service", "nginx.service"),
        ("/system.slice/ssh.socket", "ssh.socket"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
        ("/system.slice/_memory.service", "memory.service"),
        ("/init.scope", "init.scope"),
        ("/system.slice/srv-nfs.mount", "srv-nfs.mount"),
        ("/system.slice/dev-sda2.swap", "dev-sda2.swap"),
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
    assert cgroups.unit(f"0::{path}\n") == unit
    assert cgroups.unit(f"3:cpu,cpuacct:/\n1:name=systemd:{path}\n") == unit


def test_a_group_that_a_user_made_below_his_own_does_not_pass_for_a_unit_or_a_container() -> None:
    user = "/user.slice/user-1000.slice/user@1000.service"
    assert cgroups.unit(f"0::{user}/nginx.service") == "user@1000.service"
    assert cgroups.unit(f"0::{user}/docker-{ID}.scope") == "user@1000.service"


def test_both_hierarchies_of_a_hybrid_system_are_looked_at() -> None:
    assert cgroups.unit("1:name=systemd:/system.slice/a.service\n0::/") == "a.service"
    assert cgroups.unit("1:name=systemd:/\n0::/system.slice/a.service") == "a.service"


def test_other_hierarchies_of_version_1_do_not_name_a_unit() -> None:
    assert cgroups.unit("5:memory:/system.slice/a.service\n1:name=systemd:/") is None


# Whatever the text is

GROUPS = st.sampled_from(
    ["", "..", ".slice", "_a.service", "a.scope", f"docker-{ID}.scope", ID, f"x:{ID}", "\udcff"]
)
PATHS = st.lists(GROUPS | st.text(max_size=8)).map("/".join)
LINES = st.builds("{}:{}:{}".format, st.text(max_size=2), st.text() | st.just(""), PATHS)


@given(st.lists(LINES).map("\n".join) | st.text())
def test_no_text_of_groups_is_too_odd(text: str) -> None:
    unit = cgroups.unit(text)
    assert unit is None or unit.removeprefix("container:") in text


@given(st.sampled_from(["0::", "1:name=systemd:"]), st.lists(st.just("a.slice")), PATHS)
def test_a_unit_below_slices_is_read_as_it_is_written(
    hierarchy: str, slices: list[str], below: str
) -> None:
    path = "/".join(["", *slices, "nginx.service", below])
    # What begins another line is another hierarchy's, and comes later.
    assert cgroups.unit(f"{hierarchy}{path}") in ("nginx.service", "container:0123456789ab")

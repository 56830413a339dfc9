from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from check_portcheck.config.values import (
    TokenError,
    absolute_path,
    boolean,
    interval,
    level,
    member,
    quoted,
    seconds,
    time_limit,
    whole,
)
from check_portcheck.model import Method, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

port = partial(whole, highest=65535)
method = partial(member, Method)


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        *((boolean, text, True) for text in ("yes", "y", "true", "t", "1", "on", "YES", "On")),
        *((boolean, text, False) for text in ("no", "n", "false", "f", "0", "off", "No", "OFF")),
        *((level, severity.value, severity) for severity in Severity),
        (level, "WARN", Severity.WARN),
        (level, "war", Severity.WARN),
        (level, "warning", Severity.WARN),
        (level, "Error", Severity.ERR),
        (level, "e", Severity.ERR),
        (level, "cri", Severity.CRIT),
        (level, "critical", Severity.CRIT),
        (level, "not", Severity.NOTICE),
        (port, "0", 0),
        (port, "65535", 65535),
        (seconds, "0", 0.0),
        (seconds, "1.5", 1.5),
        (seconds, "0.000001", 1e-06),
        (seconds, "999999999", 999999999.0),
        (time_limit, "0.1", 0.1),
        (time_limit, "86400", 86400.0),
        (interval, "1", 1),
        (interval, "999999999", 10**9 - 1),
        (method, "table", Method.TABLE),
        (method, "Full", Method.FULL),
        (absolute_path, "/var/lib/portcheck.json", "/var/lib/portcheck.json"),
    ],
)
def test_value_is_read(read: Callable[[str], object], text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (boolean, "maybe", "'maybe' is neither yes nor no"),
        (boolean, "yes no", "'yes no' is neither yes nor no"),
        (boolean, "01", "'01' is neither yes nor no"),
        (boolean, "", "'' is neither yes nor no"),
        *(
            (
                level,
                text,
                f"'{text}' is not one of debug, info, notice, warn, mark, err, crit, alert",
            )
            for text in ("none", "no", "n", "", "crits", "2", "panic")
        ),
        (port, "65536", "'65536' is above 65535"),
        (port, "9" * 5000, f"'{'9' * 37}...' is above 65535"),
        (port, "022", "'022' begins with 0 like an octal number: write 22"),
        (
            port,
            "0" * 9 + "12345678901",
            "'00000000012345678901' begins with 0 like an octal number: write 1234567890",
        ),
        (port, "00", "'00' begins with 0 like an octal number: write 0"),
        (port, "+22", "'+22' is no whole number"),
        (port, "-1", "'-1' is no whole number"),
        (port, "0x16", "'0x16' is no whole number"),
        (port, "22x", "'22x' is no whole number"),
        (port, "", "'' is no whole number"),
        (port, "\u0662\u0662", "'\u0662\u0662' is no whole number"),
        (port, "\u00b2", "'\u00b2' is no whole number"),
        (seconds, "-1", "'-1' is no number of seconds"),
        (seconds, "1.", "'1.' is no number of seconds"),
        (seconds, ".5", "'.5' is no number of seconds"),
        (seconds, "1e3", "'1e3' is no number of seconds"),
        (seconds, "01", "'01' is no number of seconds"),
        (seconds, "nan", "'nan' is no number of seconds"),
        (seconds, "inf", "'inf' is no number of seconds"),
        (seconds, "0.0000001", "'0.0000001' is no number of seconds"),
        (seconds, "1000000000", "'1000000000' is no number of seconds"),
        (seconds, "5s", "'5s' is no number of seconds"),
        (time_limit, "0.0", "'0.0' leaves no time at all"),
        (time_limit, "86400.000001", "'86400.000001' is longer than a day"),
        (time_limit, "999999999", "'999999999' is longer than a day"),
        (time_limit, "-1", "'-1' is no number of seconds"),
        (interval, "0", "'0' is no interval"),
        (interval, "1.5", "'1.5' is no whole number"),
        (interval, "1000000000", "'1000000000' is above 999999999"),
        (method, "nmap", "'nmap' is not one of table, probe, full"),
        (absolute_path, "state.json", "'state.json' is no absolute path"),
    ],
)
def test_token_that_means_nothing_is_refused(
    read: Callable[[str], object], text: str, message: str
) -> None:
    with pytest.raises(TokenError) as caught:
        read(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("22/tcp", "'22/tcp'"),
        ("it's", '"it\'s"'),
        ("\x1b[31m\n", r"'\x1b[31m\n'"),
        ("\udcff", r"'\udcff'"),
        ("\u202e", r"'\u202e'"),
        ("a" * 40, f"'{'a' * 40}'"),
        ("a" * 41, f"'{'a' * 37}...'"),
    ],
)
def test_quoted_text_is_short_and_harmless(text: str, shown: str) -> None:
    assert quoted(text) == shown

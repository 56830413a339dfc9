from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.config.samhainrc import Line, lines

KEYS = {"portcheckudp": "PortCheckUDP", "portcheckskip": "PortCheckSkip"}


def read(text: str) -> list[Line]:
    return list(lines(text, KEYS))


UDP_OFF = "portcheckudp", "no"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("[PortCheck]\nPortCheckUDP=no", [Line(2, *UDP_OFF)], id="plain"),
        pytest.param("[PORTCHECK]\nportcheckudp=no", [Line(2, *UDP_OFF)], id="any-case"),
        pytest.param(
            "  [PortCheck]\t\n \tPortCheckUDP \t=\t no \t", [Line(2, *UDP_OFF)], id="blanks"
        ),
        pytest.param("\ufeff[PortCheck]\r\nPortCheckUDP=no\r\n", [Line(2, *UDP_OFF)], id="dos"),
        pytest.param(
            "[PortCheck]\n# PortCheckUDP=1\n;PortCheckUDP=2\n //PortCheckUDP=3\n\n",
            [],
            id="comments",
        ),
        pytest.param(
            "[PortCheck]\nPortCheckSkip=1/tcp=2 # 3",
            [Line(2, "portcheckskip", "1/tcp=2 # 3")],
            id="value-is-all-after-the-first-equals",
        ),
        pytest.param(
            "[PortCheck]\nPortCheckSkip=", [Line(2, "portcheckskip", "")], id="empty-value"
        ),
        pytest.param(
            "[Misc]\nDaemon=yes\njunk\n[PortCheck]\nPortCheckUDP=no\n[Log]\nPort=1\n"
            "[portcheck]\nPortCheckSkip=1/tcp",
            [Line(5, *UDP_OFF), Line(9, "portcheckskip", "1/tcp")],
            id="several-sections-between-others",
        ),
        pytest.param(
            "[PortCheck]\n[eof]\nPortCheckUDP=no\njunk", [], id="nothing-after-the-end-mark"
        ),
        pytest.param(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n[PortCheck]\nPortCheckUDP=no\n"
            "-----BEGIN PGP SIGNATURE-----\n\niQEz\n=a7b2\n-----END PGP SIGNATURE-----\n",
            [Line(5, *UDP_OFF)],
            id="signed-file",
        ),
        pytest.param(
            "[Misc]\n@if not file_exists /etc/x\nDaemon=yes\n@ELSE\n@host\n!$Linux\n$end\n@ end\n"
            "@fi\n[PortCheck]\nPortCheckUDP=no",
            [Line(11, *UDP_OFF)],
            id="closed-conditional-blocks-of-other-sections",
        ),
        pytest.param(
            "@if file_exists /etc/x\n[Misc]\n@else\n[Log]\n@end\n[PortCheck]\nPortCheckUDP=no",
            [Line(7, *UDP_OFF)],
            id="other-sections-in-a-block",
        ),
        pytest.param(
            "[PortCheck]\nPortCheckUDP=no\n#[EOF]\n;-----BEGIN PGP SIGNATURE-----\n"
            "PortCheckSkip=1/tcp",
            [Line(2, *UDP_OFF), Line(5, "portcheckskip", "1/tcp")],
            id="end-marks-in-comments",
        ),
        pytest.param(
            "[PortCheck]\n[Misc]\n@x\n@y\n@end\n@fi\n[EOF]\n[PortChecks]\njunk",
            [],
            id="end-mark-after-nested-blocks",
        ),
        pytest.param(
            "@end\n[Misc]\n@else\n[PortCheck]\nPortCheckUDP=no",
            [Line(5, *UDP_OFF)],
            id="other-sections-are-not-judged",
        ),
    ],
)
def test_lines_of_the_section_are_found(text: str, found: list[Line]) -> None:
    assert read(text) == found


FORMLESS = "is not of the form KEY = VALUE"
CONDITIONAL = "conditional blocks cannot stand in [PortCheck]"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("", [Line(1, error="no [PortCheck] section")], id="empty-file"),
        pytest.param("[Misc]\n", [Line(1, error="no [PortCheck] section")], id="no-section"),
        pytest.param(
            "[Misc]\n[EOF]\n# added\n [PORTCHECK]\r\nPortCheckUDP=no\n[PortCheck]",
            [
                Line(4, error="[PORTCHECK] stands after [EOF] on line 2: move it above"),
                Line(6, error="[PortCheck] stands after [EOF] on line 2: move it above"),
            ],
            id="after-the-end",
        ),
        pytest.param(
            "[PortCheck]\nPortCheckUDP=no\n-----BEGIN PGP SIGNATURE-----\n\n"
            "-----END PGP SIGNATURE-----\n[PortCheck]\njunk",
            [
                Line(2, *UDP_OFF),
                Line(
                    6,
                    error="[PortCheck] stands after -----BEGIN PGP SIGNATURE----- on line 3: "
                    "move it above",
                ),
            ],
            id="another-section-after-a-signature",
        ),
        pytest.param(
            "[PortCheck]\nPortCheckUDP: no\nportcheckskip 1/tcp, 2/tcp\nPortCheckUDP\nskip:1/tcp",
            [
                Line(2, error=f"'PortCheckUDP: no' {FORMLESS}: write PortCheckUDP = no"),
                Line(
                    3,
                    error=f"'portcheckskip 1/tcp, 2/tcp' {FORMLESS}: "
                    "write PortCheckSkip = 1/tcp, 2/tcp",
                ),
                Line(4, error=f"'PortCheckUDP' {FORMLESS}"),
                Line(5, error=f"'skip:1/tcp' {FORMLESS}: write PortCheckSkip = 1/tcp"),
            ],
            id="other-signs-than-equals",
        ),
        pytest.param(
            "# x\nPortCheckUDP=no\nPortCheckSkip=1/tcp",
            [
                Line(2, *UDP_OFF, "no [PortCheck] section: that heading must precede PortCheckUDP"),
                Line(3, "portcheckskip", "1/tcp"),
            ],
            id="keys-without-any-section",
        ),
        pytest.param(
            "portcheckudp=no\n[PortCheck]\n[Misc]\nPortCheckSkip=1/tcp",
            [
                Line(1, *UDP_OFF, "portcheckudp stands outside the section [PortCheck]"),
                Line(
                    4,
                    "portcheckskip",
                    "1/tcp",
                    "PortCheckSkip stands outside the section [PortCheck]",
                ),
            ],
            id="keys-outside-the-section",
        ),
        pytest.param(
            "[PortCheck]\njunk",
            [Line(2, error="'junk' is not of the form KEY = VALUE")],
            id="no-equals",
        ),
        pytest.param(
            "[PortCheck]\n=no", [Line(2, error="unknown key ''")], id="no-key-before-the-equals"
        ),
        pytest.param(
            "[PortCheck]\nPortCheckUPD=no\nxyzzy=1\nPortCheckUDPxyz=no",
            [
                Line(2, error="unknown key 'PortCheckUPD' (PortCheckUDP?)"),
                Line(3, error="unknown key 'xyzzy'"),
                Line(4, error="unknown key 'PortCheckUDPxyz' (PortCheckUDP?)"),
            ],
            id="unknown-keys",
        ),
        pytest.param(
            "[PortCheck]\nPortCheck\x1bUDP=no",
            [Line(2, error=r"unknown key 'PortCheck\x1bUDP' (PortCheckUDP?)")],
            id="control-character-in-a-key",
        ),
        pytest.param(
            "[PortCheck]\nPortCheckSkip = $(cat /etc/skip)",
            [Line(2, error="PortCheckSkip: commands, $(...), are not executed")],
            id="command",
        ),
        pytest.param(
            "[PortCheck]\n@if file_exists /etc/x\nPortCheckUDP=no\n@else\n@end",
            [Line(2, error=CONDITIONAL), Line(3, *UDP_OFF)],
            id="if",
        ),
        *(
            pytest.param(
                f"[PortCheck]\n{opening}\n{closing}\n", [Line(2, error=CONDITIONAL)], id=opening
            )
            for opening, closing in [
                ("@myhost", "@end"),
                ("!@myhost", "@fi"),
                ("$Linux:.*", "$end"),
                ("!$Linux", "@end"),
                ("@endless", "@end"),
            ]
        ),
        pytest.param(
            "[PortCheck]\n@end\n@else",
            [
                Line(2, error="'@end' belongs to no conditional block"),
                Line(3, error="'@else' belongs to no conditional block"),
            ],
            id="end-without-a-beginning",
        ),
        pytest.param(
            "[Misc]\n@if file_exists /etc/x\n$y\n[PortCheck]\nPortCheckUDP=no\n$end\n@end",
            [
                Line(
                    4,
                    error="[PortCheck] cannot stand in a conditional block (opened on line 3)",
                ),
                Line(5, *UDP_OFF),
            ],
            id="section-in-an-open-block",
        ),
        pytest.param(
            "[PortCheck]\n[Misc]\n@myhost\n[EOF]\n@end\n[PortCheck]\nPortCheckUDP=no",
            [
                Line(4, error="[EOF] cannot stand in a conditional block (opened on line 3)"),
                Line(7, *UDP_OFF),
            ],
            id="end-mark-in-an-open-block",
        ),
        pytest.param(
            "[PortChecks]\nPortCheckUDP=no",
            [Line(1, error="'[PortChecks]' is not [PortCheck]"), Line(2, *UDP_OFF)],
            id="heading-that-samhain-would-accept",
        ),
        pytest.param(
            "[PortChec]\nPortCheckUDP=no\n[PortCheck]",
            [Line(2, *UDP_OFF, "PortCheckUDP stands outside the section [PortCheck]")],
            id="heading-of-another-section",
        ),
        pytest.param(
            "[PortCheck\nPortCheckUDP=no",
            [Line(1, error="'[PortCheck' is not [PortCheck]"), Line(2, *UDP_OFF)],
            id="heading-without-an-end",
        ),
        pytest.param(
            "[PortCheck] # ports\nPortCheckUDP=no",
            [Line(1, error="'[PortCheck] # ports' is not [PortCheck]"), Line(2, *UDP_OFF)],
            id="comment-after-the-heading",
        ),
        pytest.param(
            "[PortCheck]\nPortCheckSkip=1/tcp\n  [::1]:2/tcp\nPortCheckUDP=no",
            [
                Line(2, "portcheckskip", "1/tcp"),
                Line(3, error="'[::1]:2/tcp' is no section heading"),
                Line(4, *UDP_OFF),
            ],
            id="continuation-that-looks-like-a-heading",
        ),
    ],
)
def test_what_cannot_be_read_the_same_way_is_an_error(text: str, found: list[Line]) -> None:
    assert read(text) == found


@given(st.text(st.sampled_from("[]PortCheckUDP=no @$!#;\n\r\t\ufeffend")))
def test_every_line_found_says_something_and_has_its_number(text: str) -> None:
    found = read(text)
    assert all(line.key in {*KEYS, ""} and (line.key or line.error) for line in found)
    assert all(1 <= line.number <= text.count("\n") + 1 for line in found)
    assert all("\n" not in line.error for line in found)

"""The forms of output that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_portcheck.config.settings import Format

if TYPE_CHECKING:
    from check_portcheck.report.form import Form


def form_of(which: Format) -> Form:
    """The form of that name; only the one that a run uses is loaded."""
    match which:
        case Format.NAGIOS:
            from check_portcheck.report.nagios import Nagios

            return Nagios()
        case Format.CHECKMK:
            from check_portcheck.report.checkmk import Checkmk

            return Checkmk()
        case Format.JSON:
            from check_portcheck.report.json_object import JsonObject

            return JsonObject()

"""What the guides show is what the commands print.

``REWRITE_GUIDES=1`` in the environment writes into them what is printed now.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from machine import SHIPPED
from server import printed, server
from sessions import matches, rewritten, steps

if TYPE_CHECKING:
    from namespace import Program

pytestmark = [pytest.mark.daemons, pytest.mark.once]

SERVICES = {
    "README.md": ("ssh",),
    "docs/output.md": ("ssh", "nagios-nrpe-server"),
    "docs/policy.md": ("ssh",),
    "docs/state.md": ("ssh",),
    "nrpe/README.md": ("ssh",),
    "icinga/README.md": ("ssh",),
    "docs/tour.md": ("ssh", "nginx", "nagios-nrpe-server"),
}
"""For each guide with sessions what runs on the server before the first of them."""


@pytest.mark.parametrize("guide", SERVICES)
def test_a_guide_shows_what_its_commands_print(guide: str, program: Program) -> None:
    path = SHIPPED / guide
    text = path.read_text()
    with server(program, *SERVICES[guide]) as here:
        if os.environ.get("REWRITE_GUIDES"):
            path.write_text(rewritten(text, lambda step: printed(here, step)))
            return
        for step in steps(text):
            output = printed(here, step)
            assert matches(step.output, output), f"{step.command}\n{output}"

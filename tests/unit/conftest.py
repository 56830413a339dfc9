from __future__ import annotations

from typing import TYPE_CHECKING

import hypothesis

if TYPE_CHECKING:
    import pytest

# A busy machine is no fault of the code.
hypothesis.settings.register_profile(
    "any speed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile(
    "thorough", parent=hypothesis.settings.get_profile("any speed"), max_examples=100_000
)


def pytest_configure(config: pytest.Config) -> None:
    """What a run asks for with ``--hypothesis-profile=thorough`` stands."""
    if not config.getoption("--hypothesis-profile"):
        hypothesis.settings.load_profile("any speed")

"""Readers of a plugin's output that others wrote: performance data as they understand it.

Icinga Web 2 and Perl's Monitoring::Plugin, which many plugins are made with. Both pass over what
they do not understand, so that what they understood has to be compared.
"""

from __future__ import annotations

import json
import subprocess
from typing import NamedTuple

_ICINGA_WEB = """
$at = "/usr/share/icingaweb2/modules/monitoring/library/Monitoring/Plugin";
foreach (["ThresholdRange", "Perfdata", "PerfdataSet"] as $name) require "$at/$name.php";
$text = stream_get_contents(STDIN);
$found = [];
foreach (Icinga\\Module\\Monitoring\\Plugin\\PerfdataSet::fromString($text) as $each)
    $found[] = [$each->getLabel(), $each->getValue(), $each->isSeconds() ? "s" : "",
        (string) $each->getWarningThreshold(), (string) $each->getCriticalThreshold()];
echo json_encode($found);
"""

_PERL = """
local $/;
print encode_json([map {
    [$_->label, $_->value + 0, $_->uom, $_->warning // "", $_->critical // ""]
} Monitoring::Plugin::Performance->parse_perfstring(<STDIN>)]);
"""

_READERS = (
    ("php", "-r", _ICINGA_WEB),
    ("perl", "-MMonitoring::Plugin::Performance", "-MJSON::PP", "-e", _PERL),
)


class Metric(NamedTuple):
    """One of the performance data."""

    label: str
    value: float
    unit: str
    warn: str
    crit: str


def metrics(perfdata: str) -> list[Metric]:
    """The performance data, of which all readers understand the same."""
    understood = [
        subprocess.run(reader, input=perfdata, stdout=subprocess.PIPE, check=True, text=True).stdout
        for reader in _READERS
    ]
    first, *others = ([Metric(*each) for each in json.loads(text)] for text in understood)
    assert all(other == first for other in others), understood
    return first

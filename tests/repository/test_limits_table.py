"""The table of limits in docs/operations.md has every limit, with its default."""

import re
from pathlib import Path

import pytest

from intone.server.command_line import SECTIONS
from intone.server.config import Config, public_settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "ms": 0.001, "s": 1, "min": 60, "h": 3600}
NO_LIMITS = {"max_unit_characters", "max_lead_ms"}
"""Settings with such a name that say how the server works, not what callers may do."""


def rows() -> dict[str, str]:
    """Settings and their defaults as the table has them."""
    found: dict[str, str] = {}
    section = PAGE.read_text("utf8").partition("## Limits")[2].partition("### Admission")[0]
    for line in section.splitlines():
        if line.startswith("| `--"):
            flags, defaults = line.split("|")[1:3]
            names = [flag.replace("-", "_") for flag in re.findall(r"`--([a-z-]+)`", flags)]
            found |= dict(zip(names, re.split(", ", defaults.strip()), strict=True))
    return found


def value_of(text: str, name: str) -> float:
    number, _, unit = text.partition(" ")
    factor = UNITS[unit] * (1000 if name.endswith("_ms") and unit else 1)
    return float(number.replace(",", "")) * factor


def limits() -> list[str]:
    """The settings under the headings of limits, and others that are named like one."""
    section, found = "", []
    for setting in public_settings():
        section = SECTIONS.get(setting.name, section)
        named = setting.name.startswith("max_") or setting.name.endswith("_timeout_s")
        if (named or section in ("limits", "lost connections")) and setting.name not in NO_LIMITS:
            found.append(setting.name)
    return found


def test_every_limit_is_in_the_table():
    assert set(limits()) - set(rows()) == set()


@pytest.mark.parametrize(("name", "text"), rows().items(), ids=rows())
def test_defaults(name, text):
    assert value_of(text, name) == pytest.approx(float(getattr(Config(), name)))

"""The engines of this package, in the order of preference among those that could speak a unit alike.

To add an engine, write a folder with a class that implements `base.Engine` and an `EngineEntry`, and add the entry to
`ENGINES`. Settings, flags, `--help`, routing and the wire follow from the entry and from the engine's `EngineInfo`.
"""

from collections.abc import Mapping

from intone.server.engines.base import EngineEntry
from intone.server.engines.indextts.entry import ENTRY as INDEXTTS
from intone.server.engines.starter.entry import ENTRY as STARTER
from intone.server.engines.voxcpm.entry import ENTRY as VOXCPM

Registry = Mapping[str, EngineEntry]
"""Entries by the names of their engines, in order of preference."""

ENGINES: Registry = {entry.name: entry for entry in (VOXCPM, INDEXTTS, STARTER)}

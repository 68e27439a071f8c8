"""The starter engine's entry in the registry."""

from intone.server.engines.base import EngineEntry, EngineSetting

ENTRY = EngineEntry(
    name="starter",
    engine="intone.server.engines.starter.engine:StarterEngine",
    settings=(EngineSetting("starter", True, "load the starter engine: small, packaged, English, one voice"),),
    voices=("starter",),
    reference_voice="intone.server.engines.starter.engine:reference_voice",
)

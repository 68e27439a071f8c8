"""The tone engine's entry in the registry."""

from intone.server.engines.base import EngineEntry, EngineSetting

ENTRY = EngineEntry(
    name="tone",
    engine="tests.support.tone_engine.engine:ToneEngine",
    settings=(
        EngineSetting("tone", False, "load the tone engine"),
        EngineSetting("tone_hz", "440", "frequency of its voice"),
    ),
)

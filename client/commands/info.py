"""`intone info`: show the engines, formats and limits of a server."""

import argparse
from collections.abc import Sequence
from dataclasses import fields

from rich.table import Table

from intone.client.commands.arguments import add_connection, add_json, make_client
from intone.client.events import StreamLimits
from intone.client.json_values import to_json
from intone.client.server_info import EngineInfo, ServerInfo, ServerLimits
from intone.client.tools.console import Console
from intone.client.tools.json_output import write_json
from intone.client.tools.utterance_report import milliseconds

_SHOWN_WORDS = 12

_EPILOG = """\
examples:
  intone info
  intone info --server tts.example.com:443 --tls
  intone info --json | jq .limits
"""


def add_command(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare `info`."""
    parser = subcommands.add_parser(
        "info",
        help="show the engines and limits of a server",
        description="Show a server's version, features, engines with their parameters, and limits.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_json(parser, "the information")
    add_connection(parser)
    parser.set_defaults(command=info)


async def info(arguments: argparse.Namespace) -> int:
    """Print the server's information."""
    async with make_client(arguments) as client:
        server = await client.server_info()
    if arguments.json:
        write_json(to_json(server))
        return 0
    console = Console(highlight=False)
    lines = {
        "plain speech": _plain_speech(server.engines),
        "default voice": f"{server.default_voice}, {server.default_sample_rate_hz} Hz",
        "emotion analyzer": server.emotion_analyzer or "none",
        "emotions known by name": f"{len(server.emotion_labels)}: {_some(server.emotion_labels)}",
        "features": ", ".join(server.features) or "–",
    }
    console.print(f"intone {server.version} at {arguments.server}, {server.open_stream_count} open streams")
    for name, value in lines.items():
        console.print(f"{name}: {value}", markup=False, soft_wrap=True)
    console.print(_engines(server), _parameters(server), _limits(server.limits), sep="\n")
    return 0


def _plain_speech(engines: Sequence[EngineInfo]) -> str:
    """Who speaks which language, unless the voice, the emotion or the client asks for another engine.

    That is the engine of plain speech, and for languages that it does not speak the first trained engine that does.
    """
    speakers: dict[str, str] = {}
    for engine in engines:
        if engine.trained or engine is engines[0]:
            for language in engine.languages:
                speakers.setdefault(language, engine.name)
    return ", ".join(f"{language} by {name}" for language, name in speakers.items())


def _some(words: Sequence[str]) -> str:
    """The first words; there may be hundreds."""
    more = ["… (--json shows all)"] if len(words) > _SHOWN_WORDS else []
    return ", ".join([*words[:_SHOWN_WORDS], *more])


def _engines(server: ServerInfo) -> Table:
    """One column per engine: there are few engines and many properties."""
    table = Table("engine", *(engine.name for engine in server.engines), title="Engines", title_justify="left")
    properties = [_properties(engine) for engine in server.engines]
    for name in properties[0] if properties else ():
        table.add_row(name, *(engine[name] for engine in properties))
    return table


def _properties(engine: EngineInfo) -> dict[str, str]:
    abilities = {
        "voice cloning": engine.clones_voices,
        "emotion": engine.voices_emotion,
        "speed": engine.changes_speed,
    }
    state = "healthy" if engine.healthy else "failing"
    return {
        "model": engine.model,
        "sample rate": f"{engine.sample_rate_hz} Hz",
        "languages": " ".join(engine.languages),
        "supports": ", ".join(name for name, supported in abilities.items() if supported) or "–",
        "device": engine.device,
        "predicted TTFA": milliseconds(engine.predicted_ttfa_ms),
        "units running or queued": str(engine.load),
        "state": state if engine.trained else f"{state}, untrained weights (noise)",
    }


def _parameters(server: ServerInfo) -> Table:
    table = Table(
        "parameter", "engine", title="Parameters of engines, for --parameter NAME=VALUE", title_justify="left"
    )
    table.add_column("range", justify="right")
    table.add_column("default", justify="right")
    table.add_column("what it does")
    for engine in server.engines:
        for parameter in engine.parameters:
            values = f"{parameter.min_value:g} to {parameter.max_value:g}"
            default = "–" if parameter.default_value is None else f"{parameter.default_value:g}"
            table.add_row(parameter.name, engine.name, values, default, parameter.description)
    return table


def _limits(limits: ServerLimits) -> Table:
    table = Table("limit", title="Limits", title_justify="left")
    table.add_column("value", justify="right")
    for owner in (limits, limits.stream):
        for item in fields(owner):
            value = getattr(owner, item.name)
            if not isinstance(value, StreamLimits):
                table.add_row(item.name, "none" if value is None else str(value))
    return table

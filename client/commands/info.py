"""`intone info`: show the engines, formats and limits of a server."""

import argparse

from rich.console import Console
from rich.table import Table

from intone.client.commands.arguments import add_connection, add_json, make_client
from intone.client.tools.json_output import write_message
from intone.client.tools.utterance_report import milliseconds
from intone.proto import speech_pb2

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
        description="Show a server's version, engines, default voice and limits.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_json(parser, "the information")
    add_connection(parser)
    parser.set_defaults(command=info)


async def info(arguments: argparse.Namespace) -> int:
    """Print the server's information."""
    async with make_client(arguments) as client:
        response = await client.server_info()
    if arguments.json:
        write_message(response)
        return 0
    console = Console()
    console.print(f"intone {response.version} at {arguments.server}, {response.open_streams} open streams")
    console.print(f"default voice {response.default_voice}, {response.default_sample_rate_hz} Hz")
    console.print(f"emotion analyzer: {response.emotion_analyzer or 'none'}")
    console.print(_engines(response))
    console.print(_limits(response.limits))
    return 0


def _engines(response: speech_pb2.GetServerInfoResponse) -> Table:
    """One column per engine: there are few engines and many properties."""
    table = Table("engine", *(engine.name for engine in response.engines), title="Engines", title_justify="left")
    properties = [_properties(engine) for engine in response.engines]
    for name in properties[0] if properties else ():
        table.add_row(name, *(engine[name] for engine in properties))
    return table


def _properties(engine: speech_pb2.EngineInfo) -> dict[str, str]:
    abilities = {
        "voice cloning": engine.clones_voices,
        "emotion": engine.voices_emotion,
        "speed": engine.changes_speed,
    }
    state = "healthy" if engine.healthy else "failing"
    predicted_ms = engine.predicted_ttfa_ms if engine.HasField("predicted_ttfa_ms") else None
    return {
        "model": engine.model,
        "sample rate": f"{engine.sample_rate_hz} Hz",
        "languages": " ".join(engine.languages),
        "supports": ", ".join(name for name, supported in abilities.items() if supported) or "–",
        "device": engine.device,
        "predicted TTFA": milliseconds(predicted_ms),
        "units running or queued": str(engine.load),
        "state": state if engine.trained else f"{state}, untrained weights (noise)",
    }


def _limits(limits: speech_pb2.ServerLimits) -> Table:
    table = Table("limit", title="Limits", title_justify="left")
    table.add_column("value", justify="right")
    for field in limits.DESCRIPTOR.fields:
        table.add_row(field.name, str(getattr(limits, field.name)))
    return table

"""`intone info`: what a server is."""

import argparse

from rich.console import Console
from rich.table import Table

from intone.client.commands.arguments import add_connection, add_json, client
from intone.client.commands.narrator import write_message
from intone.client.tools.report import milliseconds
from intone.proto import speech_pb2


def add_command(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare `info`."""
    parser = subcommands.add_parser("info", help="engines, formats and limits of a server")
    add_json(parser, "it")
    add_connection(parser)
    parser.set_defaults(command=info)


async def info(arguments: argparse.Namespace) -> int:
    """Ask and print."""
    async with client(arguments) as connection:
        answer = await connection.server_info()
    if arguments.json:
        write_message(answer)
        return 0
    console = Console()
    console.print(f"intone {answer.version} at {arguments.server}, {answer.open_streams} streams open")
    console.print(f"default voice {answer.default_voice}, {answer.default_sample_rate_hz} Hz")
    console.print(f"emotions are read from texts by: {answer.emotion_analyzer or 'none'}")
    console.print(_engines(answer))
    console.print(_limits(answer.limits))
    return 0


def _engines(answer: speech_pb2.GetServerInfoResponse) -> Table:
    """One column an engine: there are few, and much is to be said of each."""
    table = Table("engine", *(engine.name for engine in answer.engines), title="Engines", title_justify="left")
    told = [_about(engine) for engine in answer.engines]
    for name in told[0] if told else ():
        table.add_row(name, *(about[name] for about in told))
    return table


def _about(engine: speech_pb2.EngineInfo) -> dict[str, str]:
    abilities = {"clone": engine.clones_voices, "emotion": engine.voices_emotion, "speed": engine.changes_speed}
    state = "healthy" if engine.healthy else "failing"
    expected_ms = engine.predicted_ttfa_ms if engine.HasField("predicted_ttfa_ms") else None
    return {
        "model": engine.model,
        "rate": f"{engine.sample_rate_hz} Hz",
        "languages": " ".join(engine.languages),
        "can": ", ".join(name for name, able in abilities.items() if able) or "–",
        "device": engine.device,
        "first sound, expected": milliseconds(expected_ms),
        "units at work or waiting": str(engine.load),
        "state": state if engine.trained else f"{state}, untrained: expect noise",
    }


def _limits(limits: speech_pb2.ServerLimits) -> Table:
    table = Table("limit", title="Limits", title_justify="left")
    table.add_column("value", justify="right")
    for field in limits.DESCRIPTOR.fields:
        table.add_row(field.name, str(getattr(limits, field.name)))
    return table

"""`intone info`: what a server is."""

import argparse

from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.table import Table

from intone.client.commands.arguments import add_connection, add_json, client
from intone.client.commands.narrator import write_json
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
        write_json(MessageToDict(answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True))
        return 0
    console = Console()
    console.print(f"intone {answer.version} at {arguments.server}, {answer.open_streams} streams open")
    console.print(f"default voice {answer.default_voice}, {answer.default_sample_rate_hz} Hz")
    console.print(_engines(answer))
    console.print(_limits(answer.limits))
    return 0


def _engines(answer: speech_pb2.GetServerInfoResponse) -> Table:
    table = Table(
        "engine", "model", "rate", "languages", "can", "device", "state", title="Engines", title_justify="left"
    )
    for engine in answer.engines:
        can = [name for name, able in (("clone", engine.clones_voices), ("emotion", engine.voices_emotion)) if able]
        state = "healthy" if engine.healthy else "failing"
        state += "" if engine.trained else ", untrained: expect noise"
        rate = f"{engine.sample_rate_hz} Hz"
        languages = " ".join(engine.languages)
        table.add_row(engine.name, engine.model, rate, languages, ", ".join(can) or "–", engine.device, state)
    return table


def _limits(limits: speech_pb2.ServerLimits) -> Table:
    table = Table("limit", title="Limits", title_justify="left")
    table.add_column("value", justify="right")
    for field in limits.DESCRIPTOR.fields:
        table.add_row(field.name, str(getattr(limits, field.name)))
    return table

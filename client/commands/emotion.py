"""`intone emotion`: the emotion that the server reads from a text."""

import argparse

from rich.bar import Bar
from rich.console import Console
from rich.table import Table

from intone.client.commands.arguments import add_connection, add_json, client
from intone.client.commands.narrator import write_message
from intone.client.settings import WEIGHT_NAMES, wire_name
from intone.proto import emotion_pb2, speech_pb2

_LARGEST_WEIGHT = 1.2
_BAR_WIDTH = 32

_EXAMPLES = """\
An utterance that asks for no emotion, on a stream that asks for none, without a tag such as [happy] in its text, sounds
as the server reads it from the text. This shows what it reads.

examples:
  intone emotion "I can't believe you did that!"
  intone emotion "The meeting is at ten." --json
"""


def add_command(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare `emotion`."""
    parser = subcommands.add_parser(
        "emotion",
        help="the emotion that the server reads from a text",
        description="Read the emotion of a text, as conversations do.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("text", nargs="+", metavar="TEXT")
    add_json(parser, "the answer")
    add_connection(parser)
    parser.set_defaults(command=emotion)


async def emotion(arguments: argparse.Namespace) -> int:
    """Ask and print."""
    async with client(arguments) as connection:
        answer = await connection.analyze_emotion(" ".join(arguments.text))
    if arguments.json:
        write_message(answer)
        return 0
    label = wire_name(emotion_pb2.EmotionLabel, "EMOTION_LABEL_", answer.label)
    console = Console(highlight=False)
    console.print(f"[bold]{label}[/], intensity {answer.intensity:.2f}")
    console.print(answer.explanation, style="dim", markup=False, soft_wrap=True)
    console.print(_bars(answer))
    return 0


def _bars(answer: speech_pb2.AnalyzeEmotionResponse) -> Table:
    table = Table("emotion", "weight", title="Weights", title_justify="left")
    table.add_column("", justify="right")
    for name, weight in zip(WEIGHT_NAMES, answer.emotion.weights, strict=False):
        bar = Bar(size=_LARGEST_WEIGHT, begin=0, end=weight, width=_BAR_WIDTH, color="magenta")
        table.add_row(name, bar, f"{weight:.2f}" if weight else "–")
    return table

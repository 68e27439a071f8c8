"""`intone emotion`: analyze the emotion of a text."""

import argparse

from rich.bar import Bar
from rich.console import Console
from rich.table import Table

from intone.client.commands.arguments import add_connection, add_json, make_client
from intone.client.settings import EMOTION_WEIGHT_NAMES, wire_name
from intone.client.tools.json_output import write_message
from intone.proto import emotion_pb2, speech_pb2

_MAX_WEIGHT = 1.2
_BAR_WIDTH = 32

_EPILOG = """\
The server uses this analysis for every utterance that has no emotion of its own, on a stream that has none, without a
tag such as [happy] in its text.

examples:
  intone emotion "I can't believe you did that!"
  intone emotion "The meeting is at ten." --json
"""


def add_command(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare `emotion`."""
    parser = subcommands.add_parser(
        "emotion",
        help="analyze the emotion of a text",
        description="Analyze the emotion of a text with the server's analyzer.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("text", nargs="+", metavar="TEXT", help="several words are joined with spaces")
    add_json(parser, "the result")
    add_connection(parser)
    parser.set_defaults(command=emotion)


async def emotion(arguments: argparse.Namespace) -> int:
    """Print the label, the intensity, the explanation and the weights."""
    async with make_client(arguments) as client:
        response = await client.analyze_emotion(" ".join(arguments.text))
    if arguments.json:
        write_message(response)
        return 0
    label = wire_name(emotion_pb2.EmotionLabel, "EMOTION_LABEL_", response.label)
    console = Console(highlight=False)
    console.print(f"[bold]{label}[/], intensity {response.intensity:.2f}")
    console.print(response.explanation, style="dim", markup=False, soft_wrap=True)
    console.print(_weights(response))
    return 0


def _weights(response: speech_pb2.AnalyzeEmotionResponse) -> Table:
    table = Table("emotion", "weight", title="Weights", title_justify="left")
    table.add_column("", justify="right")
    for name, weight in zip(EMOTION_WEIGHT_NAMES, response.emotion.weights, strict=False):
        bar = Bar(size=_MAX_WEIGHT, begin=0, end=weight, width=_BAR_WIDTH, color="magenta")
        table.add_row(name, bar, f"{weight:.2f}" if weight else "–")
    return table

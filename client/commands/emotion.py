"""`intone emotion`: analyze the emotion of a text."""

import argparse

from rich.bar import Bar
from rich.table import Table

from intone.client.commands.arguments import add_connection, add_json, make_client
from intone.client.json_values import to_json
from intone.client.server_info import EmotionAnalysis
from intone.client.tools.console import Console
from intone.client.tools.json_output import write_json

_MAX_WEIGHT = 1.2
_BAR_WIDTH = 32

_EPILOG = """\
The server uses this analysis for every utterance that has no emotion of its own, on a stream that has none, without a
tag such as [happy] in its text. `intone info` lists the words that --emotion knows exactly; other words are mapped.

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
        analysis = await client.analyze_emotion(" ".join(arguments.text))
    if arguments.json:
        write_json(to_json(analysis))
        return 0
    console = Console(highlight=False)
    console.print(f"[bold]{analysis.label}[/], intensity {analysis.intensity:.2f}")
    console.print(analysis.explanation, style="dim", markup=False, soft_wrap=True)
    console.print(_weights(analysis))
    return 0


def _weights(analysis: EmotionAnalysis) -> Table:
    table = Table("emotion", "weight", title="Weights", title_justify="left")
    table.add_column("", justify="right")
    for name, weight in analysis.weights._asdict().items():
        bar = Bar(size=_MAX_WEIGHT, begin=0, end=weight, width=_BAR_WIDTH, color="magenta")
        table.add_row(name, bar, f"{weight:.2f}" if weight else "–")
    return table

"""`intone read`: show how a text is read, on this machine, without a server."""

import argparse
import itertools
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from intone.client.commands.arguments import add_json
from intone.client.extras import MissingExtraError
from intone.client.tools.console import Console

if TYPE_CHECKING:
    from intone.server.conversation.tagged_text import TextUnit
    from intone.server.text.cues import TextFormat
    from intone.server.text.normalization.pipeline import Piece

_EPILOG = """\
Shows the units that a text is cut into, what each stage makes of a unit, and for every piece of it: what is written,
where, its class, its words and its sounds. To report a misreading, send what this prints.

examples:
  intone read "It costs $3.50 on 3/4."
  intone read "价格是$3.50。" --json | jq .units
  intone read "5" --language zh
  intone read '<speak>Hi <sub alias="World Wide Web">WWW</sub></speak>' --format ssml

It needs the server's text package (pip install 'intone[server]'); the sounds need the extras 'starter' (English) and
'mandarin'.
"""

_COLOURS = {
    "text": "", "money": "green", "number": "cyan", "date": "magenta", "time": "magenta", "year": "magenta",
    "code": "yellow", "telephone": "yellow", "address": "blue", "measure": "cyan", "pronunciation": "red",
}  # fmt: skip

_IDEOGRAPHS = re.compile("[\u4e00-\u9fff]{2}\\Z")


def add_command(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare `read`."""
    parser = subcommands.add_parser(
        "read",
        help="show how a text is read: classes, words, sounds",
        description="Show how a text is read, on this machine, without a server.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("text", nargs="+", metavar="TEXT", help="several words are joined with spaces; - reads stdin")
    parser.add_argument("--language", default="", metavar="CODE", help="language of the conversation, such as en or zh")
    parser.add_argument(
        "--format", choices=("plain", "tags", "ssml"), default="tags", help="how the text is written; default: tags"
    )
    parser.add_argument("--no-sounds", action="store_true", help="leave the sounds out, which take seconds to load")
    add_json(parser, "everything")
    parser.set_defaults(command=read)


async def read(arguments: argparse.Namespace) -> int:
    """Print what the stages make of the text.

    Raises:
        MissingExtraError: the server's text package is not installed.
        ValueError: the text is not SSML although the format says so.
    """
    text = sys.stdin.read() if arguments.text == ["-"] else " ".join(arguments.text)
    found = _read(text, arguments.format, arguments.language, sounds=not arguments.no_sounds)
    if arguments.json:
        sys.stdout.write(json.dumps(found, ensure_ascii=False, indent=2) + "\n")
    else:
        _show(found, Console(highlight=False))
    return 0


def _read(text: str, text_format: str, language: str, *, sounds: bool) -> dict[str, Any]:
    """Everything that is shown, ready for JSON. Spans are positions in the text as it was given."""
    try:
        from intone.server.conversation.tagged_text import TaggedText
        from intone.server.emotion.cues import emotion_of, read_cues
        from intone.server.text.atoms import atoms_in
        from intone.server.text.cues import Cue, Pause, TextFormat
        from intone.server.text.segmenter import Segmenter
    except ImportError as error:
        raise MissingExtraError("reading a text", "server") from error
    given = TextFormat(text_format)
    tagged = TaggedText(Segmenter(), given)
    units = [unit for unit in [*tagged.push(text), *tagged.finish()] if unit.pieces]
    silent = list(atoms_in(text))  # in code and thinking nothing is a cue
    pieces = [one for one in read_cues(text, given) if not any(start < one.start < end for start, end in silent)]
    estimates = {cue: emotion_of(cue) for cue in pieces if isinstance(cue, Cue)}
    phonemize = _phonemizer(any("\u4e00" <= one <= "\u9fff" for one in text)) if sounds else None
    return {
        "text": text,
        "language": language,
        "cues": [
            {"start": cue.start, "end": cue.end, "name": cue.name, "emotion": estimate.label if estimate else None}
            for cue, estimate in estimates.items()
        ],
        "pauses": [
            {"start": pause.start, "end": pause.end, "ms": pause.ms} for pause in pieces if isinstance(pause, Pause)
        ],
        "units": [_unit(text, unit, language, given, phonemize) for unit in units],
    }


def _unit(
    original: str, unit: "TextUnit", language: str, text_format: "TextFormat", phonemize: Callable[[str], str] | None
) -> dict[str, Any]:
    from intone.server.text.cues import join_texts  # installed: `_read` has imported its neighbours
    from intone.server.text.normalization.pipeline import run_stages

    written = join_texts(unit.pieces)
    text, readings = written.text, written.readings
    stages = run_stages(text.text, language, (), readings, text_format)
    normalized = stages.normalized

    def shown(one: "Piece", sounds: str) -> dict[str, Any]:
        begin, stop = text.span(one.start, max(one.end, one.start + 1))
        return {
            "written": original[begin:stop],
            "start": begin,
            "end": stop,
            "class": one.kind,
            "words": one.spoken.strip(),
            "sounds": one.sounds or sounds,
        }

    pieces = [one for one in _phrases(normalized.pieces) if one.spoken.strip()]
    sounds = phonemize(normalized.marked) if phonemize else ""
    each = _sounds_of(pieces, sounds, phonemize) if phonemize else [""] * len(pieces)
    return {
        "start": unit.start,
        "end": unit.end,
        "emotion": unit.emotion.label if unit.emotion else None,
        "written": text.text,
        "clean": stages.clean.text,
        "plain": stages.plain.text,
        "spoken": normalized.spoken,
        "sounds": sounds,
        "ms": {name: round(1000 * took_s, 3) for name, took_s in stages.took_s.items()},
        "pieces": [shown(one, its_sounds) for one, its_sounds in zip(pieces, each, strict=True)],
    }


def _phrases(pieces: Sequence["Piece"]) -> list["Piece"]:
    """The pieces, with ideographs that follow one another as one: alone they may be said in another way."""
    phrases: list[Piece] = []
    for one in pieces:
        before = phrases[-1] if phrases else None
        if before and before.kind == one.kind == "text" and _IDEOGRAPHS.search(before.spoken + one.spoken[:1]):
            phrases[-1] = replace(before, spoken=before.spoken + one.spoken, end=one.end)
        else:
            phrases.append(one)
    return phrases


def _sounds_of(pieces: Sequence["Piece"], sounds: str, phonemize: Callable[[str], str]) -> list[str]:
    """The part of a unit's sounds that each piece has; what it has alone where they cannot be told apart."""
    from intone.server.text.pronunciation.marks import marked

    alone = [phonemize(marked(one.spoken.strip(), one.sounds) if one.sounds else one.spoken) for one in pieces]
    alone = [said if any(map(str.isalpha, said)) else "" for said in alone]
    words, counts = sounds.split(), [len(said.split()) for said in alone]
    if sum(counts) == len(words):
        ends = list(itertools.accumulate(counts))
        alone = [" ".join(words[end - count : end]) for end, count in zip(ends, counts, strict=True)]
    return [said.rstrip(",.;:!?—…") for said in alone]


def _phonemizer(chinese: bool) -> Callable[[str], str] | None:
    """The phonemizer of the packaged voice; None, with a line on stderr, where its packages are not installed."""
    try:
        from intone.server.engines.phonemes import phonemizer
        from intone.server.errors import CheckpointError
    except ImportError as error:
        _note(f"no sounds: {error}")
        return None
    try:
        return phonemizer("hibari", ("en", "zh") if chinese else ("en",))
    except CheckpointError as error:
        _note(f"no sounds: {error}")
        return None


def _note(message: str) -> None:
    Console(stderr=True, highlight=False).print(message, style="dim", markup=False, soft_wrap=True)


def _show(found: dict[str, Any], console: Console) -> None:
    for cue in found["cues"]:
        effect = cue["emotion"] or "not spoken"
        console.print(f"cue {cue['name']!r} at {cue['start']}–{cue['end']}: {effect}", style="dim", markup=False)
    for pause in found["pauses"]:
        console.print(f"pause of {pause['ms']} ms at {pause['start']}–{pause['end']}", style="dim", markup=False)
    for number, unit in enumerate(found["units"], 1):
        mood = f", {unit['emotion']}" if unit["emotion"] else ""
        console.print(f"unit {number}: characters {unit['start']}–{unit['end']}{mood}", style="italic", markup=False)
        table = Table()
        for column in ("written", "span", "class", "words", "sounds"):
            table.add_column(column, overflow="fold")
        for piece in unit["pieces"]:
            style = _COLOURS.get(piece["class"], "bright_blue")
            cells = (
                piece["written"],
                f"{piece['start']}–{piece['end']}",
                piece["class"],
                piece["words"],
                piece["sounds"],
            )
            table.add_row(*(Text(cell.strip(), style=style) for cell in cells))
        for stage in ("written", "clean", "plain", "spoken", "sounds"):
            if unit[stage]:
                console.print(f"[bold]{stage:<8}[/]", Text(unit[stage].strip()), soft_wrap=True)
        console.print(table)
    if not found["units"]:
        console.print("nothing to read")

"""Narrates a book: a Markdown file, whose headings are chapters, to a WAV or Ogg Opus file and a list of its chapters.

    python examples/narrate.py book.md --out book.wav
    python examples/narrate.py book.md --out book.ogg         # Opus; needs `pip install soundfile`

Beside the audio it writes `book.chapters.txt`, in the format of ffmpeg. To put both into one file with chapters:
`ffmpeg -i book.wav -i book.chapters.txt -map_metadata 1 book.m4b`. It needs a running `intone-server`.
"""

import argparse
import asyncio
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.progress import Progress

from intone.client import AsyncSpeechClient, Format, SpeechSettings, StreamSettings, WavWriter

PAUSE_S = 1.5
"""Silence between two chapters."""

HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t#]*$", re.MULTILINE)


@dataclass
class Chapter:
    """A heading and the text below it. `start` and `end` are samples of the audio."""

    title: str
    text: str
    start: int = 0
    end: int = 0


class Sink(Protocol):
    """Takes samples in the format of the stream."""

    def write(self, data: bytes) -> None:
        """Append samples."""


def chapters(book: str) -> list[Chapter]:
    """The chapters of a Markdown text; what comes before the first heading is one without a title."""
    first, *rest = HEADING.split(book)
    found = [Chapter(title, text) for title, text in zip(rest[::2], rest[1::2], strict=True)]
    return ([Chapter("", first)] if first.strip() else []) + found


@contextmanager
def opus(path: Path, audio_format: Format) -> Iterator[Sink]:
    """Encodes while the audio arrives."""
    import soundfile  # only needed for Opus

    with soundfile.SoundFile(path, "w", audio_format.sample_rate_hz, 1, format="OGG", subtype="OPUS") as file:

        class Encoder:
            def write(self, data: bytes) -> None:
                file.write(audio_format.decode(data))

        yield Encoder()


def sink(path: Path, audio_format: Format) -> AbstractContextManager[Sink]:
    """A file of the kind that the ending of its name says."""
    return opus(path, audio_format) if path.suffix in (".ogg", ".opus") else WavWriter(path, audio_format)


async def narrate(book: list[Chapter], out: Path, voice: str) -> int:
    """Speak all chapters into one file, and note where each is.

    Returns:
        The sample rate in hertz.
    """
    characters = sum(len(chapter.text) for chapter in book)
    # Nobody listens meanwhile: made as fast as it can be, without fillers. 24 kHz can be written as Opus, too.
    settings = StreamSettings(service_class="offline", sample_rate_hz=24_000, defaults=SpeechSettings(voice=voice))
    async with AsyncSpeechClient() as client, client.conversation(settings) as talk:
        with sink(out, talk.configured.format) as file, Progress() as bars:
            bar = bars.add_task("narrating", total=characters)
            position, pause = 0, bytes(2 * int(PAUSE_S * 24_000))
            for chapter in book:
                chapter.start = position
                text = f"{chapter.title}.\n\n{chapter.text}" if chapter.title else chapter.text
                async for pcm in talk.utterance().speak(text).audio_once():
                    file.write(pcm)
                    position += len(pcm) // 2
                chapter.end = position
                file.write(pause)
                position += len(pause) // 2
                bars.update(bar, advance=len(chapter.text), description=chapter.title or "narrating")
        return talk.configured.format.sample_rate_hz


def metadata(book: list[Chapter], title: str, rate_hz: int) -> str:
    """The chapters in ffmpeg's format."""
    lines = [";FFMETADATA1", f"title={title}"]
    for number, chapter in enumerate(book, 1):
        name = re.sub(r"([=;#\\])", r"\\\1", chapter.title or f"Part {number}")
        lines += ["[CHAPTER]", f"TIMEBASE=1/{rate_hz}", f"START={chapter.start}", f"END={chapter.end}", f"title={name}"]
    return "\n".join(lines) + "\n"


async def main() -> None:
    """Narrate the book that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("book", type=Path, help="Markdown or plain text, UTF-8")
    parser.add_argument("--out", type=Path, required=True, help="file to write: .wav, .ogg or .opus")
    parser.add_argument("--voice", default="", help="name of the voice (default: that of the server)")
    arguments = parser.parse_args()
    book = chapters(arguments.book.read_text("utf8"))
    rate_hz = await narrate(book, arguments.out, arguments.voice)
    marks = arguments.out.with_suffix(".chapters.txt")
    marks.write_text(metadata(book, arguments.book.stem, rate_hz), "utf8")
    print(f"wrote {arguments.out} ({book[-1].end / rate_hz:.0f} s, {len(book)} chapters) and {marks}")


if __name__ == "__main__":
    asyncio.run(main())

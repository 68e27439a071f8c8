"""A dialogue of two voices: one on the left, one on the right, without a pause for synthesis between them.

    python examples/two_voices.py --out dialogue.wav
    python examples/two_voices.py script.txt --left ada --right tom --out dialogue.wav

The script has lines such as `A: [happy] Hello!` and `B: Hi.` Each speaker is a conversation of its own. A line is
synthesized while the one before it plays. It needs a running `intone-server`. A fresh machine has one voice, spoken by
two engines, which the defaults use; with recordings, `intone voices create ada ada.wav` makes others.
"""

import argparse
import asyncio
import contextlib
import wave
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from intone.client import AsyncConversation, AsyncSpeechClient, AsyncUtterance, Samples, SpeechSettings, StreamSettings

RATE_HZ = 24_000
GAP_S = 0.25
"""Silence between two lines."""

PAN = 0.85
"""How far to its side each speaker is: 0 is the middle, 1 one channel alone."""

SCRIPT = """
A: Good morning! Did you find the place all right?
B: I did, thank you. The map said twelve minutes, and it took thirty.
A: That happens to everybody. Coffee?
B: Yes, please. Black, no sugar.
"""


@dataclass(frozen=True)
class Line:
    """What a speaker says: "A" on the left, "B" on the right."""

    speaker: str
    text: str


def read(script: str) -> list[Line]:
    """The lines of a script.

    Raises:
        ValueError: a line does not begin with "A:" or "B:".
    """
    found = []
    for number, line in enumerate(script.splitlines(), 1):
        speaker, colon, text = line.partition(":")
        if not line.strip():
            continue
        if not colon or speaker.strip() not in ("A", "B"):
            raise ValueError(f"line {number}: expected 'A: ...' or 'B: ...', found {line[:40]!r}")
        found.append(Line(speaker.strip(), text.strip()))
    return found


async def speak(lines: Iterable[Line], speakers: dict[str, AsyncConversation]) -> list[tuple[str, Samples]]:
    """The samples of each line, in order. The next line is begun before this one has been received."""
    turns: list[tuple[str, AsyncUtterance]] = []
    for line in lines:
        turns.append((line.speaker, speakers[line.speaker].utterance().speak(line.text)))
        if len(turns) > 1:
            await turns[-2][1].done()
    spoken = []
    for speaker, turn in turns:
        await turn.done()
        turn.speech.raise_unless_completed()
        spoken.append((speaker, turn.speech.samples))
    return spoken


def stereo(spoken: list[tuple[str, Samples]]) -> Samples:
    """One after the other, [samples, 2]: left and right."""
    sides = {"A": (1 + PAN, 1 - PAN), "B": (1 - PAN, 1 + PAN)}
    gap = np.zeros((int(GAP_S * RATE_HZ), 2), np.float32)
    parts = [part for speaker, samples in spoken for part in (np.outer(samples, sides[speaker]) / 2, gap)]
    return np.concatenate(parts).astype(np.float32)


async def main() -> None:
    """Speak the script that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", type=Path, nargs="?", help="text file with lines `A: ...` and `B: ...`")
    parser.add_argument("--left", default="", help="voice of A (default: that of the server)")
    parser.add_argument("--right", default="", help="voice of B (default: that of the server, by another engine)")
    parser.add_argument("--out", type=Path, required=True, help="stereo WAV file to write")
    arguments = parser.parse_args()
    lines = read(arguments.script.read_text("utf8") if arguments.script else SCRIPT)
    async with AsyncSpeechClient() as client, contextlib.AsyncExitStack() as stack:
        engines = [engine.name for engine in (await client.server_info()).engines if engine.trained]
        speakers = {}
        for side, voice, engine in (("A", arguments.left, engines[0]), ("B", arguments.right, engines[-1])):
            defaults = SpeechSettings(voice=voice, engine="" if voice else engine)
            settings = StreamSettings(sample_rate_hz=RATE_HZ, service_class="offline", defaults=defaults)
            speakers[side] = await stack.enter_async_context(client.conversation(settings))
        samples = stereo(await speak(lines, speakers))
    with wave.open(str(arguments.out), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    print(f"wrote {arguments.out}: {len(lines)} lines, {len(samples) / RATE_HZ:.1f} s")


if __name__ == "__main__":
    asyncio.run(main())

"""What Whisper base hears from the packaged voices where a wrong reading would be another word. Prints a table.

    make train-judges
    python tests/bench/heard.py [--judges build/judges/bin/python] [--anyway]

Each sentence goes through a server, as a client sends it; the transcript must have the words that a reader says. Exits
with 1 where it has not.
"""

import asyncio
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import soundfile
from conditions import ROOT, command_line, conditions, refuse_if_busy

from intone.client import AsyncSpeechClient
from intone.server.app import serving
from intone.server.config import Config

RATE_HZ = 16_000
VOICES = ("starter", "voxcpm")
SENTENCES = {
    "I said no.": r"\bno\b",
    "The answer is no.": r"\bno\b",
    "Yes and no.": r"\bno\b",
    "I ate a fig.": r"\bfig\b",
    "Visit example.com.": r"example ?(?:\.|dot) ?com",
    "Is it example.com?": r"example ?(?:\.|dot) ?com",
    "See https://example.com/help.": r"example ?(?:\.|dot) ?com",
    "It costs $3.50.": r"3\.50|three dollars and (?:fifty|50) cents",
    "She doesn&#39;t know.": r"doesn't know",
    "[sigh] <break time='0.4s'/>One moment, please.": r"^one moment,? please",
}
"""Sentence → pattern of what must be heard, in lower case."""


async def speak(folder: Path) -> None:
    """Write a WAV of each sentence by each voice, and `texts.tsv` with their names and texts."""
    lines = []
    async with (
        serving(Config(port=0, fillers=False, max_load=0.0, log_level="warning")) as app,
        AsyncSpeechClient(f"127.0.0.1:{app.port}") as client,
    ):
        for engine in VOICES:
            async with client.conversation(engine=engine, seed=1, sample_rate_hz=RATE_HZ) as talk:
                for number, sentence in enumerate(SENTENCES):
                    pcm = b"".join([data async for data in talk.utterance().speak(sentence).audio()])
                    name = f"{engine}_{number}.wav"
                    samples = memoryview(pcm).cast("h")
                    soundfile.write(folder / name, samples, RATE_HZ, subtype="PCM_16")
                    lines.append(f"{name}\t{sentence}")
    (folder / "texts.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    """The command line."""
    parser = command_line(__doc__)
    parser.add_argument("--judges", default="build/judges/bin/python", help="Python with Whisper; default: %(default)s")
    arguments = parser.parse_args()
    busy = refuse_if_busy(arguments.anyway)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(speak(folder))
        judge = [arguments.judges, "-I", str(ROOT / "training" / "judges.py"), name, name, "en"]
        subprocess.run(judge, check=True, stderr=subprocess.DEVNULL)
        rows = json.loads((folder / "judged.json").read_text(encoding="utf-8"))["rows"]
    wrong = 0
    print("| voice | sentence | heard | |\n|---|---|---|---|")
    for row in rows:
        right = re.search(SENTENCES[row["text"]], row["heard"].lower()) is not None
        wrong += not right
        print(f"| {row['file'].split('_')[0]} | {row['text']} | {row['heard']} | {'right' if right else 'WRONG'} |")
    print(f"\n{len(rows) - wrong} of {len(rows)} right. {conditions(busy)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""Intelligibility of the voices that need no download: a real server, a real client, and a phoneme recognizer.

The measure is the phoneme error rate (PER) of hama's transcription against its own phonemes of the text. Good synthetic
speech has 2 to 3 %, an old formant synthesizer 20 %, speech of a different text over 60 %.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from intone.client import AsyncSpeechClient
from intone.server.engines.voxcpm import bundled_voice
from tests.support import real_server
from training import judges

pytestmark = pytest.mark.slow
SENTENCES = (
    "Good morning, and thank you for calling.",
    "The last train to the coast leaves from the second platform.",
    "Could you tell me once more when the parcel should arrive?",
    "My sister keeps seven sheep and a very old horse.",
    "Please turn left behind the church, then follow the river.",
    "It rained all week, so we stayed inside and played cards.",
    "He put the broken chair under the kitchen table.",
    "That is a strange question, but I will try to answer it.",
    "We should ask the doctor before you take any more of these.",
    "Nobody had opened the green door for many years.",
)
MAX_STARTER_PER, MIN_WRONG_TEXT_PER = 0.08, 0.6
NANO_SLACK = 0.02
"""Allowance over the PER in the model card: these are other sentences, and only ten."""

MANDARIN = [
    line.split("\t")
    for line in (Path(__file__).parents[1] / "data" / "mandarin_transcripts.tsv").read_text("utf8").splitlines()
]
"""Sentences, and hama's transcription of the teacher model's speech (training/kokoro.py)."""
MAX_SAME_TEXT_PER, MIN_OTHER_TEXT_PER = 0.6, 0.8
"""Bounds of the mean PER between student and teacher: for the same sentence, and for different ones."""

NANO = bundled_voice.folder()
SPOKEN = bundled_voice.read_card(NANO)["languages"] if NANO else {}
VOICES = {"starter": (), **({"nano": (), "nano in int8": ("--dtype", "int8")} if NANO else {})}
"""Flags of the server for each voice. "nano" is the bundled voice, where the package has one."""


@pytest.fixture(scope="module")
def errors(require):
    """`errors(texts, audio)`: PER of speech at 16 kHz."""
    require("hama", importlib.util.find_spec("hama"), "hama is not installed: pip install hama==1.7.0")

    def rate(texts, audio):
        clips = [(str(number), *clip) for number, clip in enumerate(zip(texts, audio, strict=True))]
        return judges.phonemes(clips, [{} for _ in clips])["per"]

    return rate


def spoken(run, address, engine, sentences=SENTENCES):
    """The audio of each sentence, sent word by word as by a language model, at the recognizer's rate."""

    async def main():
        async with AsyncSpeechClient(address) as client:
            speeches = [
                await client.say(
                    (word + " " for word in sentence.split()),
                    engine=engine,
                    encoding="pcm_f32le",
                    sample_rate_hz=judges.RATE_HZ,
                    filler="off",
                )
                for sentence in sentences
            ]
        assert [(one.started.route.engine, len(one.notices)) for one in speeches] == [(engine, 0)] * len(speeches)
        return [one.samples for one in speeches]

    return run(main(), timeout_s=180.0)


@pytest.fixture
def address(request, voice, tmp_path):
    if voice == "starter":
        yield request.getfixturevalue("server_address")
        return
    with real_server.serving(tmp_path, "--voxcpm", "nano", "--no-starter", "--no-fillers", *VOICES[voice]) as own:
        yield own


@pytest.mark.parametrize("voice", VOICES)
def test_speech_is_intelligible(run, errors, address, voice):
    audio = spoken(run, address, "starter" if voice == "starter" else "voxcpm")
    limit = MAX_STARTER_PER if voice == "starter" else SPOKEN["en"]["per"] + NANO_SLACK
    found = errors(SENTENCES, audio)
    assert found < limit, f"{100 * found:.1f} % of phonemes are wrong"
    # Checks of the measure: different text, noise and silence.
    few = [one[:32_000] for one in audio[:3]]
    assert errors(SENTENCES[1:4], few) > MIN_WRONG_TEXT_PER
    noise = [0.05 * np.random.default_rng(0).standard_normal(len(one)).astype(np.float32) for one in few]
    assert errors(SENTENCES[:3], noise) > MIN_WRONG_TEXT_PER
    assert errors(SENTENCES[:3], [np.zeros_like(one) for one in few]) == 1.0


@pytest.mark.skipif("zh" not in SPOKEN, reason="the voice in the package speaks no Mandarin")
def test_mandarin_sounds_like_the_teacher(run, require, tmp_path):
    """The recognizer does not know Mandarin, but transcribes student and teacher alike for the same sentence."""
    require("hama", importlib.util.find_spec("hama"), "hama is not installed: pip install hama==1.7.0")
    from hama import ASRModel

    sentences, transcripts = zip(*MANDARIN, strict=True)
    with real_server.serving(tmp_path, "--voxcpm", "nano", "--no-starter", "--no-fillers") as address:
        audio = spoken(run, address, "voxcpm", sentences)
    recognizer = ASRModel()
    ours = [recognizer.transcribe_waveform(one, sample_rate=judges.RATE_HZ).phoneme_text.split() for one in audio]
    errors = np.array([[judges.error_rate([theirs.split()], [own]) for own in ours] for theirs in transcripts])
    same = np.eye(len(ours), dtype=bool)
    assert errors[same].mean() < MAX_SAME_TEXT_PER < MIN_OTHER_TEXT_PER < errors[~same].mean(), errors.round(2)
    assert (errors.argmin(0) == np.arange(len(ours))).all(), errors.round(2)

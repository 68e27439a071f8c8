"""Can the voices of a fresh machine be understood? A real server speaks to a real client, and a machine listens.

What hama hears, as phonemes, is compared with its own reading of the text. Well-made speech comes to 2 or 3 % of
errors, an old robot's voice to 20 %, speech of other words to over 60 %.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from intone.client import SpeechClient
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
STARTER_LIMIT, WRONG_TEXT = 0.08, 0.6
NANO_SLACK = 0.02
"""Beyond what the card says: other sentences, and ten of them only."""

MANDARIN = [
    line.split("\t")
    for line in (Path(__file__).parents[1] / "data" / "mandarin_heard.tsv").read_text("utf8").splitlines()
]
"""Sentences, and what hama writes down when their teacher says them (training/kokoro.py)."""
SAME_WORDS, OTHER_WORDS = 0.6, 0.8
"""How much of it is heard otherwise: on the average at most, from who says the same; at least, from who does not."""

NANO = bundled_voice.folder()
SPOKEN = bundled_voice.read_card(NANO)["languages"] if NANO else {}
VOICES = {"starter": (), **({"nano": (), "nano in int8": ("--dtype", "int8")} if NANO else {})}
"""With the flags of their servers; nano is the voice that comes with the package, where one does."""


@pytest.fixture(scope="module")
def errors(require):
    """`errors(texts, audio)`: the phoneme error rate of speech at 16 kHz."""
    require("hama", importlib.util.find_spec("hama"), "hama is not installed: pip install hama==1.7.0")

    def rate(texts, audio):
        clips = [(str(number), *clip) for number, clip in enumerate(zip(texts, audio, strict=True))]
        return judges.phonemes(clips, [{} for _ in clips])["per"]

    return rate


def spoken(run, address, engine, sentences=SENTENCES):
    """Each sentence, sent word by word as a language model writes them, at the rate that the listener wants."""

    async def main():
        async with SpeechClient(address) as client:
            said = [
                await client.say(
                    (word + " " for word in sentence.split()),
                    engine=engine,
                    encoding="pcm_f32le",
                    sample_rate_hz=judges.RATE_HZ,
                    filler="off",
                )
                for sentence in sentences
            ]
        assert [(one.started.engine, len(one.warnings)) for one in said] == [(engine, 0)] * len(said)
        return [one.samples for one in said]

    return run(main(), timeout_s=180.0)


@pytest.fixture
def address(request, voice, tmp_path):
    if voice == "starter":
        yield request.getfixturevalue("server_address")
        return
    with real_server.serving(tmp_path, "--voxcpm", "nano", "--no-starter", "--no-fillers", *VOICES[voice]) as own:
        yield own


@pytest.mark.parametrize("voice", VOICES)
def test_every_word_is_understood(run, errors, address, voice):
    audio = spoken(run, address, "starter" if voice == "starter" else "voxcpm")
    limit = STARTER_LIMIT if voice == "starter" else SPOKEN["en"]["per"] + NANO_SLACK
    found = errors(SENTENCES, audio)
    assert found < limit, f"{100 * found:.1f} % of phonemes are wrong"
    # The measure itself: it hears other words, and noise or silence in place of words.
    few = [one[:32_000] for one in audio[:3]]
    assert errors(SENTENCES[1:4], few) > WRONG_TEXT
    noise = [0.05 * np.random.default_rng(0).standard_normal(len(one)).astype(np.float32) for one in few]
    assert errors(SENTENCES[:3], noise) > WRONG_TEXT
    assert errors(SENTENCES[:3], [np.zeros_like(one) for one in few]) == 1.0


@pytest.mark.skipif("zh" not in SPOKEN, reason="the voice in the package speaks no Mandarin")
def test_mandarin_is_what_its_teacher_says(run, require, tmp_path):
    """No small ear knows Mandarin. One that does not hears the same sounds from both, and others from other words."""
    require("hama", importlib.util.find_spec("hama"), "hama is not installed: pip install hama==1.7.0")
    from hama import ASRModel

    sentences, heard = zip(*MANDARIN, strict=True)
    with real_server.serving(tmp_path, "--voxcpm", "nano", "--no-starter", "--no-fillers") as address:
        audio = spoken(run, address, "voxcpm", sentences)
    ears = ASRModel()
    ours = [ears.transcribe_waveform(one, sample_rate=judges.RATE_HZ).phoneme_text.split() for one in audio]
    errors = np.array([[judges.error_rate([theirs.split()], [own]) for own in ours] for theirs in heard])
    same = np.eye(len(ours), dtype=bool)
    assert errors[same].mean() < SAME_WORDS < OTHER_WORDS < errors[~same].mean(), errors.round(2)
    assert (errors.argmin(0) == np.arange(len(ours))).all(), errors.round(2)

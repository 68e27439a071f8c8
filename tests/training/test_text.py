"""The English corpus and the teacher's speech: sources, cleaning, held-out split, sharding, trimming and labels."""

import struct
import zlib

import numpy as np
import pytest

from training import corpus, text_sources
from training.corpus import Corpus, build_corpus
from training.shards import LABEL_SAMPLES, POINT_SAMPLES, RATE_HZ, SOUND_HZ, UNIT_SAMPLES, read_speech, write_shard
from training.teacher import LEAD_MS, SECONDS, TAIL_MS, portions, trimmed


def r_database(*vectors):
    """The supported part of R's lazy-load format: each value is four bytes of length and a zlib stream."""
    database = b""
    for lines in vectors:
        value = b"X\n\0\0\0\2" + b"".join(struct.pack(">II", 0x40009, len(line)) + line for line in lines)
        packed = zlib.compress(value)
        database += struct.pack(">I", len(value)) + packed
    return database


def test_novel_sentences_are_read_from_the_r_database():
    line = b'It was late. "Go!" he said. '
    database = r_database([b"too short to be a novel."], [line] * 12_000)
    found = list(text_sources.novel_sentences(database))
    assert found[:3] == ["It was late.", '"Go!', "he said."]
    assert len(found) - found.count("") == 36_000


def test_usage_examples_are_the_quoted_parts():
    lines = '00001 n 01 x | a thing; "the first one"; "and another"\n  no definition "here"\n'
    assert list(text_sources.usage_examples(lines)) == ["the first one", "and another"]


def texts_of(count):
    words = ("river", "stone", "lantern", "garden", "winter", "letter", "music")
    chosen = ((n, words[n % 7], words[n // 7 % 7], words[n // 49 % 7]) for n in range(count))
    return [f"The {one} near the {two}, {three} and all; was {'so ' * (n % 5)}good" for n, one, two, three in chosen]


def test_corpus_is_deterministic_and_its_lists_are_disjoint():
    texts = texts_of(300)
    first, again = (build_corpus(order, 20, None, seed=1) for order in (texts, texts[::-1]))
    assert first == again != build_corpus(texts, 20, None, seed=2)
    assert len(first.held_out) == 20 and not set(first.held_out) & set(first.train)
    assert len(set(first.train)) == len(first.train) >= 280
    assert build_corpus(texts, 20, 50, seed=1).held_out == first.held_out
    assert len(build_corpus(texts, 20, 50, seed=1).train) == 50


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  a small\n house ", "A small house."),
        ("Oh!", "Oh!"),
        ("she came--and went", "She came, and went."),
        ("in 1999", None),
        ("café au lait", None),
        ("talk to Mr.", None),
        ("...", None),
        (" ".join(["word"] * 41), None),
    ],
)
def test_only_plain_sentences_are_kept(text, expected):
    found = build_corpus([text, "Another one here.", "And a third."], 1, None, seed=0)
    assert {*found.train, *found.held_out} - {"Another one here.", "And a third."} == (
        {expected} if expected else set()
    )


def test_clauses_end_with_a_comma_or_a_period():
    sentences = {text + "." for text in texts_of(300)}
    clauses = {text for text in build_corpus(texts_of(300), 1, None, seed=0).train if text not in sentences}
    assert {text[-1] for text in clauses} == {".", ","}
    assert all(any(text[:-1].lower() in whole.lower() for whole in sentences) for text in clauses)


def test_too_few_sentences_are_an_error():
    with pytest.raises(ValueError, match="too few"):
        build_corpus(["One."], 5, None, seed=0)


def test_corpus_from_user_files(tmp_path):
    (tmp_path / "own.txt").write_text("\n".join(texts_of(30)), encoding="utf-8")
    made = corpus.run(tmp_path, "en", 5, None, 0, [tmp_path / "own.txt"])
    assert Corpus.load(tmp_path / "corpus") == made


def test_hours_limit_the_amount_of_speech(tmp_path):
    sentences = ["One two three four five six seven eight nine ten."] * 1000
    some, everything = (portions(sentences, tmp_path, SECONDS["en"], hours) for hours in (0.5, None))
    assert sum(len(portion.sentences) for portion in everything) == 1000
    assert 500 < sum(len(portion.sentences) for portion in some) < 600
    assert [portion.sentences for portion in some[:2]] == [portion.sentences for portion in everything[:2]]


def test_skip_hours_leaves_out_whole_shards(tmp_path):
    """Shards made later can be combined with earlier ones, and a run trains on both."""
    sentences = ["One two three four five six seven eight nine ten."] * 1000
    everything = portions(sentences, tmp_path, SECONDS["en"])
    assert portions(sentences, tmp_path, SECONDS["en"], skip_hours=0.25) == everything[1:]  # from sentence 281 on
    (later,) = portions(sentences, tmp_path, SECONDS["en"], hours=0.2, skip_hours=0.25)  # to 506
    assert later.path == everything[1].path
    assert 245 < len(later.sentences) < 256
    assert later.sentences == everything[1].sentences[: len(later.sentences)]


def test_silence_is_trimmed_and_labels_stay_aligned(tmp_path):
    """The audio is nonzero from 0.5 to 1.0 s. The teacher's label there is 7, at a resolution of 25 ms."""
    audio = np.zeros(2 * RATE_HZ, np.float32)
    audio[RATE_HZ // 2 : RATE_HZ] = 0.5
    placed = np.array([7 if 20 <= frame < 40 else 3 for frame in range(60)])
    pitch_hz = np.where((np.arange(120) >= 40) & (np.arange(120) < 80), 200.0, 0.0)  # each 12.5 ms
    finer = np.zeros(2 * SOUND_HZ, np.float32)  # the same at the rate of the decoder's output
    finer[SOUND_HZ // 2 : SOUND_HZ] = 0.5
    spoken = trimmed(4, audio, finer, finer, placed, pitch_hz)
    lead = LEAD_MS * RATE_HZ // 1000
    assert np.flatnonzero(spoken.audio)[[0, -1]].tolist() == [lead, lead + RATE_HZ // 2 - 1]
    assert len(spoken.audio) == len(spoken.labels) * LABEL_SAMPLES == len(spoken.pitch) * POINT_SAMPLES
    assert len(spoken.audio) % UNIT_SAMPLES == 0 and len(spoken.sound) * RATE_HZ == len(spoken.audio) * SOUND_HZ
    assert 0 <= len(spoken.audio) - (lead + RATE_HZ // 2 + TAIL_MS * RATE_HZ // 1000) < UNIT_SAMPLES
    assert spoken.labels.tolist() == [3, 3, *[7] * 25, *[3] * 13]
    voiced = np.flatnonzero(spoken.pitch[:, 0])
    assert voiced[0] == 4 and voiced[-1] == 53  # 40 ms of lead, then 50 points
    steps = np.diff(spoken.pitch[10:50, 1]) % 1
    assert np.abs(spoken.pitch[10:50, 0] - 200).max() == 0
    assert np.minimum(steps, 1 - steps).max() < 1e-3  # two cycles in 10 ms
    write_shard(tmp_path / "0.safetensors", [spoken, spoken])
    read = read_speech(tmp_path)
    assert len(read) == 2 and read.numbers.tolist() == [4, 4]
    audio, labels = read.sentence(1)
    assert np.abs(audio.numpy() - spoken.audio).max() <= 1 / 32767
    assert labels.tolist() == spoken.labels.tolist()
    assert np.abs(read.pitch[: len(spoken.pitch)].numpy() - spoken.pitch).max() < 0.1
    silence = np.zeros(RATE_HZ, np.float32)
    assert trimmed(0, silence, finer, finer, placed, pitch_hz) is None


def test_english_teacher_labels_its_speech():
    """The exposed network output is the phoneme placement that the audio was synthesized with."""
    pytest.importorskip("hibari")
    from training.teacher import Hibari

    teacher = Hibari()
    spoken = teacher("The cat sat on the mat.", 3)
    again = teacher("The cat sat on the mat.", 3)
    assert np.array_equal(spoken.audio, again.audio) and spoken.number == 3
    assert 0.8 < len(spoken.audio) / RATE_HZ < 3
    order = [int(label) for at, label in enumerate(spoken.labels) if at == 0 or label != spoken.labels[at - 1]]
    sounds = teacher.voice.ids(teacher.voice.phonemize("The cat sat on the mat.")[0])
    places = iter(sounds)
    assert all(label in places for label in order)  # in the order of the phonemes
    assert len(order) > 0.7 * len(sounds) and spoken.labels[-1] in sounds[-3:]
    assert teacher("One sentence. Another one.", 0) is None

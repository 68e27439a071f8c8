"""Text normalization: a corpus by class, spans, and properties of every text."""

import random
import re
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intone.server.text.normalization import NormalizedText, normalize
from intone.server.text.spans import SpannedText

DATA = Path(__file__).parents[1] / "data" / "normalization.tsv"
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")
_NAMED = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


def unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else _NAMED[found[2]], text)


def corpus() -> list[tuple[str, str, str]]:
    lines = [line for line in DATA.read_text("utf8").splitlines() if not line.startswith("#")]
    return [
        (kind, unescaped(written), unescaped(spoken)) for kind, written, spoken in (x.split("\t") for x in lines[1:])
    ]


@pytest.mark.parametrize(("kind", "written", "spoken"), corpus(), ids=lambda text: text[:40])
def test_corpus(kind: str, written: str, spoken: str) -> None:
    assert normalize(written).spoken == spoken


def test_the_corpus_has_each_class_and_no_sentence_twice() -> None:
    kinds = Counter(kind for kind, _, _ in corpus())
    assert len(kinds) >= 25 and sum(kinds.values()) >= 230, kinds
    assert len({written for _, written, _ in corpus()}) == sum(kinds.values())


def test_the_language_of_the_conversation_decides_where_the_text_does_not() -> None:
    assert normalize("10086", "zh").spoken == "幺零零八六"
    assert normalize("3.5", "zh-CN").spoken == "三点五"
    assert normalize("3.5", "en").spoken == "three point five"
    assert normalize("The word 你好 cost $5", "zh").spoken == "The word 你好 cost five dollars"


# ---- spans


def uncovered(text: str, normalized: NormalizedText) -> list[str]:
    """Words of `text` that no spoken piece stands for."""
    covered = bytearray(len(text))
    for piece in normalized.pieces:
        if any(character.isalnum() for character in piece.spoken):
            covered[piece.start : piece.end] = b"\1" * (piece.end - piece.start)
    return [found.group() for found in re.finditer(r"[^\W_]+", text) if not any(covered[found.start() : found.end()])]


def check_pieces(text: str, normalized: NormalizedText) -> None:
    assert "".join(piece.spoken for piece in normalized.pieces) == normalized.spoken
    for piece in normalized.pieces:
        assert 0 <= piece.start <= piece.end <= len(text), piece


@pytest.mark.parametrize(
    ("text", "word", "original"),
    [
        ("It is $1,234,567.89, call 212 555 0147.", "million", "$1,234,567.89"),
        ("See [here](https://e.org/a/long/path) now.", "here", "here"),
        ("See [here](https://e.org/a/long/path) now.", "now", "now."),
        ("don&#39;t go", "don't", "don&#39;t "),
        ("今天是2024年3月5日。", "二零二四", "2024"),
        ("inter\u200bnational law", "international", "inter\u200bnational "),
        ("So $m^2$ holds.", "squared", "$m^2$"),
    ],
)
def test_spans_of_spoken_words(text: str, word: str, original: str) -> None:
    normalized = normalize(text)
    check_pieces(text, normalized)
    (piece,) = (piece for piece in normalized.pieces if word in piece.spoken)
    assert text[piece.start : piece.end].strip() == original.strip()


def test_rewrites_keep_spans_of_kept_groups() -> None:
    text = SpannedText.of("a [link](url) b").sub(re.compile(r"\[(\w+)\]\(\w+\)"), lambda found: (1, "!"))
    assert text.text == "a link! b"
    assert text.span(2, 6) == (3, 7)  # "link"
    assert text.span(6, 7) == (2, 13)  # "!" stands for the whole match


# ---- what holds for every text

PROSE = st.text(
    alphabet=st.sampled_from([*"abcdeXYZ 0123456789.,;:!?'-–/%$€£#&+=^°~@ \n", *"你好元年月日号点，。！？：、"]),
    max_size=120,
)
ANYTHING = st.text(max_size=200)


@settings(max_examples=300, deadline=None)
@given(PROSE)
def test_no_word_is_lost(text: str) -> None:
    normalized = normalize(text)
    check_pieces(text, normalized)
    lost = [word for word in uncovered(text, normalized) if not word.isdigit() or len(word) > 3]
    # Formulas between dollar signs and lines of markup are verbalized as such: their letters may be commands.
    assert not lost or "$" in text or "\n" in text, (lost, normalized.spoken)


@settings(max_examples=300, deadline=None)
@given(ANYTHING, st.sampled_from(["", "en", "zh"]))
def test_any_text_is_normalized(text: str, language: str) -> None:
    normalized = normalize(text, language)
    check_pieces(text, normalized)
    assert "\n" not in normalized.spoken and "\ue000" not in normalized.spoken.replace(text, "")
    assert normalized.spoken == normalized.spoken.strip()


RUNS = [*map(chr, range(33, 127)), *"，。、！？～—–−…“”（）【】《》½²€￥℃中一儿 \n\t"]
RUNS += ["a1", "1.", "1,", "1-", "1/", "a.", "A.", "a_", "@a", "$1", "1:", "1 ", "a ", "-=", "[a]", "[1]", "(a)", "<a"]
RUNS += [
    "&a",
    "1月",
    "中1",
    "1中",
    "周1-",
    "*a",
    "`a",
    "A1",
    "I ",
    "\\a",
    "^1",
    "http://",
    "www.",
    "a@",
    "1e",
    "|-",
    "$a",
]


@pytest.mark.slow
def test_linear_time_on_runs_of_every_character() -> None:
    """4,000 of the same characters, in a time that a pattern with quadratic behaviour would exceed many times over."""
    slow = []
    for run in RUNS:
        text = (run * 4000)[:4000]
        began_s = time.process_time()
        normalize(text)
        if (took_s := time.process_time() - began_s) > 2.0:
            slow.append((run, took_s))
    assert not slow


def test_linear_time_on_random_mixtures() -> None:
    source = random.Random(7)
    for _ in range(50):
        text = "".join(source.choice(RUNS) for _ in range(200))[:400]
        began_s = time.process_time()
        normalize(text)
        assert time.process_time() - began_s < 1.0, text

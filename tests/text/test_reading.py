"""How written text is read: a corpus by class, and what holds for every text."""

import random
import re
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intone.server.text.reading import Reading, read
from intone.server.text.reading.spans import SpannedText

DATA = Path(__file__).parents[1] / "data" / "reading.tsv"
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
    assert read(written).spoken == spoken


def test_the_corpus_has_each_class_and_no_sentence_twice() -> None:
    kinds = Counter(kind for kind, _, _ in corpus())
    assert len(kinds) >= 25 and sum(kinds.values()) >= 230, kinds
    assert len({written for _, written, _ in corpus()}) == sum(kinds.values())


def test_the_language_of_the_conversation_decides_where_the_text_does_not() -> None:
    assert read("10086", "zh").spoken == "幺零零八六"
    assert read("3.5", "zh-CN").spoken == "三点五"
    assert read("3.5", "en").spoken == "three point five"
    assert read("The word 你好 cost $5", "zh").spoken == "The word 你好 cost five dollars"


# ---- spans


def uncovered(text: str, reading: Reading) -> list[str]:
    """Words of `text` that no spoken piece stands for."""
    covered = bytearray(len(text))
    for piece in reading.pieces:
        if any(character.isalnum() for character in piece.spoken):
            covered[piece.start : piece.end] = b"\1" * (piece.end - piece.start)
    return [found.group() for found in re.finditer(r"[^\W_]+", text) if not any(covered[found.start() : found.end()])]


def check_pieces(text: str, reading: Reading) -> None:
    assert "".join(piece.spoken for piece in reading.pieces) == reading.spoken
    for piece in reading.pieces:
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
def test_a_word_knows_the_text_that_it_was_read_from(text: str, word: str, original: str) -> None:
    reading = read(text)
    check_pieces(text, reading)
    (piece,) = (piece for piece in reading.pieces if word in piece.spoken)
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
    reading = read(text)
    check_pieces(text, reading)
    lost = [word for word in uncovered(text, reading) if not word.isdigit() or len(word) > 3]
    # A formula between dollar signs and a line of markup are read as such: their letters may be commands.
    assert not lost or "$" in text or "\n" in text, (lost, reading.spoken)


@settings(max_examples=300, deadline=None)
@given(ANYTHING, st.sampled_from(["", "en", "zh"]))
def test_anything_is_read(text: str, language: str) -> None:
    reading = read(text, language)
    check_pieces(text, reading)
    assert "\n" not in reading.spoken and "\ue000" not in reading.spoken.replace(text, "")
    assert reading.spoken == reading.spoken.strip()


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


def test_every_run_is_read_in_linear_time() -> None:
    """4,000 of the same characters, in a time that a pattern with quadratic behaviour would exceed many times over."""
    slow = []
    for run in RUNS:
        text = (run * 4000)[:4000]
        began_s = time.process_time()
        read(text)
        if (took_s := time.process_time() - began_s) > 2.0:
            slow.append((run, took_s))
    assert not slow


def test_random_mixtures_are_read_soon() -> None:
    source = random.Random(7)
    for _ in range(50):
        text = "".join(source.choice(RUNS) for _ in range(200))[:400]
        began_s = time.process_time()
        read(text)
        assert time.process_time() - began_s < 1.0, text

"""Text normalization: a corpus by class, spans, and properties of every text."""

import itertools
import random
import re
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intone.server.text.characters import has_cjk
from intone.server.text.normalization import normalize
from intone.server.text.spans import SpannedText
from tests.support.prose import random_texts, readme_sentences
from tests.support.text_properties import check_pieces, lost_words

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


CORPUS = corpus()


@pytest.mark.parametrize("kind", sorted({kind for kind, _, _ in CORPUS}))
def test_corpus(kind: str) -> None:
    rows = [(written, spoken) for one, written, spoken in CORPUS if one == kind]
    wrong = {written: (normalize(written).spoken, spoken) for written, spoken in rows}
    assert {written: pair for written, pair in wrong.items() if pair[0] != pair[1]} == {}


def test_accuracy_by_class(capsys: pytest.CaptureFixture[str]) -> None:
    """Prints how much of each class is right."""
    rows = CORPUS
    right = Counter(kind for kind, written, spoken in rows if normalize(written).spoken == spoken)
    total = Counter(kind for kind, _, _ in rows)
    table = [f"{kind:<14}{right[kind]:>4} of {total[kind]:>4}  {right[kind] / total[kind]:6.1%}" for kind in total]
    with capsys.disabled():
        sys.stdout.write("\n".join(["", *sorted(table), ""]))
    assert len(total) >= 25 and min(sum(has_cjk(w) is chinese for _, w, _ in rows) for chinese in (True, False)) >= 200
    assert len({written for _, written, _ in rows}) == len(rows) >= 600
    assert sum(right.values()) >= 0.97 * len(rows)


def test_the_language_of_the_conversation_decides_where_the_text_does_not() -> None:
    assert normalize("10086", "zh").spoken == "幺零零八六"
    assert normalize("3.5", "zh-CN").spoken == "三点五"
    assert normalize("3.5", "en").spoken == "three point five"
    assert normalize("The word 你好 cost $5", "zh").spoken == "The word 你好 cost five dollars"


# ---- spans


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
    assert not lost_words(text, normalized), normalized.spoken


@pytest.mark.slow
def test_no_word_of_real_and_random_texts_is_lost() -> None:
    """`python tests/bench/text.py --check 100000` does it for more texts."""
    for text in [*readme_sentences()[::20], *itertools.islice(random_texts(seed=3), 4000)]:
        normalized = normalize(text)
        check_pieces(text, normalized)
        assert not lost_words(text, normalized), (text, normalized.spoken)


@settings(max_examples=300, deadline=None)
@given(ANYTHING, st.sampled_from(["", "en", "zh"]))
def test_any_text_is_normalized(text: str, language: str) -> None:
    normalized = normalize(text, language)
    check_pieces(text, normalized)
    assert "\ue000" not in normalized.spoken


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

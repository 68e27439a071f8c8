"""Texts to read: prose of installed packages, sentences of the corpora, and random mixtures."""

import csv
import random
import re
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+|\n{2,}")
_ALPHABET = [
    *"abcdeXYZ 0123456789.,;:!?'-–/%$€£#&+=^°~@\"()[]<>*_`|\\ \n",
    *"你好元年月日号点第零两儿，。！？：、（）【】《》",
]
_PIECES = [
    "$5", "3.5", "No.", "5%", "[a](b)", "*sighs*", "<b>", "&amp;", "10:30", "2024-03-05", "http://a.com", "v1.2.3",
    "H₂O", "IV", "5 km", "code 123", "验证码", "12月", "3/4", "U.S.", "don’t", "\u200b", "😀", "1,000", "e.g.", "x²",
]  # fmt: skip


def readme_sentences(max_characters: int = 400) -> list[str]:
    """Sentences of the descriptions of the installed packages: Markdown and reStructuredText, mostly English."""
    found: dict[str, None] = {}
    for distribution in sorted(distributions(), key=lambda one: one.name or ""):
        for text in _SENTENCE_END.split((distribution.metadata.get_payload() or "")[:200_000]):
            if 8 <= len(text) <= max_characters:
                found[text.strip()] = None
    return list(found)


def corpus_sentences() -> list[str]:
    """Written sentences of this repository's own corpora, in both languages."""
    found = []
    for name, column in (("normalization.tsv", 1), ("emotion_probes.tsv", 3)):
        with (DATA / name).open(encoding="utf8", newline="") as file:
            lines = (line for line in file if not line.startswith("#"))
            rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
            next(rows)
            found += [row[column].replace("\\n", "\n") for row in rows if row]
    return found


def random_texts(seed: int) -> Iterator[str]:
    """Random mixtures of characters, of written forms, and of real sentences cut and joined anywhere; without end."""
    source = random.Random(seed)
    sentences = corpus_sentences()
    while True:
        kind = source.random()
        if kind < 0.4:
            yield "".join(source.choices(_ALPHABET, k=source.randint(1, 80)))
        elif kind < 0.7:
            yield "".join(source.choice((*_PIECES, source.choice(_ALPHABET))) for _ in range(source.randint(1, 20)))
        else:
            first, second = source.choice(sentences), source.choice(sentences)
            yield first[source.randrange(len(first)) :] + second[: source.randrange(len(second) + 1)]

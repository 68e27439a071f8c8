"""Score an emotion analyzer on the labelled sentences of `tests/data/emotion_probes.tsv`."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from intone.server.emotion.estimate import NEUTRAL, Analyzer

PROBES = Path(__file__).parents[1] / "data" / "emotion_probes.tsv"
SPLITS = ("dev", "held", "fresh")
LABELS = (NEUTRAL, "happy", "angry", "sad", "surprised")
SCORED_AS = {"calm": NEUTRAL, "melancholic": "sad", "disgusted": "angry", "afraid": "other"}
"""The probes have five labels. Afraid belongs to none of them, so it always counts as an error."""

Row = tuple[str, str, str, str]
"""Split, language, label and text of a sentence."""
Outcomes = Counter[tuple[str, str, str, str]]
"""Number of sentences by split, language, label and estimated label."""
Condition = Callable[[str, str, str], bool]
"""Of language, label and estimated label."""


def probes() -> list[Row]:
    """The labelled sentences."""
    lines = PROBES.read_text("utf8").splitlines()[1:]
    return [(split, language, label, text) for split, language, label, text in (line.split("\t") for line in lines)]


def outcomes(analyzer: Analyzer, rows: list[Row]) -> Outcomes:
    """What the analyzer makes of the sentences."""
    found: Outcomes = Counter()
    for split, language, label, text in rows:
        estimated = analyzer.analyze(text).label
        found[split, language, label, SCORED_AS.get(estimated, estimated)] += 1
    return found


def hits_of(found: Outcomes, split: str, counts: Condition, hits: Condition) -> tuple[int, int]:
    """Sentences of a split that meet `hits` among those that meet `counts`, and the number of the latter."""
    total = hit = 0
    for (part, language, label, estimated), count in found.items():
        if part == split and counts(language, label, estimated):
            total += count
            hit += count if hits(language, label, estimated) else 0
    return hit, total


def correct(language: str, label: str, estimated: str) -> bool:
    """The estimate is the label."""
    return label == estimated


def confused(language: str, label: str, estimated: str) -> bool:
    """One emotion is taken for another."""
    return estimated not in (NEUTRAL, label)

"""How well the lexicon reads emotion, and how fast: accuracy, confusion and microseconds on the labelled sentences.

    python tests/bench/emotion.py [--figure docs/figures/emotion_confusion.png]

The sentences are `tests/data/emotion_probes.tsv`, in three parts. `dev`: the tables were tuned on these. `held`: half
of the first set, drawn at random, not tuned on; but one author wrote set and tables, so it is an upper bound. `fresh`:
written when the tables were frozen, many without one word of emotion, and scored once; the text of strangers is nearer
to these. Whoever changes the tables because of a fresh sentence moves all of these to `dev` and writes new ones.
Prints Markdown, saves the figure.
"""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from conditions import command_line, conditions, refuse_if_busy

from intone.server.emotion.lexicon import Lexicon
from intone.server.emotion.reading import NEUTRAL

ROOT = Path(__file__).parents[2]
PROBES = ROOT / "tests" / "data" / "emotion_probes.tsv"
LABELS = (NEUTRAL, "happy", "angry", "sad", "surprised", "other")
READ_AS = {"calm": NEUTRAL, "melancholic": "sad", "disgusted": "angry", "afraid": "other"}
"""The probes have five labels; afraid is none of them, so it is always wrong."""

SPLITS = ("dev", "held", "fresh")
ROUNDS = 20

Row = tuple[str, str, str, str]
Key = tuple[str, str, str]
"""Language, label, label read."""
Part = dict[Key, int]


def probes() -> list[Row]:
    """Split, language, label and text of every sentence."""
    lines = PROBES.read_text("utf8").splitlines()[1:]
    return [(split, language, label, text) for split, language, label, text in (line.split("\t") for line in lines)]


def outcomes(lexicon: Lexicon, rows: list[Row]) -> Counter[tuple[str, str, str, str]]:
    """How often each (split, language, label, label read) occurred."""
    found: Counter[tuple[str, str, str, str]] = Counter()
    for split, language, label, text in rows:
        read = lexicon.read(text).label
        found[split, language, label, READ_AS.get(read, read)] += 1
    return found


def accuracy_lines(found: Counter[tuple[str, str, str, str]]) -> list[str]:
    """A table of accuracy by part and language, and of how it errs."""
    languages = sorted({key[1] for key in found})
    lines = [
        f"| part | all | {' | '.join(languages)} | neutral read as an emotion | emotion read as neutral | as another |"
    ]
    lines.append("|---|" + "---:|" * (len(languages) + 4))
    for split in SPLITS:
        part: Part = {key[1:]: count for key, count in found.items() if key[0] == split}
        cells = [_share(part, lambda key: True, lambda key: key[1] == key[2])]
        cells += [_share(part, lambda key, one=one: key[0] == one, lambda key: key[1] == key[2]) for one in languages]
        cells.append(_share(part, lambda key: key[1] == NEUTRAL, lambda key: key[2] != NEUTRAL))
        cells.append(_share(part, lambda key: key[1] != NEUTRAL, lambda key: key[2] == NEUTRAL))
        cells.append(_share(part, lambda key: key[1] != NEUTRAL, lambda key: key[2] not in (NEUTRAL, key[1])))
        lines.append(f"| {split} | {' | '.join(cells)} |")
    return lines


def _share(part: Part, counts: Callable[[Key], bool], hits: Callable[[Key], bool]) -> str:
    total = sum(count for key, count in part.items() if counts(key))
    hit = sum(count for key, count in part.items() if counts(key) and hits(key))
    return f"{hit / total:.1%} ({hit}/{total})" if total else "–"


def confusion(found: Counter[tuple[str, str, str, str]], split: str) -> list[list[int]]:
    """Rows: the label; columns: what was read; both in the order of LABELS, which has one label no row has."""
    cells: Counter[tuple[str, str]] = Counter()
    for (part, _, label, read), count in found.items():
        cells[label, read] += count if part == split else 0
    return [[cells[label, read] for read in LABELS] for label in LABELS[:-1]]


def confusion_lines(matrix: list[list[int]], split: str) -> list[str]:
    """The matrix in Markdown."""
    lines = [f"| {split}: said ↓, read → | {' | '.join(LABELS)} |", "|---|" + "---:|" * len(LABELS)]
    return lines + [f"| {label} | {' | '.join(map(str, row))} |" for label, row in zip(LABELS, matrix, strict=False)]


def microseconds(lexicon: Lexicon, rows: list[Row]) -> tuple[float, float]:
    """Mean and largest time of a sentence; each counts with the fastest of its rounds."""
    best = {text: float("inf") for *_, text in rows}
    for _ in range(ROUNDS):
        for text, known in best.items():
            start = time.perf_counter()
            lexicon.read(text)
            best[text] = min(known, time.perf_counter() - start)
    return 1e6 * sum(best.values()) / len(best), 1e6 * max(best.values())


def draw(matrices: dict[str, list[list[int]]], path: Path) -> None:
    """Save the matrices side by side."""
    import matplotlib  # optional: the extra "plot"

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(matrices), figsize=(5.2 * len(matrices), 4.4), layout="constrained")
    for axis, (split, matrix) in zip(axes, matrices.items(), strict=True):
        shares = [[count / max(sum(row), 1) for count in row] for row in matrix]
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axis.set_xticks(range(len(LABELS)), LABELS, rotation=35, ha="right")
        axis.set_yticks(range(len(LABELS) - 1), LABELS[:-1])
        right = sum(row[i] for i, row in enumerate(matrix))
        axis.set_title(f"{split}: {right / sum(map(sum, matrix)):.1%} of {sum(map(sum, matrix))} right")
        axis.set_xlabel("read")
        for y, row in enumerate(matrix):
            for x, count in enumerate(row):
                axis.text(x, y, count, ha="center", va="center", color="white" if shares[y][x] > 0.5 else "black")
    axes[0].set_ylabel("said")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def main() -> int:
    """The command line."""
    parser = command_line(__doc__)
    parser.add_argument("--figure", type=Path, default=ROOT / "docs" / "figures" / "emotion_confusion.png")
    arguments = parser.parse_args()
    busy = refuse_if_busy(arguments.anyway)
    start = time.perf_counter()
    lexicon = Lexicon()
    built_ms = 1e3 * (time.perf_counter() - start)
    rows = probes()
    found = outcomes(lexicon, rows)
    print("\n".join(accuracy_lines(found)))
    matrices = {split: confusion(found, split) for split in ("held", "fresh")}
    for split, matrix in matrices.items():
        print("\n" + "\n".join(confusion_lines(matrix, split)))
    mean_us, slowest_us = microseconds(lexicon, rows)
    length = sum(len(text) for *_, text in rows) / len(rows)
    print(f"\n{mean_us:.0f} µs a sentence of {length:.0f} characters, {slowest_us:.0f} µs the slowest (one thread,")
    print(f"fastest of {ROUNDS} rounds each); building the tables {built_ms:.0f} ms.")
    draw(matrices, arguments.figure)
    print(f"{conditions(busy)} Figure: {arguments.figure.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

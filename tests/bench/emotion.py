"""Accuracy, confusion and speed of the emotion lexicon on labelled sentences. Prints Markdown and saves a figure.

    python tests/bench/emotion.py [--figure docs/figures/emotion_confusion.png]

The sentences of `tests/data/emotion_probes.tsv` are in three splits:

- `dev`: the word lists were tuned on these.
- `held`: a random half of the first set, held out from tuning. One author wrote sentences and lists, so this is an
  upper bound.
- `fresh`: blind sentences, written after the lists were frozen and scored once; many show emotion without an emotional
  word. Closest to text by other authors. If the lists are changed because of one of these, all of them move to `dev`
  and new ones are needed.
"""

import time
from collections import Counter
from pathlib import Path
from types import ModuleType

from conditions import FIGURES, command_line, conditions, module_of_tests, refuse_if_busy

from intone.server.emotion.estimate import NEUTRAL
from intone.server.emotion.lexicon import Lexicon

ROUNDS = 20


def accuracy_lines(scoring: ModuleType, found: Counter[tuple[str, str, str, str]]) -> list[str]:
    """A table of accuracy by split and language, and of the kinds of errors."""
    languages = sorted({key[1] for key in found})
    header = ["split", "all", *languages, "neutral taken for emotion", "emotion missed", "emotions confused"]
    lines = [f"| {' | '.join(header)} |", "|---|" + "---:|" * (len(header) - 1)]
    conditions_and_hits = [
        (lambda *key: True, scoring.correct),
        *((lambda *key, one=one: key[0] == one, scoring.correct) for one in languages),
        (lambda *key: key[1] == NEUTRAL, scoring.confused),
        (lambda *key: key[1] != NEUTRAL, lambda *key: key[2] == NEUTRAL),
        (lambda *key: key[1] != NEUTRAL, scoring.confused),
    ]
    for split in scoring.SPLITS:
        cells = []
        for counts, hits in conditions_and_hits:
            hit, total = scoring.hits_of(found, split, counts, hits)
            cells.append(f"{hit / total:.1%} ({hit}/{total})" if total else "–")
        lines.append(f"| {split} | {' | '.join(cells)} |")
    return lines


def confusion(labels: tuple[str, ...], found: Counter[tuple[str, str, str, str]], split: str) -> list[list[int]]:
    """Sentences by label (rows) and estimated label (columns, with one more for "other")."""
    cells: Counter[tuple[str, str]] = Counter()
    for (part, _, label, estimated), count in found.items():
        cells[label, estimated] += count if part == split else 0
    return [[cells[label, estimated] for estimated in (*labels, "other")] for label in labels]


def confusion_lines(labels: tuple[str, ...], matrix: list[list[int]], split: str) -> list[str]:
    """The matrix in Markdown."""
    columns = (*labels, "other")
    lines = [f"| {split}: label ↓, estimate → | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    return lines + [f"| {label} | {' | '.join(map(str, row))} |" for label, row in zip(labels, matrix, strict=True)]


def microseconds(lexicon: Lexicon, texts: list[str]) -> tuple[float, float]:
    """Mean and maximum over the sentences of the fastest of `ROUNDS` times of each."""
    best = dict.fromkeys(texts, float("inf"))
    for _ in range(ROUNDS):
        for text, known in best.items():
            start = time.perf_counter()
            lexicon.analyze(text)
            best[text] = min(known, time.perf_counter() - start)
    return 1e6 * sum(best.values()) / len(best), 1e6 * max(best.values())


SPLITS = {"held": "kept apart while the lists were made", "fresh": "written by others afterwards"}


def draw(labels: tuple[str, ...], matrices: dict[str, list[list[int]]], path: Path) -> None:
    """Save the matrices side by side; "other" only if a sentence was taken for something else."""
    from intone.client.tools.drawing import INK, MUTED, new_figure, set_title, style_axes

    columns = (*labels, "other")
    if not any(row[-1] for matrix in matrices.values() for row in matrix):
        columns = labels
    figure = new_figure(5.2 * len(matrices), 4.6)
    set_title(figure, "Emotions read from text")
    axes = figure.subplots(1, len(matrices), squeeze=False)[0]
    for axis, (split, matrix) in zip(axes, matrices.items(), strict=True):
        shares = [[count / max(sum(row), 1) for count in row] for row in matrix]
        right, total = sum(row[i] for i, row in enumerate(matrix)), sum(map(sum, matrix))
        style_axes(axis, f"{SPLITS[split]}: {right / total:.1%} of {total} correct", "")
        axis.grid(visible=False)
        axis.imshow([row[: len(columns)] for row in shares], cmap="Blues", vmin=0, vmax=1)
        axis.set_xticks(range(len(columns)), columns)
        axis.set_yticks(range(len(labels)), labels)
        axis.set_xlabel("estimated", fontsize=9, color=MUTED)
        for y, row in enumerate(matrix):
            for x, count in enumerate(row[: len(columns)]):
                axis.text(x, y, count, ha="center", va="center", color="white" if shares[y][x] > 0.5 else INK)
    axes[0].set_ylabel("labelled", fontsize=9, color=MUTED)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> int:
    """The command line."""
    parser = command_line(__doc__)
    parser.add_argument("--figure", type=Path, default=FIGURES / "emotion_confusion.png")
    arguments = parser.parse_args()
    busy = refuse_if_busy(arguments.anyway)
    scoring = module_of_tests("support.emotion_scoring")
    start = time.perf_counter()
    lexicon = Lexicon()
    load_ms = 1e3 * (time.perf_counter() - start)
    rows = scoring.probes()
    found = scoring.outcomes(lexicon, rows)
    print("\n".join(accuracy_lines(scoring, found)))
    matrices = {split: confusion(scoring.LABELS, found, split) for split in ("held", "fresh")}
    for split, matrix in matrices.items():
        print("\n" + "\n".join(confusion_lines(scoring.LABELS, matrix, split)))
    texts = [text for *_, text in rows]
    mean_us, max_us = microseconds(lexicon, texts)
    print(f"\n{mean_us:.0f} µs per sentence of {sum(map(len, texts)) / len(texts):.0f} characters on average, at most")
    print(f"{max_us:.0f} µs (one thread, fastest of {ROUNDS} rounds each); loading the lists takes {load_ms:.0f} ms.")
    draw(scoring.LABELS, matrices, arguments.figure)
    print(f"{conditions(busy)} Figure: {arguments.figure.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

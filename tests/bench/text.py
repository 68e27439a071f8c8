"""Time of the text stages per sentence, and properties of text normalization on many texts. Prints Markdown.

    python tests/bench/text.py                    # milliseconds by stage: p50, p99, maximum
    python tests/bench/text.py --check 100000     # no word lost, spans tile, no exception, on so many texts

Sentences are those of tests/data/normalization.tsv in each language, and texts of 200 characters joined from them. The
texts to check are random mixtures and the prose of the installed packages. The sounds are those of the packaged voice.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Sequence

from conditions import command_line, conditions, module_of_tests, refuse_if_busy

from intone.server.emotion.cues import read_cues
from intone.server.engines.voxcpm.phonemes import phonemizer
from intone.server.text.characters import has_cjk
from intone.server.text.normalization import normalize
from intone.server.text.normalization.pipeline import run_stages
from intone.server.text.segmenter import Segmenter

ROUNDS = 3
LENGTH = 200
STAGES = ("units", "cues", "clean", "markup", "classes", "words", "sounds")


def unit_texts(sentences: Sequence[str]) -> list[str]:
    """Texts of `LENGTH` characters, joined from the sentences."""
    text = " ".join(sentence.replace("\n", " ") for sentence in sentences)
    return [text[start : start + LENGTH] for start in range(0, len(text) - LENGTH, LENGTH)]


def stage_times_s(text: str, phonemize: Callable[[str], str] | None) -> dict[str, float]:
    """Seconds that each stage takes for a text, the fastest of `ROUNDS`."""
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        began = time.perf_counter()
        segmenter = Segmenter()
        segmenter.push(text)
        segmenter.finish()
        cut = time.perf_counter()
        read_cues(text)
        found = time.perf_counter()
        stages = run_stages(text)
        spoken = time.perf_counter()
        if phonemize is not None and stages.normalized.spoken:
            phonemize(stages.normalized.marked)
        took = {"units": cut - began, "cues": found - cut, **stages.took_s, "sounds": time.perf_counter() - spoken}
        best = {name: min(best.get(name, took_s), took_s) for name, took_s in took.items()}
    return best


def table(name: str, texts: Sequence[str], phonemize: Callable[[str], str] | None) -> list[str]:
    """Milliseconds by stage."""
    times = [stage_times_s(text, phonemize) for text in texts]
    columns = {stage: [1000 * one[stage] for one in times] for stage in STAGES}
    columns["clean to words"] = [
        1000 * sum(one[stage] for stage in ("clean", "markup", "classes", "words")) for one in times
    ]
    lines = [f"| {name}: {len(texts)} | p50 ms | p99 ms | max ms |", "|---|---:|---:|---:|"]
    for stage, values in columns.items():
        p99 = statistics.quantiles(values, n=100, method="inclusive")[98]
        lines.append(f"| {stage} | {statistics.median(values):.2f} | {p99:.2f} | {max(values):.2f} |")
    return lines


def check(count: int) -> int:
    """Check properties on `count` texts; return how many texts fail, after printing the first ones."""
    prose, properties = module_of_tests("support.prose"), module_of_tests("support.text_properties")
    real = [*prose.readme_sentences(), *prose.corpus_sentences()][: count // 2]
    failed, slowest_s, began = 0, 0.0, time.perf_counter()
    for text in itertools.chain(real, itertools.islice(prose.random_texts(seed=11), count - len(real))):
        start = time.process_time()
        normalized = normalize(text)
        slowest_s = max(slowest_s, time.process_time() - start)
        try:
            properties.check_pieces(text, normalized)
            lost = properties.lost_words(text, normalized)
        except AssertionError as error:
            lost = [f"pieces: {error}"]
        if lost:
            failed += 1
            if failed <= 20:
                print(f"{text!r}: {normalized.spoken!r} lost {lost}")
    print(f"{count} texts ({len(real)} real), {failed} failed, slowest {1000 * slowest_s:.0f} ms of processor time,")
    print(f"{time.perf_counter() - began:.0f} s in all.")
    return failed


def main() -> int:
    """The command line."""
    parser = command_line(__doc__)
    parser.add_argument("--check", type=int, default=0, metavar="N", help="check properties on N texts instead")
    arguments = parser.parse_args()
    if arguments.check:
        return 1 if check(arguments.check) else 0
    busy = refuse_if_busy(arguments.anyway)
    sentences = module_of_tests("support.prose").corpus_sentences()
    for name, chinese in (("English", False), ("Chinese", True)):
        chosen = [sentence for sentence in sentences if has_cjk(sentence) is chinese]
        phonemize = phonemizer("hibari", ("en", "zh"))
        print("\n".join(table(f"{name} sentences", chosen, phonemize)) + "\n")
        print("\n".join(table(f"{name} texts of {LENGTH} characters", unit_texts(chosen), phonemize)) + "\n")
    print(conditions(busy))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

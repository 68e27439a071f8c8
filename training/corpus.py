"""Stage `corpus`: collects and cleans sentences, and splits them into a training and a held-out list."""

import json
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from intone.server.text.normalizer import Normalizer, collapse
from training import agent_text, text_sources

MAX_WORDS = 40
_PLAIN = re.compile(r"[A-Za-z ,.;:'!?-]+")
_ABBREVIATED_END = re.compile(r"\b(?:Mr|Mrs|Dr|St|Col|Capt|Esq|No)\.$")
_CLAUSE_END = re.compile(r"(?<=[,;:])\s+")
_ODD = re.compile(r"\.\s|\.\w|[A-Z]{2}|\b[A-Z]\b")
"""Text that the normalizer may change although it is plain letters: abbreviations and single capitals. Other sentences
skip the normalizer, which takes 3 ms per sentence."""

AGENT_HELD_OUT = 100
"""Sentences of spoken agents that are held out."""

CLAUSE_SHARE = 0.75
"""Fraction of the sentences that also contribute one clause: short units are common in conversation, rare in novels."""
CLAUSE_ENDS = (".", ",", ",")
"""Endings of a clause, chosen at random. The first unit of an utterance often ends at a comma."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Normalized sentences; the two lists are disjoint."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]

    def save(self, folder: Path) -> None:
        """Write two text files, one sentence per line."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, sentences in (("train", self.train), ("held_out", self.held_out)):
            (folder / f"{name}.txt").write_text("\n".join(sentences) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Corpus":
        """Read what `save` wrote."""
        lists = [(folder / f"{name}.txt").read_text(encoding="utf-8").splitlines() for name in ("train", "held_out")]
        return cls(tuple(lists[0]), tuple(lists[1]))


def build_corpus(texts: Iterable[str], held_out: int, limit: int | None, seed: int) -> Corpus:
    """Build the English corpus from raw sentences; deterministic for the same set of texts and seed.

    Usable sentences consist of plain letters and punctuation and have at most `MAX_WORDS` words.

    Args:
        texts: raw sentences; unusable ones are dropped.
        held_out: number of held-out sentences.
        limit: maximum number of training sentences; None for all.
        seed: of the order and the random choices.

    Raises:
        ValueError: there are not more than `held_out` usable sentences.
    """
    normalize = Normalizer()
    rng = random.Random(seed)
    usable = sorted({sentence for text in texts for sentence in _cleaned(text, normalize)})
    rng.shuffle(usable)
    if len(usable) <= held_out:
        raise ValueError(f"{len(usable)} usable sentences are too few for {held_out} held-out ones")
    train = usable[held_out:][:limit]
    clauses = {clause for sentence in train if rng.random() < CLAUSE_SHARE for clause in _one_clause(sentence, rng)}
    train += sorted(clauses - set(usable))
    rng.shuffle(train)
    return Corpus(tuple(train[:limit]), tuple(usable[:held_out]))


def english(folder: Path) -> Iterator[str]:
    """Raw sentences of the novels and of WordNet, which are downloaded to `folder` if missing."""
    text_sources.fetch(folder)
    yield from text_sources.novel_sentences(text_sources.novels_file(folder).read_bytes())
    for path in text_sources.wordnet_files(folder):
        yield from text_sources.usage_examples(path.read_text(encoding="latin-1"))


def with_agent_text(corpus: Corpus, language: str, count: int, seed: int) -> Corpus:
    """Mix `count` sentences of spoken agents into the training list, evenly at random; see `agent_text`.

    Another `AGENT_HELD_OUT` are held out, behind the other held-out sentences. None of them is in the training list,
    although the same short replies occur in it many times.
    """
    normalize = Normalizer()
    made = [normalize(text, language) for text in agent_text.sentences(language, count + 10 * AGENT_HELD_OUT, seed)]
    train, others = made[:count], made[count:]
    seen = {*corpus.train, *train}
    unseen = list(dict.fromkeys(text for text in others if text not in seen))[:AGENT_HELD_OUT]
    mixed = [*corpus.train, *train]
    random.Random(seed).shuffle(mixed)
    return Corpus(tuple(mixed), (*corpus.held_out, *unseen))


def run(
    out: Path,
    language: str,
    held_out: int,
    limit: int | None,
    seed: int,
    files: Iterable[Path] = (),
    agent: int = 0,
) -> Corpus:
    """Write `out/corpus` from `files`, one sentence per line, or by default from the sources of the language.

    `agent` is the number of sentences added by `with_agent_text`.
    """
    lines = [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    if language == "zh":
        from training import chinese_corpus as chinese  # imports this module

        words = {} if lines else chinese.common_words()
        corpus = chinese.build(lines or chinese.graded_sentences(), words, held_out, limit, seed)
    else:
        corpus = build_corpus(lines or english(out / "sources"), held_out, limit, seed)
    corpus = with_agent_text(corpus, language, agent, seed) if agent else corpus
    corpus.save(out / "corpus")
    lengths = [len(sentence if language == "zh" else sentence.split()) for sentence in corpus.train]
    facts = {
        "train": len(lengths),
        "held_out": len(corpus.held_out),
        "words": sum(lengths),
        "longest": max(lengths, default=0),
    }
    (out / "corpus" / "corpus.json").write_text(json.dumps({**facts, "seed": seed}, indent=1), encoding="utf-8")
    return corpus


def _cleaned(text: str, normalize: Normalizer) -> Iterator[str]:
    """Yield `text` as a normalized sentence, or nothing if it is unusable."""
    sentence = collapse(text.replace("--", ", ").replace("_", "").replace(" ,", ",")).strip(" \"',;:-")
    if not sentence or not _PLAIN.fullmatch(sentence) or _ABBREVIATED_END.search(sentence):
        return
    sentence = sentence[0].upper() + sentence[1:]
    sentence = sentence if sentence[-1] in ".!?" else sentence + "."
    if _ODD.search(sentence):
        sentence = normalize(sentence)
    if _PLAIN.fullmatch(sentence) and any(map(str.isalpha, sentence)) and len(sentence.split()) <= MAX_WORDS:
        yield sentence


def _one_clause(sentence: str, rng: random.Random) -> Iterator[str]:
    """Yield a random clause of a sentence that has several."""
    clauses = _CLAUSE_END.split(sentence)
    if len(clauses) > 1:
        clause = rng.choice(clauses).strip(" ,;:'-")
        if clause and clause[-1].isalpha():
            yield clause[0].upper() + clause[1:] + rng.choice(CLAUSE_ENDS)

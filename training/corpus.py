"""First stage: sentences to train on, and others that training never sees. Knows nothing of speech."""

import json
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from intone.server.text.normalizer import Normalizer, collapse
from training import text_sources

MAX_WORDS = 40
_PLAIN = re.compile(r"[A-Za-z ,.;:'!?-]+")
_ABBREVIATED_END = re.compile(r"\b(?:Mr|Mrs|Dr|St|Col|Capt|Esq|No)\.$")
_CLAUSE_END = re.compile(r"(?<=[,;:])\s+")
_ODD = re.compile(r"\.\s|\.\w|[A-Z]{2}|\b[A-Z]\b")
"""What the normalizer can change in plain letters: abbreviations and single capitals. It takes 3 ms for a sentence."""

CLAUSE_SHARE = 0.75
"""Of the sentences, those that also give one of their clauses: short units are common in talk and rare in novels."""
CLAUSE_ENDS = (".", ",", ",")
"""What a clause may end with. A conversation's first unit is often one that goes on after a comma."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Sentences as they are spoken, normalised; the two lists have no sentence in common."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]

    def save(self, folder: Path) -> None:
        """As two text files, one sentence a line."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, sentences in (("train", self.train), ("held_out", self.held_out)):
            (folder / f"{name}.txt").write_text("\n".join(sentences) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Corpus":
        """What `save` wrote."""
        lists = [(folder / f"{name}.txt").read_text(encoding="utf-8").splitlines() for name in ("train", "held_out")]
        return cls(tuple(lists[0]), tuple(lists[1]))


def build_corpus(texts: Iterable[str], held_out: int, limit: int | None, seed: int) -> Corpus:
    """Of raw sentences those that can be read aloud as they stand: plain letters, 1 to 40 words.

    The same sentences, in the same order, for the same texts and seed. `limit` counts those to train on.

    Raises:
        ValueError: there are too few.
    """
    normalize = Normalizer()
    rng = random.Random(seed)
    kept = sorted({sentence for text in texts for sentence in _spoken(text, normalize)})
    rng.shuffle(kept)
    if len(kept) <= held_out:
        raise ValueError(f"{len(kept)} usable sentences are too few to hold {held_out} back")
    train = kept[held_out:][:limit]
    clauses = {clause for sentence in train if rng.random() < CLAUSE_SHARE for clause in _one_clause(sentence, rng)}
    train += sorted(clauses - set(kept))
    rng.shuffle(train)
    return Corpus(tuple(train[:limit]), tuple(kept[:held_out]))


def english(folder: Path) -> Iterator[str]:
    """Raw sentences of both sources, fetched into `folder` where they are missing."""
    text_sources.fetch(folder)
    yield from text_sources.novel_sentences(text_sources.novels_file(folder).read_bytes())
    for path in text_sources.wordnet_files(folder):
        yield from text_sources.usage_examples(path.read_text(encoding="latin-1"))


def run(out: Path, language: str, held_out: int, limit: int | None, seed: int, files: Iterable[Path] = ()) -> Corpus:
    """Write `out/corpus`: from `files`, one sentence a line, or where none is given from the language's sources."""
    given = [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    if language == "zh":
        from training import chinese_corpus as chinese  # knows what is here

        words = {} if given else chinese.common_words()
        corpus = chinese.build(given or chinese.graded_sentences(), words, held_out, limit, seed)
    else:
        corpus = build_corpus(given or english(out / "sources"), held_out, limit, seed)
    corpus.save(out / "corpus")
    lengths = [len(sentence if language == "zh" else sentence.split()) for sentence in corpus.train]
    facts = {"train": len(lengths), "held_out": held_out, "words": sum(lengths), "longest": max(lengths, default=0)}
    (out / "corpus" / "corpus.json").write_text(json.dumps({**facts, "seed": seed}, indent=1), encoding="utf-8")
    return corpus


def _spoken(text: str, normalize: Normalizer) -> Iterator[str]:
    """The sentence that `text` is, as it is read; nothing where it had better be left out."""
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
    clauses = _CLAUSE_END.split(sentence)
    if len(clauses) > 1:
        clause = rng.choice(clauses).strip(" ,;:'-")
        if clause and clause[-1].isalpha():
            yield clause[0].upper() + clause[1:] + rng.choice(CLAUSE_ENDS)

"""Mandarin to train on, where little may be had: graded sentences, sentences in pairs, and lists of words.

The sentences are those of hsk-sentences-audio 1.0.0 (CC BY-SA 4.0, for learners of the language), short and everyday;
the words those of jieba's dictionary (MIT), by how common they are. Pairs make long units, lists the syllables that
4,000 short sentences lack, and clauses end as a conversation's first unit often does.
"""

import json
import random
import re
from collections.abc import Sequence
from importlib import resources

from training.corpus import Corpus

PAIRS, LISTS, CLAUSES = 3_000, 3_000, 1_000
MIN_COUNT = 200
"""Of a word in the dictionary."""

ENDS = "。？！"

_PLAIN = re.compile(r"[\u4e00-\u9fff，。？！、：；]+")
_WORD = re.compile(r"[\u4e00-\u9fff]{2,4}")


def graded_sentences() -> list[str]:
    """All of the package; needs `pip install --no-deps hsk-sentences-audio==1.0.0`."""
    path = resources.files("hsk_sentences_audio") / "data" / "sentences.json"
    return [entry["chinese"] for entry in json.loads(path.read_text(encoding="utf-8"))]


def common_words() -> dict[str, int]:
    """Words of two to four characters, and how often they were met."""
    path = resources.files("jieba") / "dict.txt"
    rows = (line.split(" ") for line in path.read_text(encoding="utf-8").splitlines())
    return {word: int(count) for word, count, _ in rows if int(count) >= MIN_COUNT and _WORD.fullmatch(word)}


def build(sentences: Sequence[str], words: dict[str, int], held_out: int, limit: int | None, seed: int) -> Corpus:
    """The same corpus for the same arguments; `limit` counts the sentences to train on.

    What is held out stands in none of these. It comes in pairs too, each sentence first in one and last in another: of
    two seconds of Mandarin by themselves Whisper base mistakes every tenth character, whoever speaks.

    Raises:
        ValueError: there are too few sentences.
    """
    rng = random.Random(seed)
    kept = sorted({sentence for sentence in sentences if _PLAIN.fullmatch(sentence)})
    rng.shuffle(kept)
    if len(kept) <= held_out:
        raise ValueError(f"{len(kept)} usable sentences are too few to hold {held_out} back")
    single = kept[held_out:]
    pairs = [_joined(*rng.sample(single, 2)) for _ in range(PAIRS)] if len(single) > 1 else []
    names, counts = list(words), [count**0.5 for count in words.values()]  # by its root: rare syllables are the point
    lists = [_listed(rng.choices(names, counts, k=rng.randint(2, 5))) for _ in range(LISTS)] if words else []
    clauses = [f"{one.rstrip(ENDS)}，" for one in rng.sample(single, min(CLAUSES, len(single)))]
    train = list(dict.fromkeys([*single, *pairs, *lists, *clauses]))
    rng.shuffle(train)
    apart = kept[:held_out]
    return Corpus(tuple(train[:limit]), tuple(map(_joined, apart, [*apart[1:], *apart[:1]])))


def _joined(one: str, other: str) -> str:
    """Two sentences in one."""
    return f"{one.rstrip(ENDS)}，{other}"


def _listed(words: Sequence[str]) -> str:
    """Words as one says them in a row."""
    return f"{'、'.join(words[:-1])}和{words[-1]}。"

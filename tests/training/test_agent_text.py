"""Sentences of spoken agents: the server's normalizer reads all of them, and digits and words are often repeated."""

import random
import re

import pytest

from intone.server.text.normalizer import Normalizer
from training import agent_text, chinese_corpus, corpus
from training.corpus import AGENT_HELD_OUT, Corpus, with_agent_text


@pytest.mark.parametrize(
    ("language", "plain"), [("en", corpus._PLAIN), ("zh", chinese_corpus._PLAIN)], ids=["en", "zh"]
)
def test_sentences_are_plain_text_once_normalized(language, plain):
    normalize = Normalizer()
    made = list(agent_text.sentences(language, 1_000, seed=1))
    assert (
        made
        == list(agent_text.sentences(language, 1_000, seed=1))
        != list(agent_text.sentences(language, 1_000, seed=2))
    )
    assert [text for text in made if not plain.fullmatch(normalize(text, language))] == []
    assert len(set(made)) > 500 and max(len(text.split()) for text in made) <= corpus.MAX_WORDS


@pytest.mark.parametrize("kinds", [agent_text.ENGLISH, agent_text.CHINESE], ids=["en", "zh"])
def test_every_kind_is_composed(kinds):
    rng = random.Random(0)
    made = {composer: {composer(rng) for _ in range(40)} for composer in kinds}
    assert all(len(texts) > 10 for texts in made.values()) and all(weight > 0 for weight in kinds.values())


def test_digits_are_often_repeated():
    made = agent_text.digits(random.Random(0), 10_000)
    equal = sum(one == other for one, other in zip(made, made[1:], strict=False)) / len(made)
    assert 0.33 < equal < 0.41 and len(re.findall(r"(\d)\1\1", made)) > 500
    assert {len(re.sub(r"\D", "", agent_text.phone_number(random.Random(seed)))) for seed in range(50)} == {7, 10, 11}
    numbers = [agent_text.phone_number(random.Random(seed)) for seed in range(200)]
    assert 60 < sum("555" in number for number in numbers) < 160


def test_agent_sentences_are_mixed_into_the_corpus():
    """Evenly, so that every selection of hours has some; those held out are new."""
    known = Corpus(tuple(f"Sentence {n} of a book." for n in range(600)), ("A held out one.",))
    found = with_agent_text(known, "en", 300, seed=0)
    assert found == with_agent_text(known, "en", 300, seed=0)
    assert len(found.train) == 900 and set(known.train) < set(found.train)
    added = [text not in set(known.train) for text in found.train]
    assert sum(added) == 300 and 60 < sum(added[:300]) < 140
    assert found.held_out[:1] == known.held_out and len(found.held_out) == 1 + AGENT_HELD_OUT
    assert not set(found.held_out) & set(found.train)
    assert any("five five five" in text.lower() for text in found.train)

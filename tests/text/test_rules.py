"""Rules of normalization: what makes their search fast changes nothing of what they find."""

import itertools
import re
from collections.abc import Iterable

import pytest

from intone.server.text.normalization import normalize
from intone.server.text.normalization.context import Context, Rule
from intone.server.text.normalization.pipeline import RULES
from tests.support.prose import corpus_sentences, random_texts, readme_sentences


def test_a_rule_is_tried_wherever_it_may_match(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `Rule.begins`, a rule finds what its pattern finds alone, at every stage of the text."""
    tried: dict[re.Pattern[str], int] = dict.fromkeys((rule.pattern for rule in RULES if rule.begins), 0)
    matches = Context.matches

    def checked(context: Context, rule: Rule) -> Iterable[re.Match[str]]:
        found = list(matches(context, rule))
        if rule.begins is not None:
            expected = [match.span() for match in rule.pattern.finditer(context.working)]
            assert [match.span() for match in found] == expected, (rule.pattern.pattern, context.working)
            tried[rule.pattern] += len(expected)
        return found

    monkeypatch.setattr(Context, "matches", checked)
    corpus = corpus_sentences()
    for text in [*corpus, *readme_sentences()[::40], *itertools.islice(random_texts(seed=5), 400)]:
        normalize(text)
    assert len(tried) > 150 and sum(count > 0 for count in tried.values()) > 0.8 * len(tried)

"""The word lists: the shipped files, and what is refused with the file and line that an editor has to look at."""

import re

import pytest

from intone.server.domain import EMOTIONS
from intone.server.emotion.phrases import PhraseTable, inflections
from intone.server.emotion.word_lists import (
    DATA,
    Role,
    WordListError,
    label_entries,
    lexicon_lists,
    read_characters,
    read_entries,
    read_labels,
    read_patterns,
)

ENTRIES = "role\temotion\tvalue\tentry\n"
PATTERNS = "role\tname\tvalue\tpattern\n"
LABELS = "role\tvalue\tin_tags\tentry\n"
CHARACTERS = "character\treplacement\n"


# ---- the shipped files ----------------------------------------------------------------------------------------------


def test_every_file_is_used_and_explains_itself():
    assert {path.name for path in DATA.iterdir()} == {
        "entries_en.tsv",
        "entries_zh.tsv",
        "faces.tsv",
        "patterns.tsv",
        "labels.tsv",
        "characters_zh.tsv",
    }
    assert all(path.read_text("utf8").startswith("# ") for path in DATA.iterdir())


def test_every_emotion_and_role_has_entries():
    lists = lexicon_lists()
    assert {entry.emotion for entry in lists.entries.values() if entry.role is Role.EMOTION} == set(EMOTIONS)
    assert {entry.role for entry in lists.entries.values()} == set(Role) - {Role.WHOLE_SENTENCE}
    assert {entry.role for entry in lists.whole_sentences.values()} == {Role.WHOLE_SENTENCE}
    assert {emotion for entry in label_entries().values() for emotion in entry.weights} == set(EMOTIONS)
    assert lists.patterns and lists.sarcasm.search("just what i needed")


@pytest.mark.parametrize("entries", [lexicon_lists().entries, label_entries()], ids=["lexicon", "labels"])
def test_every_entry_can_be_found(entries):
    table = PhraseTable(entries)
    for name in entries:
        for form in inflections(name):
            tokens = table.tokens(form)
            found = table.longest_match(tokens, 0)
            assert found is not None and found[0] == len(tokens), form


# ---- what is refused ------------------------------------------------------------------------------------------------


def entries(path):
    found = {}, {}
    read_entries(path, *found)
    return found


@pytest.mark.parametrize(
    ("read", "content", "line", "message"),
    [
        (entries, ENTRIES + "emotion\tjolly\t0.5\tyay\n", 2, "unknown emotion 'jolly'"),
        (entries, ENTRIES + "feeling\thappy\t0.5\tyay\n", 2, "unknown role 'feeling'"),
        (entries, "# comment\n\n" + ENTRIES + "emotion\thappy\t1.5\tyay\n", 4, "value 1.5 is out of range"),
        (entries, ENTRIES + "emotion\thappy\t0\tyay\n", 2, "value 0 is out of range"),
        (entries, ENTRIES + "emotion\thappy\tnan\tyay\n", 2, "value nan is out of range"),
        (entries, ENTRIES + "emotion\thappy\tmuch\tyay\n", 2, "value 'much' is not a number"),
        (entries, ENTRIES + "intensifier\t-\t2.5\tvery\n", 2, "value 2.5 is out of range"),
        (entries, ENTRIES + "intensifier\thappy\t1.2\tvery\n", 2, "emotion is 'happy'"),
        (entries, ENTRIES + "negation\t-\t0.5\tnot\n", 2, "value is '0.5'"),
        (entries, ENTRIES + "negation\t-\t-\tnot\nemotion\tsad\t0.5\tnot\n", 3, "duplicate entry 'not'"),
        (entries, ENTRIES + "negation\t-\t-\t--\n", 2, "entry '--' holds no word"),
        (entries, ENTRIES + "emotion\thappy\t0.5\tcheer~ up\n", 2, "a '~' stands at the end"),
        (entries, ENTRIES + "negation\t-\t-\n", 2, "3 columns, expected 4"),
        (entries, ENTRIES + "negation\t-\t-\tnot \n", 2, "entry is 'not '"),
        (entries, ENTRIES + "negation\t-\t\tnot\n", 2, "value is ''"),
        (entries, "role\tentry\nnegation\tnot\n", 1, "the columns are role, entry"),
        (read_patterns, PATTERNS + "sarcasm\t-\t-\t(oh\n", 2, "invalid regular expression"),
        (read_patterns, PATTERNS + "sarcasm\t-\t-\t{OH} yes\n", 2, "{OH} is not defined above"),
        (read_patterns, PATTERNS + "definition\tOH\t-\toh\ndefinition\tOH\t-\tah\n", 3, "name 'OH'"),
        (read_patterns, PATTERNS + "emotion\tsad\t2\toh\n", 2, "value 2 is out of range"),
        (read_patterns, PATTERNS + "emotion\tblue\t0.5\toh\n", 2, "unknown emotion 'blue'"),
        (read_patterns, PATTERNS + "irony\t-\t-\toh\n", 2, "unknown role 'irony'"),
        (read_patterns, PATTERNS + "sarcasm\t-\t-\toh\nemotion\tsad\t0.5\toh\n", 3, "duplicate pattern 'oh'"),
        (read_labels, LABELS + "emotion\thappy\tyes\tjoy\n", 2, "value 'happy' is not a list of emotions"),
        (read_labels, LABELS + "emotion\thappy 1 happy 1\tyes\tjoy\n", 2, "names happy twice"),
        (read_labels, LABELS + "emotion\thappy 2\tyes\tjoy\n", 2, "value 2 is out of range"),
        (read_labels, LABELS + "emotion\thappy 1\tmaybe\tjoy\n", 2, "in_tags is 'maybe'"),
        (read_labels, LABELS + "concession\t-\tyes\talthough\n", 2, "unknown role 'concession'"),
        (read_labels, LABELS + "ignored\t-\tyes\tthe\nignored\t-\tno\tthe\n", 3, "duplicate entry 'the'"),
        (read_characters, CHARACTERS + "樂\t乐\n樂\t了\n", 3, "duplicate character '樂'"),
        (read_characters, CHARACTERS + "樂樂\t乐\n", 2, "a single character"),
    ],
)
def test_malformed_rows(tmp_path, read, content, line, message):
    path = tmp_path / "list.tsv"
    path.write_text(content, "utf8")
    with pytest.raises(WordListError, match=f"^list.tsv:{line}: .*{re.escape(message)}"):
        read(path)


def test_duplicates_are_found_across_files(tmp_path):
    first, second = tmp_path / "first.tsv", tmp_path / "second.tsv"
    first.write_text(ENTRIES + "negation\t-\t-\tnot\n", "utf8")
    second.write_text(ENTRIES + "contrast\t-\t-\tnot\n", "utf8")
    found = {}, {}
    read_entries(first, *found)
    with pytest.raises(WordListError, match="^second.tsv:2: duplicate entry 'not'"):
        read_entries(second, *found)


def test_a_file_that_is_not_utf8(tmp_path):
    path = tmp_path / "list.tsv"
    path.write_bytes(CHARACTERS.encode() + "é\te\n".encode("latin1"))
    with pytest.raises(WordListError, match="^list.tsv:2: not UTF-8"):
        read_characters(path)


def test_one_entry_may_also_be_a_whole_sentence(tmp_path):
    path = tmp_path / "list.tsv"
    path.write_text(ENTRIES + "emotion\thappy\t0.4\tgreat~\nwhole_sentence\thappy\t0.7\tgreat~\n", "utf8")
    found, whole_sentences = entries(path)
    assert found["great~"].name == "great" and found["great~"].value == 0.4
    assert whole_sentences["great~"].value == 0.7


def test_definitions_are_expanded(tmp_path):
    path = tmp_path / "list.tsv"
    path.write_text(PATTERNS + "definition\tOH\t-\t(?:oh|ah)\nemotion\tsad\t0.5\t^{OH}{2} no\n", "utf8")
    (pattern,), sarcasm = read_patterns(path)
    assert pattern.expression.search("ohah no") and not pattern.expression.search("oh no")
    assert sarcasm.search("anything") is None

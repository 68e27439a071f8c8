"""The tokenizers against the official ones with toy vocabularies, and the normalization before them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from intone.server.engines.indextts.checkpoint.config import Variant
from intone.server.engines.indextts.text.front_end import (
    FIRST_LANGUAGE_TAG,
    LANGUAGE_ROWS,
    LANGUAGES,
    SPECIAL_TOKENS,
    FrontEnd,
    folded,
    language_of,
    spaced,
)
from intone.server.engines.indextts.text.tokenizers import BytePairTokenizer, SentencePieceTokenizer, byte_tokenizer
from intone.server.errors import CallerError, CheckpointError
from tests.oracles.indextts_golden import golden
from tests.oracles.indextts_oracle_text import SENTENCES
from tests.support.indextts_tiny import tiny_config

Goldens = dict[str, Tensor]


@pytest.fixture(scope="module")
def goldens(require: Callable[..., Any]) -> Goldens:
    return golden(require, "text", "indextts_oracle_text.py")


@pytest.fixture(scope="module")
def byte_pairs(goldens: Goldens, tmp_path_factory: pytest.TempPathFactory) -> BytePairTokenizer:
    path = tmp_path_factory.mktemp("toy") / "toy.tiktoken"
    path.write_bytes(bytes(goldens["tiktoken.in"].tolist()))
    return BytePairTokenizer.load(path)


@pytest.fixture(scope="module")
def sentence_pieces(goldens: Goldens, tmp_path_factory: pytest.TempPathFactory) -> SentencePieceTokenizer:
    path = tmp_path_factory.mktemp("toy") / "bpe.model"
    path.write_bytes(bytes(goldens["sentencepiece.in"].tolist()))
    return SentencePieceTokenizer.load(path)


@pytest.mark.parametrize("index", range(len(SENTENCES)))
def test_byte_pairs(byte_pairs: BytePairTokenizer, goldens: Goldens, index: int) -> None:
    tag, *ids, _ = goldens[f"tiktoken.out.{index}"].tolist()
    assert byte_pairs.ids(f" {SENTENCES[index]}") == ids
    assert tag == len(byte_pairs) + FIRST_LANGUAGE_TAG + LANGUAGE_ROWS["zh" if index % 2 else "en"]


def test_language_tags_have_the_official_ids(byte_pairs: BytePairTokenizer, goldens: Goldens) -> None:
    names = bytes(goldens["tiktoken.out.specials"].tolist()).decode().split("\n")
    assert len(names) == SPECIAL_TOKENS and len(byte_pairs) == int(goldens["tiktoken.out.first_special"])
    for language, row in LANGUAGE_ROWS.items():
        assert names[FIRST_LANGUAGE_TAG + row] == f"<|{language}|>"
    assert set(LANGUAGES[Variant.V25]) == set(LANGUAGE_ROWS)


@pytest.mark.parametrize("index", range(len(SENTENCES) + 2))
def test_sentence_pieces(sentence_pieces: SentencePieceTokenizer, goldens: Goldens, index: int) -> None:
    sentence = bytes(goldens[f"sentencepiece.in.{index}"].tolist()).decode()
    assert sentence_pieces.ids(sentence) == goldens[f"sentencepiece.out.{index}"].tolist()[:-1]
    assert len(sentence_pieces) == 150


def test_the_libraries_are_imported_only_where_a_tokenizer_is_built() -> None:
    code = "import sys, intone.server.engines.indextts.text.front_end as _; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "intone.server.engines.indextts.text.tokenizers" in modules
    assert not {"tiktoken", "sentencepiece"} & set(modules)


@given(st.text(max_size=60))
def test_no_byte_is_lost(text: str) -> None:
    assert bytes(byte_tokenizer().ids(text)) == text.encode()


# ---- spelling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("你好，世界！", "你好,世界!"),
        ("a: b; c、d。", "a, b, c,d."),
        ("wait... what……", "wait… what…"),
        ("“So,” (he) [said]", "'So,' 'he' 'said'"),
        ("one\ntwo—three~", "one two-three-"),
        ("e\u0301", "é"),
    ],
)
def test_folding(text: str, expected: str) -> None:
    assert folded(text) == expected
    assert folded(expected) == expected


def test_spacing() -> None:
    assert spaced("我们MIXED TEXT中文") == "我 们 MIXED TEXT 中 文"
    assert spaced("PLAIN, TEXT") == "PLAIN, TEXT"
    assert spaced("か な") == "か な"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hello", "en"),
        ("123", "en"),
        ("你好 hello", "zh"),
        ("今日は", "ja"),
        ("¡Hola", "es"),
        ("مرحبا", "ar"),
        ("日本語カナ", "ja"),
    ],
)
def test_language(text: str, language: str) -> None:
    assert language_of(text) == language


# ---- the front end --------------------------------------------------------------------------------------------------


def letters(ids: tuple[int, ...]) -> str:
    return bytes(ids).decode()


def front_end(variant: Variant, max_tokens: int = 100) -> FrontEnd:
    return FrontEnd(variant, byte_tokenizer(), max_tokens)


def test_version_2_uses_upper_case_and_separates_cjk_characters() -> None:
    tokenized = front_end(Variant.V2).tokenize("Say 你好！")
    assert letters(tokenized.ids) == "SAY 你 好 !" and tokenized.language == 0


@pytest.mark.parametrize(
    ("text", "spoken", "language"), [("Hi There!", " hi there!", "en"), ("¿Qué TAL?", " ¿QUÉ TAL?", "es")]
)
def test_version_25_uses_a_language_tag_and_the_case_of_the_language(text: str, spoken: str, language: str) -> None:
    tokenized = front_end(Variant.V25).tokenize(text)
    assert tokenized.ids[0] == 256 + FIRST_LANGUAGE_TAG + LANGUAGE_ROWS[language]
    assert letters(tokenized.ids[1:]) == spoken and tokenized.language == LANGUAGE_ROWS[language]


def test_the_language_can_be_given() -> None:
    assert front_end(Variant.V25).tokenize("hola", "es").language == LANGUAGE_ROWS["es"]


@pytest.mark.parametrize("variant", list(Variant))
@pytest.mark.parametrize("text", ["", "  ", "?!", "…", "🙂"])
def test_text_without_letters_is_refused(variant: Variant, text: str) -> None:
    with pytest.raises(CallerError, match="no letter") as caught:
        front_end(variant).tokenize(text)
    assert caught.value.field == "text"


def test_too_many_tokens_are_refused() -> None:
    assert len(front_end(Variant.V25, max_tokens=12).tokenize("a" * 10).ids) == 12
    with pytest.raises(CallerError, match="found 13 tokens, expected at most 12"):
        front_end(Variant.V25, max_tokens=12).tokenize("a" * 11)


def test_a_vocabulary_must_fit_the_model(goldens: Goldens, tmp_path: Path) -> None:
    config = tiny_config()
    (tmp_path / config.tokenizer_file).write_bytes(bytes(goldens["tiktoken.in"].tolist()))
    with pytest.raises(CheckpointError, match="found 268 tokens, expected"):
        FrontEnd.load(tmp_path, config)


@pytest.mark.parametrize("content", [b"", b"\xff\xff\xff", b"AA== 0\n", b"not base64 0", b"\x0a\x05ab"])
def test_broken_vocabularies(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vocabulary"
    path.write_bytes(content)
    for kind in (BytePairTokenizer, SentencePieceTokenizer):
        with pytest.raises(CheckpointError, match="vocabulary"):
            kind.load(path)
    with pytest.raises(CheckpointError, match="missing"):
        BytePairTokenizer.load(tmp_path / "missing")


@given(content=st.binary(max_size=60))
def test_any_bytes_as_a_vocabulary(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "vocabulary"
    for start in (b"", b"\x0a\x05\x0a\x03abc"):  # nothing, and one valid piece
        path.write_bytes(start + content)
        try:
            SentencePieceTokenizer.load(path).ids("abc")
        except CheckpointError as error:
            assert str(path) in str(error)

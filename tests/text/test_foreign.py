"""Texts in other languages are recognized, and English ones are not taken for them."""

from pathlib import Path

import pytest

from intone.server.text.foreign import foreign_language

FOREIGN = {
    "fr": ["Bonjour, je m'appelle Pierre.", "Où est la gare ? Je prends le train.", "C'est la vie, et il le sait."],
    "de": ["Guten Tag, ich bin Anna.", "Der Zug nach München ist leider verspätet.", "Wie kann ich Ihnen helfen?"],
    "es": ["El tren sale a las ocho de la mañana.", "No puedo ir porque estoy muy cansado."],
    "it": ["Buongiorno, come posso aiutarla?", "Mi chiamo Marco e sono di Roma."],
    "pt": ["O trem não está no horário, obrigado por esperar.", "Olá, como você está?"],
    "nl": ["De trein naar Amsterdam is niet op tijd.", "Hoe kan ik u vandaag helpen?"],
    "ja": ["こんにちは、元気ですか。", "東京へ行きます。"],
    "ko": ["안녕하세요, 반갑습니다."],
    "ru": ["Привет, как дела?"],
    "hi": ["नमस्ते, आप कैसे हैं?"],
    "ar": ["مرحبا كيف حالك"],
    "th": ["สวัสดีครับ"],
    "el": ["Καλημέρα σας"],
    "he": ["שלום לכם"],
}
OURS = [
    "",
    "Hello.",
    "Yes.",
    "She said c'est la vie and ordered a café au lait at the Rue de la Paix.",
    "Los Angeles, San Francisco, El Paso, Santa Fe, La Jolla",
    "Give my regards to Señor de la Cruz and the von Trapp family.",
    "The angle α is π, and Δx is small.",
    "我有2个苹果。",
    "请打开 Spotify，谢谢。",
    "flight D L four eight, E equals m c squared",
]


@pytest.mark.parametrize(("code", "text"), [(code, text) for code, texts in FOREIGN.items() for text in texts])
def test_foreign_texts(code, text):
    found = foreign_language(text)
    assert found is not None and found.code == code
    assert found.latin == (code in ("fr", "de", "es", "it", "pt", "nl"))


@pytest.mark.parametrize("text", OURS)
def test_english_and_chinese_texts(text):
    assert foreign_language(text) is None


def test_no_text_of_the_table_of_normalization_is_foreign():
    table = Path(__file__).parents[1] / "data" / "normalization.tsv"
    texts = [text for line in table.read_text("utf8").splitlines() for text in line.split("\t")]
    assert len(texts) > 1000
    assert [text for text in texts if foreign_language(text)] == []

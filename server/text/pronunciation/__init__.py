"""How single words are said: pronunciation entries, IPA, pinyin, and the marks that carry sounds to engines."""

from intone.server.text.pronunciation.entries import Pronunciation, Reading, SpanReading, check_pronunciation

__all__ = ["Pronunciation", "Reading", "SpanReading", "check_pronunciation"]

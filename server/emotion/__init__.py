"""How an utterance should sound, decided from its text: inline tags, words, or a small language model.

Knows no network, no engine and no conversation; who asks first and who wins is decided by the caller.
"""

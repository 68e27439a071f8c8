"""How an utterance should sound, estimated from its text: inline tags, word lists, or a small language model.

Which of these decides for an utterance is up to `conversation/emotion_resolver.py`.
"""

"""The language model in torch, never loaded by the server: the tests compare the native runtime with it."""

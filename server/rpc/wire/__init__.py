"""Protobuf to domain and back: form only, no policy, no I/O."""

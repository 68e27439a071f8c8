"""Encoding and resampling of output audio, and decoding of uploaded recordings."""

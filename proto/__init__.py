"""The wire contract, package `intone.v1`: read the `.proto` files; the Python beside them is generated (`generate.py`).

Everything of ours imports the stubs from here.
"""

from intone.v1 import (
    audio_pb2,
    emotion_pb2,
    errors_pb2,
    speech_pb2,
    speech_pb2_grpc,
    voice_pb2,
    voice_pb2_grpc,
)

__all__ = ["audio_pb2", "emotion_pb2", "errors_pb2", "speech_pb2", "speech_pb2_grpc", "voice_pb2", "voice_pb2_grpc"]

"""Exceptions of the server. `rpc/wire/status.py` maps each to a gRPC status."""

import sys
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from enum import Enum
from typing import Any

INSTALL_COMMANDS = (
    "pip install 'torch>=2.11,<2.14' 'setuptools>=77' wheel ninja && "
    f"pip install --no-build-isolation '.[server,starter{',mandarin' if sys.version_info < (3, 13) else ''}]'"
)
"""Installs the server from a clone. The extension is built against the torch that is there, hence the order."""


class IntoneError(Exception):
    """Base class of all exceptions that this package raises on purpose. They can be pickled, without their cause."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[IntoneError], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> IntoneError:
    """A pickled error. `kind` is not called: its arguments are others than those of `Exception`."""
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(attributes)
    return error


class Reason(Enum):
    """Why a request was refused or something failed: `ErrorReason` of `errors.proto`, which explains each."""

    INTERNAL = "internal"
    VALUE_INVALID = "value_invalid"
    VALUE_OUT_OF_RANGE = "value_out_of_range"
    VALUE_UNKNOWN = "value_unknown"
    VALUE_MISSING = "value_missing"
    MESSAGE_MALFORMED = "message_malformed"
    UNSUPPORTED = "unsupported"
    CONFIG_MISSING = "config_missing"
    CONFIG_REPEATED = "config_repeated"
    CONFIG_TIMEOUT = "config_timeout"
    IDLE = "idle"
    TEXT_INVALID = "text_invalid"
    TEXT_TOO_LONG = "text_too_long"
    UTTERANCE_TOO_LONG = "utterance_too_long"
    TEXT_GAP = "text_gap"
    TEXT_UNSPEAKABLE = "text_unspeakable"
    TOO_MANY_UTTERANCES = "too_many_utterances"
    STREAMS_EXHAUSTED = "streams_exhausted"
    FINISHING = "finishing"
    GOING_AWAY = "going_away"
    ENGINE_FAILED = "engine_failed"
    VOICE_NOT_FOUND = "voice_not_found"
    ENGINE_NOT_FOUND = "engine_not_found"
    CLIP_NOT_FOUND = "clip_not_found"
    VOICE_EXISTS = "voice_exists"
    VOICE_BUILT_IN = "voice_built_in"
    VOICE_UNSUPPORTED = "voice_unsupported"
    VOICE_CHANGED = "voice_changed"
    CLONING_UNAVAILABLE = "cloning_unavailable"
    RECORDING_INVALID = "recording_invalid"
    UPLOAD_TOO_LARGE = "upload_too_large"
    TOO_MANY_FILLERS = "too_many_fillers"
    ANALYZER_UNAVAILABLE = "analyzer_unavailable"
    UNAUTHENTICATED = "unauthenticated"
    STORAGE_FULL = "storage_full"
    STORAGE_FAILED = "storage_failed"
    PERMISSION_DENIED = "permission_denied"
    STREAM_NOT_HELD = "stream_not_held"
    CALLS_EXHAUSTED = "calls_exhausted"
    TOO_MANY_VOICES = "too_many_voices"
    UPLOADS_EXHAUSTED = "uploads_exhausted"
    UPLOAD_TIMEOUT = "upload_timeout"
    WRITE_TIMEOUT = "write_timeout"
    CAPACITY_EXHAUSTED = "capacity_exhausted"
    ANSWERS_UNREAD = "answers_unread"
    LOADING = "loading"


class CallerError(IntoneError):
    """Invalid input of the caller: the field, what is wrong with its value, and what would be valid.

    Attributes:
        field: path of the field on the wire, such as `text.delta` or `config.format.sample_rate_hz`; may be empty.
        message: what is wrong, without the field.
        reason: the cause, for programs.
        values: numbers and names in question, for programs, such as `{"limit": "16384"}`.
    """

    def __init__(self, field: str, message: str, reason: Reason = Reason.VALUE_INVALID, **values: object) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field, self.message, self.reason = field, message, reason
        self.values = {name: str(value) for name, value in values.items()}

    def at(self, field: str) -> "CallerError":
        """The same error for another field."""
        return CallerError(field, self.message, self.reason, **self.values)

    def under(self, prefix: str) -> "CallerError":
        """The same error for the enclosing message: `prefix` and a dot are put before the field."""
        return self.at(f"{prefix}.{self.field}")


class UnsupportedVoiceError(CallerError):
    """The engine cannot speak with the requested voice, but another engine may: the caller tries the next one."""

    def __init__(self, message: str) -> None:
        super().__init__("voice", message, Reason.VOICE_UNSUPPORTED)


class OverloadError(IntoneError):
    """The server or the stream is at a limit; the caller may retry after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float, reason: Reason, limit: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_s, self.reason, self.limit = retry_after_s, reason, limit


class StorageError(IntoneError):
    """A file of the server cannot be written, for a reason other than a full disk, which is an `OverloadError`."""


class EngineError(IntoneError):
    """The engine named `engine` failed during synthesis. The cause is chained and was logged where it happened."""

    def __init__(self, engine: str, message: str) -> None:
        super().__init__(f"{engine}: {message}")
        self.engine = engine


class ConfigError(IntoneError):
    """A setting cannot be used; the message names it, its value and what would be right."""


class CheckpointError(EngineError):
    """A model folder is invalid: the file or key, what was found and what was expected. Raised at start-up only."""


class ExtensionError(IntoneError, ImportError):
    """The native extension cannot be used, and not be compiled here. Raised at start-up only."""


class ShutdownError(IntoneError):
    """The server is shutting down and accepts no new work."""


_MIN_SIMILARITY = 0.65
"""As `difflib` measures it: a slip or two in a word, not another word."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """What ends a message about an unknown word: "; did you mean 'port'?", or nothing if no known one is similar."""
    near = get_close_matches(word, list(known), n=1, cutoff=_MIN_SIMILARITY)
    return f"; did you mean {near[0]!r}?" if near else ""


def listed(known: Collection[str], word: str) -> str:
    """The known words, for a message about another one, and which of them was probably meant."""
    return ", ".join(known) + suggestion(word, known)


def reason_of(error: Exception) -> Reason:
    """The cause of an error, for programs; INTERNAL for an exception that is no IntoneError."""
    if isinstance(error, CallerError | OverloadError):
        return error.reason
    if isinstance(error, ShutdownError):
        return Reason.GOING_AWAY
    if isinstance(error, StorageError):
        return Reason.STORAGE_FAILED
    return Reason.ENGINE_FAILED if isinstance(error, EngineError) else Reason.INTERNAL

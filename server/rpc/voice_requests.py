"""Checks the messages of VoiceService and converts them. Errors name the path of the invalid field."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from intone.proto import voice_pb2
from intone.server.audio.recordings import SoundData
from intone.server.domain import EMOTIONS, Filler, Recording
from intone.server.errors import CallerError, Reason
from intone.server.rpc.wire.decoding import Undecodable
from intone.server.text.characters import check_text
from intone.server.voices import fillers
from intone.server.voices.voice_name import check_name

DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 100, 1000
MAX_TRANSCRIPT_CHARACTERS = 1000
MAX_DESCRIPTION_CHARACTERS = 500
MAX_LANGUAGES = 16
MAX_LABELS = 16
MAX_LABEL_KEY_CHARACTERS, MAX_LABEL_VALUE_CHARACTERS = 64, 256
MAX_FILLER_CLIPS = 32
MAX_FILLER_CHARACTERS = 40
MAX_SHARED_WITH, MAX_CALLER_NAME = 100, 256
MAX_FILLER_CLIP_BYTES = 1 << 20
MIN_FILLER_CLIP_MS, MAX_FILLER_CLIP_MS = 100, 3000

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,4}")
_FILLER_EMOTIONS = ("neutral", *EMOTIONS)

PagePosition = tuple[bool, str]
"""Where a voice stands in the list: (it is not built in, its name)."""


def decoded(message: Any) -> Any:
    """The message itself.

    Raises:
        CallerError: its bytes could not be decoded.
    """
    if isinstance(message, Undecodable):
        raise message.error
    return message


# ---- lists


def page_size(request: voice_pb2.ListVoicesRequest) -> int:
    """The most voices of a page."""
    if not request.HasField("page_size"):
        return DEFAULT_PAGE_SIZE
    return _within(request.page_size, 1, MAX_PAGE_SIZE, "page_size")


def page_token(position: PagePosition) -> str:
    """The token of the page that begins after `position`."""
    not_built_in, name = position
    return base64.urlsafe_b64encode(f"{int(not_built_in)}{name}".encode()).decode().rstrip("=")


def page_position(request: voice_pb2.ListVoicesRequest) -> PagePosition | None:
    """The position after which a page begins; None for the first page."""
    token = request.page_token
    if not token:
        return None
    try:
        text = base64.b64decode(f"{token}{'=' * (-len(token) % 4)}", b"-_", validate=True).decode()
        if text[:1] in ("0", "1"):
            return text[0] == "1", check_name(text[1:])
    except (ValueError, CallerError):
        pass
    raise CallerError("page_token", "is not a token that ListVoices returned; leave it empty for the first page")


# ---- new voices


@dataclass(frozen=True, slots=True)
class NewVoice:
    """What a client says about a voice beside its recording."""

    name: str
    transcript: str
    replace: bool
    languages: tuple[str, ...]
    description: str
    labels: Mapping[str, str]


def upload_kind(message: voice_pb2.CreateVoiceRequest) -> str:
    """Which member of the message is set; empty for none that is known."""
    return str(message.WhichOneof("request") or "")


def first_upload_message(message: voice_pb2.CreateVoiceRequest) -> NewVoice:
    """The first message of an upload.

    Raises:
        CallerError: it is not `config`, or a field of it is invalid.
    """
    kind = upload_kind(message)
    if kind != "config":
        raise CallerError("config", f"must come first, but {kind or 'an empty message'} did", Reason.CONFIG_MISSING)
    config = message.config
    name = check_name(config.name, "config.name")
    _check_length(config.transcript, "config.transcript", MAX_TRANSCRIPT_CHARACTERS)
    _check_length(config.description, "config.description", MAX_DESCRIPTION_CHARACTERS)
    _within(len(config.languages), 0, MAX_LANGUAGES, "config.languages", "number of languages")
    languages = tuple(_language(one, f"config.languages[{n}]") for n, one in enumerate(config.languages))
    _within(len(config.labels), 0, MAX_LABELS, "config.labels", "number of labels")
    for key, value in config.labels.items():
        _check_length(key, "config.labels", MAX_LABEL_KEY_CHARACTERS, "a key")
        if not key:
            raise CallerError("config.labels", "has an empty key", Reason.VALUE_MISSING)
        _check_length(value, "config.labels", MAX_LABEL_VALUE_CHARACTERS, "a value")
    return NewVoice(name, config.transcript, config.replace, languages, config.description, dict(config.labels))


def later_upload_message(message: voice_pb2.CreateVoiceRequest) -> bytes:
    """The piece of the recording's file in any other message.

    Raises:
        CallerError: it is not `audio`.
    """
    kind = upload_kind(message)
    if kind == "audio":
        return bytes(message.audio)
    if kind == "config":
        raise CallerError("config", "was sent already; only `audio` may follow it", Reason.CONFIG_REPEATED)
    if message.ByteSize():
        raise CallerError("request", "is of a kind that this server does not have", Reason.UNSUPPORTED)
    raise CallerError("request", "is empty: set `audio`", Reason.VALUE_MISSING)


# ---- fillers


def shared_with(request: voice_pb2.ShareVoiceRequest) -> tuple[str, ...]:
    """With whom a voice is to be shared: names in order, each once.

    Raises:
        CallerError: there are too many, or a name cannot be one.
    """
    _within(len(request.shared_with), 0, MAX_SHARED_WITH, "shared_with", "number of names")
    for index, name in enumerate(request.shared_with):
        field = f"shared_with[{index}]"
        if not name.strip():
            raise CallerError(field, f"is blank; it takes 1 to {MAX_CALLER_NAME} characters", Reason.VALUE_MISSING)
        _check_length(name, field, MAX_CALLER_NAME)
    return tuple(sorted(set(request.shared_with)))


@dataclass(frozen=True, slots=True)
class FillerFilter:
    """Which fillers to remove; empty stands for any."""

    emotion: str
    language: str
    text: str


def filler_filter(request: voice_pb2.RemoveFillersRequest) -> FillerFilter:
    """The filter of a request.

    Raises:
        CallerError: a value of it cannot match any filler.
    """
    _check_length(request.text, "text", MAX_FILLER_CHARACTERS)
    emotion = _filler_emotion(request.emotion, "emotion") if request.emotion else ""
    return FillerFilter(emotion, _language(request.language, "language") if request.language else "", request.text)


@dataclass(frozen=True, slots=True)
class NewFiller:
    """What a client says about a filler, and the file of its sound."""

    text: str
    emotion: str
    language: str
    sound: SoundData


def new_fillers(clips: Sequence[voice_pb2.FillerClip]) -> list[NewFiller]:
    """Uploaded clips, checked but for their sound.

    Raises:
        CallerError: a clip cannot be used; names it, such as `clips[2].audio`.
    """
    if not clips:
        raise CallerError("clips", f"is empty; it takes 1 to {MAX_FILLER_CLIPS} clips", Reason.VALUE_MISSING)
    _within(len(clips), 1, MAX_FILLER_CLIPS, "clips", "number of clips")
    made: list[NewFiller] = []
    said: dict[tuple[str, str, str], int] = {}
    for index, clip in enumerate(clips):
        try:
            filler = _new_filler(clip, f"clips[{index}].audio")
            first = said.setdefault((filler.text, filler.emotion, filler.language), index)
            if first != index:
                raise CallerError("text", f"repeats clips[{first}] with the same emotion and language")
        except CallerError as error:
            raise error.under(f"clips[{index}]") from None
        made.append(filler)
    return made


def filler_of(new: NewFiller, recording: Recording) -> Filler:
    """The filler that a client has sent. Computes with samples: not for the event loop.

    Raises:
        CallerError: too little is heard in it.
    """
    made = fillers.make_filler(new.text, new.emotion, new.language, recording.samples, recording.sample_rate_hz)
    if made is None:
        message = f"holds less than {fillers.MIN_FILLER_MS} ms of sound"
        raise CallerError(new.sound.field, message, Reason.RECORDING_INVALID)
    return made


def _new_filler(clip: voice_pb2.FillerClip, field: str) -> NewFiller:
    _check_length(clip.text, "text", MAX_FILLER_CHARACTERS)
    if not clip.text.strip():
        message = f"is blank; it takes 1 to {MAX_FILLER_CHARACTERS} characters"
        raise CallerError("text", message, Reason.VALUE_MISSING)
    emotion = _filler_emotion(clip.emotion or "neutral", "emotion")
    language = _language(clip.language, "language")
    if len(clip.audio) > MAX_FILLER_CLIP_BYTES:
        message = f"has {len(clip.audio)} bytes; at most {MAX_FILLER_CLIP_BYTES} are taken"
        raise CallerError("audio", message, Reason.UPLOAD_TOO_LARGE, limit=MAX_FILLER_CLIP_BYTES)
    return NewFiller(clip.text, emotion, language, SoundData(clip.audio, field))


def _filler_emotion(name: str, field: str) -> str:
    if name not in _FILLER_EMOTIONS:
        message = f"is none of {', '.join(_FILLER_EMOTIONS)}"
        raise CallerError(field, message, Reason.VALUE_UNKNOWN)
    return name


# ---- values


def _language(code: str, field: str) -> str:
    if not code:
        raise CallerError(field, 'is empty; it takes a BCP 47 code such as "en" or "zh-CN"', Reason.VALUE_MISSING)
    if not _LANGUAGE.fullmatch(code):
        raise CallerError(field, 'is not a BCP 47 code such as "en" or "zh-CN"')
    return code


def _check_length(text: str, field: str, max_characters: int, what: str = "") -> None:
    """Refuse text with more than `max_characters` code points, or with control characters."""
    if len(text) > max_characters:
        message = f"{what} has {len(text)} characters; at most {max_characters} are taken".strip()
        raise CallerError(field, message, Reason.VALUE_OUT_OF_RANGE, limit=max_characters)
    check_text(text, field, max_characters)


def _within(value: int, low: int, high: int, field: str, what: str = "") -> int:
    if not low <= value <= high:
        message = f"{what} is {value}; it takes {low} to {high}".strip()
        raise CallerError(field, message, Reason.VALUE_OUT_OF_RANGE, min=low, max=high)
    return value

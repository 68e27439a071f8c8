"""Prepares voices for the loaded engines: a new recording, and at start-up the voices in the store."""

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from intone.server.config import Config
from intone.server.domain import PreparedVoice, Recording, Voice, VoiceNotice, VoiceNoticeCode
from intone.server.engines.registry import ENGINES
from intone.server.errors import CallerError, ConfigError, EngineError, OverloadError, StorageError
from intone.server.runtime.worker import Worker
from intone.server.text.characters import is_speakable, spoken_length
from intone.server.text.normalizer import Normalizer
from intone.server.voices.store import VoiceLimits, VoiceStore

logger = logging.getLogger(__name__)

MIN_CHARACTERS_PER_S, MAX_CHARACTERS_PER_S = 2.0, 30.0
"""Of speech, in Latin characters (`spoken_length`), pauses included: English has about 15, the fastest speakers 25."""

Normalize = Callable[[str, str], Awaitable[str]]
"""Written text and its language, a BCP 47 code or empty, to text as it is spoken."""

_normalizer = Normalizer()


async def normalize_on_thread(text: str, language: str) -> str:
    """A `Normalize` that works in this process, and holds its GIL for milliseconds a sentence."""
    return await asyncio.to_thread(_normalizer, text, language)


def open_store(config: Config) -> VoiceStore:
    """The voice store of the settings.

    Raises:
        ConfigError: the folder cannot be used, or the default voice is not in it.
    """
    try:
        limits = VoiceLimits(
            config.max_voices,
            config.max_voices_per_owner,
            config.max_voices_bytes,
            config.max_voices_bytes_per_owner,
        )
        store = VoiceStore(Path(config.voices).expanduser() if config.voices else None, limits)
    except OSError as error:
        raise ConfigError(f"voices: cannot use the folder {config.voices}: {error.strerror}") from error
    if config.default_voice not in {name for entry in ENGINES.values() for name in entry.voices}:
        _check_default(store, config)  # else `add_own_voices` does
    return store


def _check_default(store: VoiceStore, config: Config) -> None:
    try:
        default = store.get(config.default_voice)
    except CallerError as error:
        raise ConfigError(f"default_voice: {error}; the folder of voices is {config.voices or 'not set'}") from error
    if default.owner:
        raise ConfigError(f"default_voice: {default.name} belongs to {default.owner}, and nobody else can use it")


def add_own_voices(store: VoiceStore, workers: Mapping[str, Worker], config: Config) -> None:
    """Add the voices that the loaded engines have of their own and that can be asked for by name.

    Raises:
        ConfigError: the default voice is one of an engine that is not loaded.
    """
    for info in (worker.info for worker in workers.values()):
        if info.own_voice:
            description = f"the own voice of {info.name} ({info.model})"
            store.add_built_in(
                Voice(info.own_voice, engine=info.name, languages=info.languages, description=description)
            )
    _check_default(store, config)


async def as_spoken(recording: Recording, language: str = "", normalize: Normalize = normalize_on_thread) -> Recording:
    """The recording with its transcript as it is spoken, numbers in words, which is what engines compare it with.

    A notice is added if nobody could say that many words in the time, or so few.

    Args:
        recording: with the transcript as written.
        language: BCP 47 code of what is spoken; empty if it is not known.
        normalize: what reads the transcript.
    """
    written = recording.transcript
    if not is_speakable(written):
        return dataclasses.replace(recording, transcript="")
    spoken = await normalize(written, language)
    if not is_speakable(spoken):
        spoken = written
    rate = 1000 * spoken_length(spoken) / max(1, recording.duration_ms)
    notices = recording.notices
    if not MIN_CHARACTERS_PER_S <= rate <= MAX_CHARACTERS_PER_S:
        many = "fewer" if rate < MIN_CHARACTERS_PER_S else "more"
        message = f"the transcript has far {many} words than speech of {recording.duration_ms} ms"
        notices = (*notices, VoiceNotice(VoiceNoticeCode.TRANSCRIPT_MISMATCH, message))
    return dataclasses.replace(recording, transcript=spoken, notices=notices)


async def prepare(
    recording: Recording, workers: Mapping[str, Worker]
) -> tuple[dict[str, PreparedVoice], list[VoiceNotice]]:
    """Prepare a recording, with its transcript `as_spoken`, with every engine that clones voices.

    Returns:
        What each engine prepared, by name, and notices: engines that could not, and parts of it that are not used.

    Raises:
        CallerError, EngineError: no engine could prepare it.
    """
    prepared: dict[str, PreparedVoice] = {}
    failures: dict[str, CallerError | EngineError] = {}
    for name, worker in workers.items():
        if not worker.info.clones_voices:
            continue
        try:
            prepared[name] = await worker.prepare_voice(recording)
        except (CallerError, EngineError) as error:
            failures[name] = error
    if not prepared and failures:
        raise next(iter(failures.values()))
    return prepared, _engine_notices(prepared, {name: str(error) for name, error in failures.items()}, workers)


def notices_of(voice: Voice, workers: Mapping[str, Worker]) -> list[VoiceNotice]:
    """What the maker of a voice that exists should know about the loaded engines."""
    prepared = {
        name: found
        for name, worker in workers.items()
        if (found := voice.prepared_for(name, worker.fingerprint)) is not None
    }
    return _engine_notices(prepared, {}, workers)


def _engine_notices(
    prepared: Mapping[str, PreparedVoice], failures: Mapping[str, str], workers: Mapping[str, Worker]
) -> list[VoiceNotice]:
    """The notices of each engine: its own if it prepared the voice, else that it does not have it."""
    found: list[VoiceNotice] = []
    for name, worker in workers.items():
        if name in prepared:
            found += [dataclasses.replace(notice, engine=name) for notice in prepared[name].notices]
            continue
        why = "could not prepare the voice" if worker.info.clones_voices else "cannot clone voices"
        message = failures.get(name, f"{name} {why} and speaks with its own")
        found.append(VoiceNotice(VoiceNoticeCode.ENGINE_WITHOUT_VOICE, message, name))
    return found


async def prepare_stored(
    store: VoiceStore, workers: Mapping[str, Worker], normalize: Normalize = normalize_on_thread
) -> None:
    """Prepare stored voices for those engines whose present weights they were not prepared with."""
    for voice in store.list():
        missing = {
            name: worker
            for name, worker in workers.items()
            if worker.info.clones_voices and voice.prepared_for(name, worker.fingerprint) is None
        }
        if voice.recording is None or not missing:
            continue
        try:
            recording = await asyncio.to_thread(voice.recording.read)
            spoken = await as_spoken(recording, next(iter(voice.languages), ""), normalize)
            prepared, _ = await prepare(spoken, missing)
        except (CallerError, EngineError, OSError, ValueError) as error:
            logger.warning("voice %s cannot be prepared: %s", voice.name, error)
            continue
        ready = dataclasses.replace(voice, prepared={**voice.prepared, **prepared})
        try:
            store.add(ready, replace=True)
        except (CallerError, OverloadError, StorageError) as error:
            logger.warning("voice %s is prepared again at the next start: %s", voice.name, error)
            store.keep_in_memory(ready)
        logger.info("voice %s prepared for %s", voice.name, ", ".join(prepared))

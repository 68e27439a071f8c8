"""Prepares voices for the loaded engines: a new recording, and at start-up the voices in the store."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path

from intone.server.config import Config, ConfigError
from intone.server.domain import PreparedVoice, Recording
from intone.server.errors import CallerError, EngineError, OverloadError, StorageError
from intone.server.runtime.worker import Worker
from intone.server.voices.store import VoiceStore

logger = logging.getLogger(__name__)


def open_store(config: Config) -> VoiceStore:
    """The voice store of the settings.

    Raises:
        ConfigError: the folder cannot be used, or the default voice is not in it.
    """
    try:
        store = VoiceStore(Path(config.voices).expanduser() if config.voices else None)
    except OSError as error:
        raise ConfigError(f"voices: cannot use the folder {config.voices}: {error.strerror}") from error
    try:
        store.get(config.default_voice)
    except CallerError as error:
        raise ConfigError(f"default_voice: {error}; the folder of voices is {config.voices or 'not set'}") from error
    return store


async def prepare(recording: Recording, workers: Mapping[str, Worker]) -> tuple[dict[str, PreparedVoice], list[str]]:
    """Prepare a recording with every engine that clones voices.

    Returns:
        What each engine prepared, by name, and warnings: engines that could not, and parts of it that are not used.

    Raises:
        CallerError, EngineError: no engine could prepare it.
    """
    prepared: dict[str, PreparedVoice] = {}
    failures: list[CallerError | EngineError] = []
    for name, worker in workers.items():
        if not worker.info.clones_voices:
            continue
        try:
            prepared[name] = await worker.prepare_voice(recording)
        except (CallerError, EngineError) as error:
            failures.append(error)
    if not prepared and failures:
        raise failures[0]
    unused = [f"{name}: {warning}" for name, voice in prepared.items() for warning in voice.warnings]
    unable = [f"{name} speaks with its own voice only" for name in workers if not workers[name].info.clones_voices]
    return prepared, [str(error) for error in failures] + unused + unable


async def prepare_stored(store: VoiceStore, workers: Mapping[str, Worker]) -> None:
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
            prepared, _ = await prepare(voice.recording, missing)
        except (CallerError, EngineError) as error:
            logger.warning("voice %s cannot be prepared: %s", voice.name, error)
            continue
        ready = dataclasses.replace(voice, prepared={**voice.prepared, **prepared})
        try:
            store.add(ready, replace=True)
        except (OverloadError, StorageError) as error:
            logger.warning("voice %s is prepared again at the next start: %s", voice.name, error)
            store.keep_in_memory(ready)
        logger.info("voice %s prepared for %s", voice.name, ", ".join(prepared))

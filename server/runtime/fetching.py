"""Downloads the checkpoints that settings name by their repositories, before the engines are loaded."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from intone.server.config import Config
from intone.server.emotion.analyzers import EMOTION_MODEL
from intone.server.engines.base import resolve
from intone.server.runtime.loading import Loader
from intone.server.storage import hub
from intone.server.storage.hub import HubModel, HubName

T = TypeVar("T")


async def fetch_models(config: Config, chosen: Mapping[str, Loader]) -> tuple[dict[str, Loader], str]:
    """The loaders and the emotion model of the settings, with folders in place of the names of repositories.

    Raises:
        CheckpointError: a repository cannot be had.
    """
    offline = config.hub_offline
    loaders = {name: await _in_background(_fetched, loader, offline) for name, loader in chosen.items()}
    return loaders, await _in_background(_folder, config.emotion_model, EMOTION_MODEL, "emotion_model", offline)


def _fetched(loader: Loader, offline: bool) -> Loader:
    spec, settings = loader.spec, dict(loader.spec.settings)
    if spec.random_weights and spec.source:
        return loader
    first = loader.entry.settings[0]
    for setting in loader.entry.settings:
        if setting.hub is not None:
            settings[setting.name] = _folder(settings[setting.name], setting.hub, setting.name, offline)
    source = spec.source and settings[first.name]
    if source and first.hub and first.hub.parts:
        folder = hub.existing_folder(first.name, source, first.hub)
        is_checkpoint = (folder / first.hub.files[0]).is_file()  # if not, the engine says what the folder lacks
        missing = resolve(first.hub.parts)(folder) if is_checkpoint else {}
        for repository, files in missing.items():
            hub.fetch(HubName(repository), HubModel(files), first.name, offline=offline)
    return replace(loader, spec=replace(spec, source=source, settings=settings))


def _folder(value: str, model: HubModel, setting: str, offline: bool) -> str:
    name = HubName.parse(value)
    return value if name is None else str(hub.fetch(name, model, setting, offline=offline))


async def _in_background(function: Callable[..., T], *arguments: object) -> T:
    """The result of a call on a daemon thread: the process can end while a download is under way."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if not done.done():
            done.set_exception(error) if error else done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = function(*arguments)
        except BaseException as caught:  # noqa: BLE001 - raised where it is awaited
            error = caught
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="download", daemon=True).start()
    return await done

"""Starts the workers of all engines."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from intone.server.config import Config
from intone.server.engines.base import Engine
from intone.server.runtime.engine_loop import Parking
from intone.server.runtime.loading import Loader
from intone.server.runtime.process_worker import ProcessWorker
from intone.server.runtime.thread_worker import ThreadWorker
from intone.server.runtime.worker import Worker

logger = logging.getLogger(__name__)

Progress = Callable[[str, float], None]
"""Called with an engine's name and the fraction of it that is loaded, 0 to 1."""


async def launch_workers(
    config: Config, chosen: Mapping[str, Loader], given: Mapping[str, Callable[[], Engine]], progress: Progress | None
) -> dict[str, Worker]:
    """Load all engines. Processes load side by side, threads in turn.

    Args:
        chosen: loaders of the settings, by name, in order of preference. The engines run where `config.processes` says.
        given: other engines, which run on threads.
        progress: called on any thread.

    Returns:
        Workers by name, in order of preference.

    Raises:
        CheckpointError: a model folder cannot be used.
        EngineError: an engine's process ended while it loaded. All workers are closed then.
    """
    launched: dict[str, Worker] = {}
    parking = Parking(config.max_parked_s, config.max_unit_bytes)

    async def launch(name: str, loading: Coroutine[Any, Any, Worker]) -> None:
        logger.info("loading %s", name)
        launched[name] = await loading
        logger.info("loaded %s: %s, on %s", name, launched[name].info.model, launched[name].info.device)

    try:
        for name, load in given.items():
            await launch(name, ThreadWorker.launch(name, load, config.max_batch, parking=parking))
        tasks = []
        if config.processes:
            _warn_of_turns(chosen)
        for name, loader in chosen.items():
            told = None if progress is None else partial(progress, name)
            max_step_s = loader.entry.max_step_s
            if config.processes:
                loading = ProcessWorker.launch(
                    name, loader, config.max_batch, max_step_s=max_step_s, parking=parking, progress=told
                )
                tasks.append(asyncio.create_task(launch(name, loading), name=f"loading {name}"))
            else:
                load = partial(loader, told)
                loaded = ThreadWorker.launch(name, load, config.max_batch, max_step_s=max_step_s, parking=parking)
                await launch(name, loaded)
        await _all_or_none(tasks)
    except BaseException:
        for worker in launched.values():
            worker.close()
        raise
    return {name: launched[name] for name in (*given, *chosen)}


def _warn_of_turns(chosen: Mapping[str, Loader]) -> None:
    """A GPU computes for one process at a time, whatever the priorities of their work are."""
    on: dict[str, list[str]] = {}
    for name, loader in chosen.items():
        if loader.spec.device != "cpu":
            on.setdefault(loader.spec.device.removesuffix(":0"), []).append(name)
    for device, names in on.items():
        if len(names) > 1:
            logger.warning(
                "%s share %s from processes of their own, which take turns on it: so that plain speech keeps its pace "
                "while an emotional sentence is computed, use --no-processes or start NVIDIA's Multi-Process Service",
                " and ".join(names),
                device,
            )


async def _all_or_none(tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Wait for all tasks. The first exception cancels the others, and is raised."""
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

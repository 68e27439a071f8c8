"""Which engines the settings ask for, and how each is loaded."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from intone.server.config import Config
from intone.server.conflicts import engine_conflict
from intone.server.domain import Recording
from intone.server.engines.base import Engine, EngineEntry, LoadSpec, resolve
from intone.server.errors import ConfigError
from intone.server.runtime.worker import Progress
from intone.server.storage.hub import HubName, existing_folder


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads an engine when it is called, on the thread that will use it. Picklable, for another process."""

    entry: EngineEntry
    spec: LoadSpec

    def __call__(self, progress: Progress | None = None) -> Engine:
        """Load the engine.

        Raises:
            CheckpointError: the checkpoint cannot be used.
        """
        return self.entry.load(replace(self.spec, progress=progress))


def loaders(config: Config) -> dict[str, Loader]:
    """How to load each engine that the settings ask for, by name, in order of preference. Nothing is loaded here.

    Raises:
        ConfigError: no engine is asked for, a setting names one that is not loaded, or a device cannot be used.
        CheckpointError: a checkpoint's folder does not exist, or the package has a voice whose card cannot be read.
    """
    entries = [entry for name in config.order() if _is_wanted(entry := config.registry[name], config)]
    if not entries:
        raise ConfigError(f"there is no engine to load: give {' or '.join(_flags(config).values())}")
    if fault := engine_conflict(config, [entry.name for entry in entries], _flags(config)):
        raise ConfigError(fault)
    for entry in entries:
        _check_paths(entry, config)
    lender = next((entry for entry in entries if entry.reference_voice), None)
    devices = _devices(config, entries)
    threads = config.threads or os.cpu_count() or 1
    found: dict[str, Loader] = {}
    for entry in entries:
        spec = LoadSpec(
            source=_source(entry, config),
            random_weights=config.random_weights,
            precision=config.precisions().get(entry.name, "auto"),
            device=devices[entry.name],
            threads=threads,
            cache=config.pack_cache_folder(),
            settings={setting.name: config.engine_settings[setting.name] for setting in entry.settings},
            reference_voice=None if lender is None else partial(_record, lender, threads),
        )
        found[entry.name] = Loader(entry, spec)
    return found


def _is_wanted(entry: EngineEntry, config: Config) -> bool:
    """Whether a setting names the engine, or it is to be loaded although none does."""
    if config.engine_settings[entry.settings[0].name]:
        return True
    speaks_plain = config.default_engine in ("auto", entry.name)
    return bool(entry.unasked) and speaks_plain and bool(resolve(entry.unasked)())


def _check_paths(entry: EngineEntry, config: Config) -> None:
    """Raises CheckpointError for a path of a checkpoint that does not exist. Words without a slash may be names."""
    for setting in entry.settings:
        value = config.engine_settings[setting.name]
        if setting.hub is None or not ("/" in value or os.sep in value) or config.random_weights:
            continue
        if HubName.parse(value) is None:
            existing_folder(setting.name, value, setting.hub)


def _source(entry: EngineEntry, config: Config) -> str:
    value = config.engine_settings[entry.settings[0].name]
    return value if isinstance(value, str) else ""


def _flags(config: Config) -> dict[str, str]:
    """What loads each engine, by its name."""
    firsts = {entry.name: entry.settings[0] for entry in config.registry.values()}
    return {
        name: f"--{first.name}" if isinstance(first.default, bool) else f"--{first.name} MODEL"
        for name, first in firsts.items()
    }


def _devices(config: Config, entries: Sequence[EngineEntry]) -> dict[str, str]:
    """The device of each engine: "cpu", "cuda" or "cuda:N", each of which can be used.

    Raises:
        ConfigError: CUDA is asked for and cannot be used; the message says what to do.
    """
    asked = config.devices()
    devices = {entry.name: asked[entry.name] for entry in entries}
    if "=" not in config.device and config.device.startswith("cuda") and config.device not in devices.values():
        names = ", ".join(devices)
        raise ConfigError(f"device is {config.device!r}, but the engines to load run on the CPU only: {names}")
    faults = {device: _cuda_fault(device) for device in set(devices.values()) - {"cpu"}}
    for device, fault in faults.items():
        if device != "auto" and fault:
            raise ConfigError(f"device: cannot use {device}: {fault}. Or set device to cpu")
    on_auto = "cpu" if faults.get("auto") else "cuda"
    return {name: on_auto if device == "auto" else device for name, device in devices.items()}


def _cuda_fault(device: str) -> str:
    from intone.server.engines.devices import cuda_fault  # imports torch, which engines on the CPU may do without

    return cuda_fault("cuda" if device == "auto" else device)


def _record(lender: EngineEntry, threads: int) -> Recording:
    recording: Recording = resolve(lender.reference_voice)(LoadSpec(threads=threads))
    return recording

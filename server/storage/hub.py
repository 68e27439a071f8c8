"""Checkpoints of the Hugging Face hub: `openbmb/VoxCPM1.5` in place of a folder.

Files go to the cache of `huggingface_hub`, so that a second start downloads nothing and an interrupted download goes on
where it was. Its environment variables hold here, too: HF_HOME and HF_HUB_CACHE (where the cache is), HF_ENDPOINT (a
mirror), HF_TOKEN (repositories that ask for it) and HF_HUB_OFFLINE.
"""

import logging
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intone.server.errors import CheckpointError, suggestion

logger = logging.getLogger(__name__)

_PART = r"[A-Za-z0-9][\w.-]{0,95}"
_NAME = re.compile(
    rf"(?P<repository>{_PART}/{_PART})(?P<folder>(?:/{_PART})*)(?:@(?P<revision>[\w][\w./-]{{0,199}}))?", re.A
)


@dataclass(frozen=True, slots=True)
class HubModel:
    """What a setting takes from a repository of the hub.

    Attributes:
        files: patterns of the files to download; others are left out.
        names: published repositories, for messages.
        parts: reference to a function (folder of the checkpoint) → repositories whose files it needs beside its own,
            and the patterns of these; empty for none.
        words: what the setting takes beside folders and repositories, for messages.
    """

    files: tuple[str, ...]
    names: tuple[str, ...] = ()
    parts: str = ""
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HubName:
    """A repository, or a folder in one, at a revision: `owner/name[/folder][@revision]`.

    Attributes:
        repository: owner and name.
        folder: in the repository; empty for all of it.
        revision: branch, tag or commit; empty for the main branch.
    """

    repository: str
    folder: str = ""
    revision: str = ""

    @classmethod
    def parse(cls, text: str) -> "HubName | None":
        """The name that a setting holds; None where it is a path: of something that exists, or of another form."""
        found = _NAME.fullmatch(text)
        if found is None or Path(text).exists():
            return None
        return cls(found["repository"], found["folder"].strip("/"), found["revision"] or "")

    def __str__(self) -> str:
        path = "/".join(filter(None, (self.repository, self.folder)))
        return f"{path}@{self.revision}" if self.revision else path


def fetch(name: HubName, model: HubModel, setting: str, *, offline: bool = False) -> Path:
    """Download what is not in the cache yet. Shows progress bars if standard error is a terminal.

    Args:
        setting: which one holds the name, for messages.
        offline: use the cache only.

    Returns:
        The folder with the files.

    Raises:
        CheckpointError: it cannot be had; the message says why and what to do.
    """
    patterns = [f"{name.folder}/{pattern}" if name.folder else pattern for pattern in model.files]
    folder = _snapshot(name, patterns, model, setting, offline)
    found = folder / name.folder if name.folder else folder
    if not any(found.glob(pattern) for pattern in model.files) or not found.is_dir():
        files = " or ".join(model.files[:2])
        raise CheckpointError(setting, f"{name} has no such files as {files}{_known(name, model)}")
    return found


def cached(repository: str) -> Iterator[Path]:
    """Folders of a repository in the cache, that of its main branch first."""
    try:
        from huggingface_hub import constants
    except ImportError:
        return
    root = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    main = root / "refs" / "main"
    first = [root / "snapshots" / main.read_text("ascii").strip()] if main.is_file() else []
    yield from first
    yield from (path for path in sorted(root.glob("snapshots/*")) if path not in first)


def endpoint() -> str:
    """Address of the hub, or of the mirror that HF_ENDPOINT names."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def existing_folder(setting: str, value: str, model: HubModel) -> Path:
    """The folder of a checkpoint.

    Raises:
        CheckpointError: it does not exist; the message says what the setting takes.
    """
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise missing_folder(setting, value, model)
    return folder


def missing_folder(setting: str, value: str, model: HubModel) -> CheckpointError:
    """For a setting that is no folder and no name of a repository: says what it takes."""
    word = Path(value).name.lower()
    near = [name for name in model.names if word and word in name.lower()]
    meant = f"; did you mean {near[0]!r}" if near else suggestion(value, model.words + model.names).rstrip("?")
    example = next(iter(near or model.names), "owner/name")
    return CheckpointError(
        setting,
        f"there is no folder {value}{meant + '?' if meant else '.'} It takes a folder, or a repository of the Hugging "
        f"Face hub such as {example}",
    )


def _snapshot(name: HubName, patterns: Sequence[str], model: HubModel, setting: str, offline: bool) -> Path:
    try:
        import huggingface_hub as hub
        from huggingface_hub import constants, errors
    except ImportError as error:
        raise CheckpointError(
            setting, f"{name} is on the hub, which needs huggingface_hub: pip install 'intone[server]'"
        ) from error
    request: dict[str, Any] = {
        "repo_id": name.repository,
        "revision": name.revision or None,
        "allow_patterns": list(patterns),
        "cache_dir": constants.HF_HUB_CACHE,
        "endpoint": endpoint(),
    }
    try:
        return (
            Path(hub.snapshot_download(**request, local_files_only=True)) if offline else _download(hub, name, request)
        )
    except errors.GatedRepoError as error:
        page = f"{endpoint()}/{name.repository}"
        raise CheckpointError(
            setting, f"{name} asks you to accept its terms: do so at {page}, and set HF_TOKEN to a token of yours"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(
            setting,
            f"there is no folder {name}, and the hub has no such repository, or a private one, which takes HF_TOKEN"
            f"{_known(name, model)}",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(setting, f"{name.repository} has no revision {name.revision!r}") from error
    except Exception as error:  # of the HTTP library, which differs by version, of the disk, of the hub
        raise CheckpointError(setting, _unreachable(name, model, offline, error)) from error


def _download(hub: Any, name: HubName, request: dict[str, Any]) -> Path:
    """Like `snapshot_download`, with a line in the log and a check of the disk before anything large."""
    from huggingface_hub import constants, errors
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        plan = hub.snapshot_download(**request, dry_run=True)
    except (errors.DryRunError, errors.OfflineModeIsEnabled):  # the download itself says why, or uses the cache
        return Path(hub.snapshot_download(**request))
    size = sum(file.file_size or 0 for file in plan if file.will_download)
    if not size:
        return Path(hub.snapshot_download(**request))
    cache = Path(constants.HF_HUB_CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    if free < size:
        raise OSError(
            f"it takes {_gigabytes(size)}, and {cache} has {_gigabytes(free)} left: set HF_HOME to another folder"
        )
    logger.info("downloading %s: %s to %s", name, _gigabytes(size), cache)
    began = time.monotonic()
    folder = Path(hub.snapshot_download(**request))
    logger.info("downloaded %s in %.0f s", name, time.monotonic() - began)
    return folder


def _unreachable(name: HubName, model: HubModel, offline: bool, error: Exception) -> str:
    command = f"hf download {name.repository}" + (f" --revision {name.revision}" if name.revision else "")
    if offline:
        meant = "" if name.repository in model.names else suggestion(name.repository, model.names)
        known = f"run `{command}` once with a network" if not meant else meant.removeprefix("; ")
        return f"{name} is not in the cache, and hub_offline is set: {known}"
    reason = error.__cause__ or error  # of the library the reason, without what it tried besides
    cause = " ".join(str(reason).split())[:200] or type(reason).__name__
    return (
        f"cannot download {name} from {endpoint()}: {cause}. It takes a folder, too: run `{command} --local-dir DIR` "
        "where there is a network (HF_ENDPOINT names a mirror), and give DIR"
    )


def _known(name: HubName, model: HubModel) -> str:
    near = suggestion(name.repository, model.names)
    return near or (f". Published are {', '.join(model.names)}" if model.names else "")


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 50e6 else f"{size / 1e6:.1f} MB"

"""Reads checkpoint files, strictly. Knows nothing of any model: what must be in a file is given as names and shapes."""

import copy
import ctypes
import hashlib
import mmap
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from intone.server.engines.int8_checkpoint import unpacked
from intone.server.errors import CheckpointError

Progress = Callable[[float], None]
"""Told how much of a model is loaded, 0 to 1; never less than before."""

Shapes = Mapping[str, tuple[int, ...]]
"""What a file must hold: name → shape."""

SHOWN = 5
"""Faults that a message lists; the rest is counted."""

TRIM_ELEMENTS = 4 << 20
"""How often, while a model is packed, freed memory is given back to the system."""

SAMPLED_BYTES = 4096
SAMPLES = 64


def find_file(folder: Path, names: Sequence[str], engine: str) -> Path:
    """The first of `names` that is a file in `folder`.

    Raises:
        CheckpointError: none is.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(engine, f"{folder}: found no {' or '.join(names)}, expected one of them")


def read_tensors(path: Path, engine: str) -> dict[str, Tensor]:
    """All tensors of a `.safetensors` file or of a pickled state dict (bare or under "state_dict"), on the CPU.

    Memory-mapped where the format allows it: pages are read when a tensor is first used. Only tensors are unpickled.
    What is stored as int8 comes in float32, in memory of its own (see `int8_checkpoint.py`).

    Raises:
        CheckpointError: the file cannot be read, or its int8 tensors and their scales do not go together.
    """
    try:
        found = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    except (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(engine, f"cannot read {path}: {error}") from error
    for name, tensor in found.items():
        if not isinstance(tensor, Tensor):
            raise CheckpointError(engine, f"{path}: {name}: found {type(tensor).__name__}, expected a tensor")
    return unpacked(found, path, engine)


def check_tensors(found: Mapping[str, Tensor], expected: Shapes, path: Path, engine: str) -> None:
    """Demand exactly the expected names and shapes.

    Raises:
        CheckpointError: lists the first faults with key, found and expected, and counts the rest.
    """
    faults = [f"{key}: missing, expected {list(shape)}" for key, shape in expected.items() if key not in found]
    faults += [f"{key}: found {list(found[key].shape)}, expected nothing" for key in found if key not in expected]
    faults += [
        f"{key}: found {list(found[key].shape)}, expected {list(shape)}"
        for key, shape in expected.items()
        if key in found and tuple(found[key].shape) != tuple(shape)
    ]
    if faults:
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise CheckpointError(engine, f"{path}: {'; '.join(faults[:SHOWN])}{more}")


def fingerprint(parts: Sequence[Path | bytes]) -> str:
    """Identify files and bytes by sizes, both ends and evenly spaced samples, not by all they hold; 32 hex digits."""
    digest = hashlib.sha256()
    for part in parts:
        for piece in _samples(part) if isinstance(part, Path) else (len(part).to_bytes(8, "little"), part):
            digest.update(piece)
    return digest.hexdigest()[:32]


class Weights:
    """Checked tensors under a prefix, each handed out in the dtype and on the device of the model.

    Args:
        tensors: by full name.
        dtype: of floating-point tensors.
        progress: told after each tensor which part of all elements has been handed out.
        mapped: tensors that are views of mapped files are never written to, and their pages are let go as soon as a
            copy was made. What lies in memory of its own stays, whatever this says.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        dtype: torch.dtype,
        device: torch.device,
        progress: Progress | None = None,
        *,
        mapped: bool = False,
    ) -> None:
        self._tensors, self._dtype, self._device, self._prefix = tensors, dtype, device, ""
        self._files = _mapped_files() if mapped else []
        self._narrow = False
        self._meter = _Meter(sum(tensor.numel() for tensor in tensors.values()), progress)
        self.let_go()  # opening a file reads the beginning of every tensor

    def scope(self, prefix: str) -> "Weights":
        """The tensors whose names begin with `prefix` and a dot."""
        inner = copy.copy(self)  # shares tensors and meter
        inner._prefix = f"{self._prefix}{prefix}."
        return inner

    def narrow(self) -> "Weights":
        """These, but bfloat16 stays as it is: no copy is made, so `let_go` is for whoever asked."""
        inner = copy.copy(self)
        inner._narrow = True
        return inner

    @property
    def prefix(self) -> str:
        """What names begin with here: empty, or with a dot at its end."""
        return self._prefix

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._tensors[self._prefix + name]
        self._meter.add(tensor.numel())
        as_is = not tensor.is_floating_point() or (self._narrow and tensor.dtype == torch.bfloat16)
        given = tensor.to(device=self._device, dtype=tensor.dtype if as_is else self._dtype)
        if self._files and given.data_ptr() != tensor.data_ptr():
            _let_go(tensor, self._files)
            if self._meter.passed(TRIM_ELEMENTS):
                _trim()
        return given

    def all(self) -> dict[str, Tensor]:
        """Every tensor under the prefix, by the rest of its name, as `stored` gives it."""
        names = [name for name in self._tensors if name.startswith(self._prefix)]
        return {name.removeprefix(self._prefix): self.stored(name.removeprefix(self._prefix)) for name in names}

    def let_go(self) -> None:
        """Every tensor under the prefix has been copied or packed: give the memory of mapped files back."""
        if self._files:
            for name, tensor in self._tensors.items():
                if name.startswith(self._prefix):
                    _let_go(tensor, self._files)
            _trim()

    def stored(self, name: str) -> Tensor:
        """As `[]`, in the dtype of the file: what is read row by row stays mapped, and no copy of it is made."""
        tensor = self._tensors[self._prefix + name]
        self._meter.add(tensor.numel())
        return tensor.to(self._device)

    def fused(self, *names: str) -> Tensor:
        """Tensors joined along their first dimension: several projections of one input as one."""
        return torch.cat([self[name] for name in names])


class _Meter:
    """Counts elements for a progress bar."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._progress, self._done, self._marked = max(total, 1), progress, 0, 0

    def passed(self, elements: int) -> bool:
        """Whether so many more have been handed out since this was last true."""
        if self._done - self._marked < elements:
            return False
        self._marked = self._done
        return True

    def add(self, elements: int) -> None:
        self._done += elements
        if self._progress:
            self._progress(min(1.0, self._done / self._total))


def _mapped_files() -> list[tuple[int, int]]:
    """The addresses, from first to one past the last, at which files are mapped; none where that cannot be known."""
    if not sys.platform.startswith("linux"):
        return []
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, _, _, _, inode, *_ = line.split()
        if inode != "0":
            first, end = (int(address, 16) for address in addresses.split("-"))
            found.append((first, end))
    return found


def _let_go(tensor: Tensor, files: Sequence[tuple[int, int]]) -> None:
    """Give back the pages of a mapped file that a tensor lies in; on next use they are read from the file again.

    Without it a model counts twice while it is loaded: once as packed, once as the pages of its file. Memory that is no
    file's would become zeros by this.
    """
    first = tensor.data_ptr() // mmap.PAGESIZE * mmap.PAGESIZE
    end = -(-(tensor.data_ptr() + tensor.nbytes) // mmap.PAGESIZE) * mmap.PAGESIZE
    if end > first and any(start <= first and end <= stop for start, stop in files):
        libc = ctypes.CDLL(None)
        libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), mmap.MADV_DONTNEED)


def _trim() -> None:
    """Have the allocator give back what was freed: it keeps the float32 copies that weights were packed from."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc
    if trim is not None:
        trim(0)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open  # not needed to speak with a model that is built in memory

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:  # files of before torch 1.6 cannot be mapped
        content = torch.load(path, map_location="cpu", weights_only=True)
    inner = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(inner, Mapping):
        raise ValueError(f"found {type(content).__name__}, expected a state dict")
    return dict(inner)


def _samples(path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    yield path.name.encode() + size.to_bytes(8, "little")
    with path.open("rb") as file:
        for index in range(SAMPLES + 1):
            file.seek(max(0, size - SAMPLED_BYTES) * index // SAMPLES)
            yield file.read(SAMPLED_BYTES)

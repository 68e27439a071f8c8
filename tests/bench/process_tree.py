"""What a process and those that it started hold: memory, open files, threads, shared memory. Linux only."""

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Resources:
    """What a process and its descendants hold.

    Attributes:
        memory_mib: proportional set size: pages that several processes share are counted once.
        files: open descriptors.
        threads: of all the processes.
        processes: number of processes, zombies among them.
        shared_files: files in /dev/shm of the whole machine.
    """

    memory_mib: float
    files: int
    threads: int
    processes: int
    shared_files: int

    def __str__(self) -> str:
        return (
            f"{self.memory_mib:7.1f} MiB, {self.files} files, {self.threads} threads, {self.processes} processes, "
            f"{self.shared_files} in /dev/shm"
        )


def resources(root: int | None = None) -> Resources:
    """What the process `root`, by default this one, and its descendants hold now."""
    found = descendants(root or os.getpid())
    return Resources(
        memory_mib=sum(map(memory_mib, found)),
        files=sum(_entries(PROC / str(pid) / "fd") for pid in found),
        threads=sum(_entries(PROC / str(pid) / "task") for pid in found),
        processes=len(found),
        shared_files=_entries(SHARED_MEMORY),
    )


def only_child() -> int:
    """The process that this one has started.

    Raises:
        ValueError: there is none, or more than one.
    """
    (child,) = _children().get(os.getpid(), [])
    return child


def descendants(root: int) -> list[int]:
    """The process `root`, its children and theirs; those that end meanwhile may be left out."""
    children = _children()
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def _children() -> dict[int, list[int]]:
    """Processes by the process that started them."""
    children: dict[int, list[int]] = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text("utf8", "replace").rpartition(")")[2].split()[1])
            except OSError:  # it has ended
                continue
            children.setdefault(parent, []).append(int(folder.name))
    return children


def memory_mib(pid: int) -> float:
    """Proportional set size of one process; 0 if it is gone."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text("utf8").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def _entries(folder: Path) -> int:
    try:
        return sum(1 for _ in folder.iterdir())
    except OSError:
        return 0

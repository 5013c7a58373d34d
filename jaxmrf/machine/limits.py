"""How much memory this process may take: the machine's, a container's, or that of `ulimit -v`."""

import math
from pathlib import Path

import psutil

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")

FILLED = 0.6
"""Of address space that is taken, what becomes memory: compilers and threads reserve more."""


def total() -> int:
    """Returns the bytes that there are for this process and what runs beside it."""
    limits = (limit for limit, _ in _containers(PROC, CGROUPS))
    return int(min(psutil.virtual_memory().total, *limits, _address_space()[0]))


def available() -> int:
    """Returns the bytes that this process can still get."""
    left = (limit - used for limit, used in _containers(PROC, CGROUPS))
    limit, used = _address_space()
    return max(0, int(min(psutil.virtual_memory().available, *left, FILLED * (limit - used))))


def _address_space() -> tuple[float, int]:
    """Returns how much address space the process may take (`ulimit -v`), and takes."""
    try:
        import resource  # not on Windows
    except ImportError:
        return math.inf, 0
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return math.inf, 0
    return limit, psutil.Process().memory_info().vms


def _containers(proc: Path, cgroups: Path) -> list[tuple[int, int]]:
    """Returns limit and use of the control groups that the process is in, those with a limit.

    Of version 2 (one tree) and version 1 (a tree for memory); a group may take no more than the
    groups that it lies in. See cgroups(7). What can be taken back at once, the cache of files
    that were read, does not count as used.

    Args:
      proc: where the system tells of processes.
      cgroups: where the trees are mounted.
    """
    limits = []
    for line in _text(proc / "self" / "cgroup").splitlines():
        _, controllers, place = line.split(":", 2)
        if not controllers:
            tree, names = cgroups, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            tree = cgroups / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = tree / place.lstrip("/")
        # Inside a container the group that is named may be mounted as the tree itself.
        for folder in dict.fromkeys((group, *group.parents, tree)):
            if folder.is_relative_to(tree):
                limits += _limit_of(folder, *names)
    return limits


def _limit_of(folder: Path, limit: str, used: str, cache: str) -> list[tuple[int, int]]:
    """Returns limit and use of a control group; nothing if it has no limit."""
    text, use = _text(folder / limit).strip(), _text(folder / used).strip()
    if not (text.isdecimal() and use.isdecimal()):  # "max", or no such file
        return []
    counts = dict(
        line.split() for line in _text(folder / "memory.stat").splitlines() if line.count(" ") == 1
    )
    return [(int(text), int(use) - int(counts.get(cache, 0)))]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""

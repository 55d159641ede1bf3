"""What a run ran on: the report's ``environment``, and how many cores it may use."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGES = (
    "numpy",
    "httpx",
    "uvloop",
    "protobuf",
    "cramjam",
    "python-snappy",
    "prometheus-client",
)
_ROOT = Path("/")


class Environment(TypedDict):
    """Where a run ran; as in the report, so that runs of different hosts are told apart."""

    hostname: str
    platform: str
    cpu_model: str | None
    n_cpus: int
    n_usable_cores: int
    python: str
    versions: dict[str, str | None]


def environment(root: Path = _ROOT) -> Environment:
    """Return what this process runs on; ``root`` is the directory that holds ``proc``.

    ``n_cpus`` is what the host has, ``n_usable_cores`` what this process may use of it.
    A package that is not installed has the version None.
    """
    # The platform module's platform() starts a child process.
    host = os.uname()
    return {
        "hostname": host.nodename,
        "platform": f"{host.sysname}-{host.release}-{host.machine}",
        "cpu_model": _cpu_model(root),
        "n_cpus": os.cpu_count() or 1,
        "n_usable_cores": usable_cores(root),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in _PACKAGES},
    }


def usable_cores(root: Path = _ROOT) -> int:
    """Return how many cores this process can keep busy: at least 1.

    The smaller of its CPU affinity and the tightest CPU quota of its control groups, rounded down:
    a worker too many would be throttled together with all others. ``root`` is the directory that
    holds ``proc`` and ``sys``.
    """
    n_cores = len(os.sched_getaffinity(0))
    for directory in _cpu_cgroups(root):
        for quota in (_quota_v2(directory), _quota_v1(directory)):
            if quota is not None:
                n_cores = min(n_cores, quota)
    return max(1, n_cores)


def _version(package: str) -> str | None:
    from importlib import metadata  # noqa: PLC0415 - not before it is needed

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model(root: Path) -> str | None:
    """Return the first processor's model name; None on architectures that do not tell."""
    for line in _lines(root / "proc/cpuinfo"):
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip() or None
    return None


def _cpu_cgroups(root: Path) -> Iterator[Path]:
    """Yield the directories of this process's control groups for CPU, and of their parents.

    The formats are those of proc(5) (``mountinfo``) and cgroups(7) (``cgroup``).
    """
    mounts = dict(_cgroup_mounts(root))
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        hierarchy = "v2" if number == "0" and not controllers else "v1"
        if hierarchy == "v1" and "cpu" not in controllers.split(","):
            continue
        if hierarchy in mounts:
            mount_root, mount_point = mounts[hierarchy]
            top = root / mount_point.relative_to("/")
            below = _relative(PurePosixPath(path), mount_root)
            yield from (top / part for part in (below, *below.parents))


def _relative(path: PurePosixPath, mount_root: PurePosixPath) -> PurePosixPath:
    """Return where ``path`` is below the mount point, which shows only what is in its root.

    A container often sees its own group mounted as the top; a path outside of it cannot be seen.
    """
    if path.is_relative_to(mount_root) and ".." not in path.parts:
        return path.relative_to(mount_root)
    return PurePosixPath()


def _cgroup_mounts(root: Path) -> Iterator[tuple[str, tuple[PurePosixPath, PurePosixPath]]]:
    """Yield "v1" (the cpu controller) or "v2", with the mount's root and mount point."""
    for line in _lines(root / "proc/self/mountinfo"):
        mount, _, filesystem = line.partition(" - ")
        mount_fields = mount.split(" ")
        filesystem_fields = filesystem.split(" ")
        if len(mount_fields) < 5 or len(filesystem_fields) < 3:
            continue
        kind, _, options = filesystem_fields[:3]
        where = (
            PurePosixPath(_unescaped(mount_fields[3])),
            PurePosixPath(_unescaped(mount_fields[4])),
        )
        if not where[1].is_absolute():
            continue
        if kind == "cgroup2":
            yield "v2", where
        elif kind == "cgroup" and "cpu" in options.split(","):
            yield "v1", where


def _unescaped(field: str) -> str:
    r"""Return a field of mountinfo, in which a space is written as ``\040``."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _quota_v2(directory: Path) -> int | None:
    """Return the whole cores of ``cpu.max``: quota and period in µs, or "max"."""
    match _lines(directory / "cpu.max"):
        case [line, *_]:
            return _whole_cores(line.split())
        case _:
            return None


def _quota_v1(directory: Path) -> int | None:
    """Return the whole cores of ``cpu.cfs_quota_us``, in which -1 is no quota."""
    return _whole_cores(
        [
            *_lines(directory / "cpu.cfs_quota_us")[:1],
            *_lines(directory / "cpu.cfs_period_us")[:1],
        ]
    )


def _whole_cores(quota_and_period: list[str]) -> int | None:
    try:
        quota_us, period_us = map(int, quota_and_period)
    except ValueError:
        return None
    return quota_us // period_us if quota_us >= 0 and period_us > 0 else None


def _lines(path: Path) -> list[str]:
    """Return a file's lines; none where it cannot be read, as each of these is optional."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []

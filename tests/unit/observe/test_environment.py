from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING

import pytest

from looker.observe.environment import environment, usable_cores

if TYPE_CHECKING:
    from pathlib import Path

V2_MOUNT = "30 23 0:26 {root} {point} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNT = "33 23 0:29 {root} {point} rw,nosuid shared:7 master:3 - cgroup cgroup rw,cpu,cpuacct\n"
V1_CPUSET_MOUNT = "34 23 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
OTHER_MOUNTS = "22 1 254:0 / / rw,relatime - ext4 /dev/root rw\n\nnot a mount\n"


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def v2(root: Path, group: str, *, mount_root: str = "/", point: str = "/sys/fs/cgroup") -> Path:
    write(root / "proc/self/cgroup", f"0::{group}\n")
    write(
        root / "proc/self/mountinfo",
        OTHER_MOUNTS + V2_MOUNT.format(root=mount_root, point=point),
    )
    return root / "sys/fs/cgroup"


def v1(root: Path, group: str, *, mount_root: str = "/") -> Path:
    write(root / "proc/self/cgroup", f"5:cpuset:/other\n4:cpu,cpuacct:{group}\n1:name=systemd:/\n")
    write(
        root / "proc/self/mountinfo",
        OTHER_MOUNTS
        + V1_MOUNT.format(root=mount_root, point="/sys/fs/cgroup/cpu,cpuacct")
        + V1_CPUSET_MOUNT,
    )
    return root / "sys/fs/cgroup/cpu,cpuacct"


def quota_v1(directory: Path, quota_us: int, period_us: int = 100_000) -> None:
    write(directory / "cpu.cfs_quota_us", f"{quota_us}\n")
    write(directory / "cpu.cfs_period_us", f"{period_us}\n")


def test_affinity_alone(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == 16


@pytest.mark.parametrize(
    ("cpu_max", "cores"),
    [
        ("max 100000", 16),
        ("200000 100000", 2),
        ("250000 100000", 2),
        ("299999 100000", 2),
        ("50000 100000", 1),
        ("0 100000", 1),
        ("75000 25000", 3),
        ("9000000 100000", 16),
        ("200000 0", 16),
        ("200000", 16),
        ("", 16),
        ("garbage 100000", 16),
        ("-1 100000", 16),
    ],
)
def test_quota_of_the_own_group_v2(tmp_path: Path, cpu_max: str, cores: int) -> None:
    top = v2(tmp_path, "/user.slice/run.scope")
    write(top / "user.slice/run.scope/cpu.max", f"{cpu_max}\n")
    assert usable_cores(tmp_path) == cores


def test_the_tightest_parent_counts_v2(tmp_path: Path) -> None:
    top = v2(tmp_path, "/a/b/c")
    write(top / "a/b/c/cpu.max", "800000 100000\n")
    write(top / "a/b/cpu.max", "max 100000\n")
    write(top / "a/cpu.max", "300000 100000\n")
    write(top / "a/other/cpu.max", "100000 100000\n")
    assert usable_cores(tmp_path) == 3


def test_a_container_with_its_own_namespace_v2(tmp_path: Path) -> None:
    top = v2(tmp_path, "/")
    write(top / "cpu.max", "400000 100000\n")
    assert usable_cores(tmp_path) == 4


@pytest.mark.parametrize("group", ["/docker/abc", "/docker/abc/run", "/elsewhere", "/../.."])
def test_a_container_that_sees_its_group_as_the_top(tmp_path: Path, group: str) -> None:
    write(v2(tmp_path, group, mount_root="/docker/abc") / "cpu.max", "400000 100000\n")
    assert usable_cores(tmp_path) == 4


def test_a_path_outside_of_the_namespace_is_not_followed(tmp_path: Path) -> None:
    top = v2(tmp_path, "/../sibling")
    write(top.parent / "sibling/cpu.max", "100000 100000\n")
    write(top / "cpu.max", "500000 100000\n")
    assert usable_cores(tmp_path) == 5


def test_an_escaped_mount_point(tmp_path: Path) -> None:
    v2(tmp_path, "/run", point=r"/my\040groups")
    write(tmp_path / "my groups/run/cpu.max", "600000 100000\n")
    assert usable_cores(tmp_path) == 6


@pytest.mark.parametrize(("quota_us", "cores"), [(-1, 16), (350_000, 3), (10_000, 1)])
def test_quota_of_the_own_group_v1(tmp_path: Path, quota_us: int, cores: int) -> None:
    quota_v1(v1(tmp_path, "/job/7") / "job/7", quota_us)
    assert usable_cores(tmp_path) == cores


def test_the_tightest_parent_counts_v1(tmp_path: Path) -> None:
    top = v1(tmp_path, "/job/7")
    quota_v1(top / "job/7", -1)
    quota_v1(top / "job", 100_000, 50_000)
    quota_v1(top, -1)
    quota_v1(tmp_path / "sys/fs/cgroup/cpuset/other", 100_000)
    assert usable_cores(tmp_path) == 2


def test_a_container_that_sees_its_group_as_the_top_v1(tmp_path: Path) -> None:
    quota_v1(v1(tmp_path, "/docker/abc", mount_root="/docker/abc"), 500_000)
    assert usable_cores(tmp_path) == 5


def test_both_versions_at_once(tmp_path: Path) -> None:
    quota_v1(tmp_path / "sys/fs/cgroup/cpu/job", 700_000)
    write(tmp_path / "sys/fs/cgroup/unified/job/cpu.max", "900000 100000\n")
    write(tmp_path / "proc/self/cgroup", "3:cpu:/job\n0::/job\n")
    write(
        tmp_path / "proc/self/mountinfo",
        V1_MOUNT.format(root="/", point="/sys/fs/cgroup/cpu")
        + V2_MOUNT.format(root="/", point="/sys/fs/cgroup/unified"),
    )
    assert usable_cores(tmp_path) == 7


def test_without_a_period_there_is_no_quota_v1(tmp_path: Path) -> None:
    write(v1(tmp_path, "/") / "cpu.cfs_quota_us", "100000\n")
    assert usable_cores(tmp_path) == 16


@pytest.mark.parametrize("cgroup", ["", "garbage\n", "0\n", "0:\n", "x:y:z\n", "0::\n"])
def test_a_strange_cgroup_file_is_no_limit(tmp_path: Path, cgroup: str) -> None:
    v2(tmp_path, "/")
    write(tmp_path / "proc/self/cgroup", cgroup)
    assert usable_cores(tmp_path) == 16


def test_a_strange_mount_point_is_passed_over(tmp_path: Path) -> None:
    v2(tmp_path, "/", point="relative")
    assert usable_cores(tmp_path) == 16


def test_affinity_below_the_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5})
    write(v2(tmp_path, "/") / "cpu.max", "400000 100000\n")
    assert usable_cores(tmp_path) == 2


def test_this_host() -> None:
    found = environment()
    assert json.loads(json.dumps(found)) == found
    assert found["hostname"] == platform.node()
    assert found["platform"].startswith("Linux-")
    assert found["n_cpus"] == os.cpu_count()
    assert found["n_usable_cores"] == usable_cores()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert list(found["versions"]) == [
        "numpy",
        "httpx",
        "uvloop",
        "protobuf",
        "cramjam",
        "python-snappy",
        "prometheus-client",
    ]
    assert found["versions"]["numpy"] == metadata.version("numpy")


def test_the_first_cpu_model_is_named(tmp_path: Path) -> None:
    text = "processor\t: 0\nmodel\t\t: 2\nmodel name\t: Fast: CPU @ 3 GHz\n\nmodel name\t: Other\n"
    write(tmp_path / "proc/cpuinfo", text)
    assert environment(tmp_path)["cpu_model"] == "Fast: CPU @ 3 GHz"


@pytest.mark.parametrize("cpuinfo", [None, "", "CPU implementer : 0x41\n", "model name :\n"])
def test_an_unknown_cpu_model_is_none(tmp_path: Path, cpuinfo: str | None) -> None:
    if cpuinfo is not None:
        write(tmp_path / "proc/cpuinfo", cpuinfo)
    assert environment(tmp_path)["cpu_model"] is None


def test_a_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package == "uvloop":
            raise metadata.PackageNotFoundError(package)
        return "1.2.3"

    monkeypatch.setattr(metadata, "version", version)
    versions = environment()["versions"]
    assert versions["uvloop"] is None
    assert versions["numpy"] == "1.2.3"


def test_no_package_is_imported_for_its_version() -> None:
    program = (
        "import sys; from looker.observe.environment import environment; environment();"
        "print({'numpy', 'httpx', 'uvloop', 'google', 'cramjam', 'snappy'}"
        ".intersection(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    assert done.stdout == "set()\n"

"""Limits of memory: of containers, as the system's files tell of them, and of `ulimit -v`."""

import subprocess
import sys

import psutil
import pytest

from jaxmrf.machine import limits

GB = 10**9


def group(folder, limit, used, cache, version):
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }[version]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {cache}\n")


@pytest.fixture
def system(tmp_path, monkeypatch):
    """The system's files, in a folder of the test's."""
    (tmp_path / "proc" / "self").mkdir(parents=True)
    monkeypatch.setattr(limits, "PROC", tmp_path / "proc")
    monkeypatch.setattr(limits, "CGROUPS", tmp_path / "cgroup")
    return tmp_path


def is_in(system, text):
    (system / "proc" / "self" / "cgroup").write_text(text)


def test_the_tightest_group_of_a_container_counts(system):
    is_in(system, "0::/outer/inner\n")
    group(system / "cgroup" / "outer", 2 * GB, GB, GB // 2, 2)
    group(system / "cgroup" / "outer" / "inner", "max", GB // 4, 0, 2)
    assert limits.total() == 2 * GB
    assert limits.available() == 2 * GB - GB // 2


def test_a_container_that_sees_its_own_group_as_the_tree(system):
    is_in(system, "0::/kubepods/pod7\n")
    group(system / "cgroup", GB, GB // 4, 0, 2)
    assert limits.available() == GB - GB // 4


def test_version_1(system):
    is_in(system, "9:cpu,cpuacct:/x\n4:memory:/docker/7\n0::/x\n")
    group(system / "cgroup" / "memory" / "docker" / "7", GB, GB // 2, GB // 4, 1)
    group(system / "cgroup" / "memory", 2**63 - 4096, 5 * GB, 0, 1)  # how it says: none
    assert limits.total() == GB
    assert limits.available() == GB - GB // 4


def test_a_full_container_has_nothing_left(system):
    is_in(system, "0::/\n")
    group(system / "cgroup", GB, 2 * GB, 0, 2)
    assert limits.available() == 0


def test_without_containers_it_is_the_machine(system):
    assert limits.total() == psutil.virtual_memory().total


def test_the_address_space_of_a_process_is_a_limit_too():
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (3 * 10**9, -1))\n"
        "from jaxmrf.machine import limits\n"
        "assert limits.total() <= 3 * 10**9\n"
        "assert 5 * 10**8 < limits.available() < limits.FILLED * 3 * 10**9\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)

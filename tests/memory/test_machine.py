"""What the process may use: on made-up file trees, under resource limits, and in a real control group."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.memory_limit import limit
from chroma_nb.memory.budget import default_budget, read_budget
from chroma_nb.memory.limits import Limit
from chroma_nb.memory.machine import MACHINE, Machine, process_rss
from chroma_nb.memory.sizes import parse_bytes
from tests.memory.layouts import LAYOUTS, Layout, cgroup2, v2

if TYPE_CHECKING:
    from pathlib import Path

MB = 1 << 20
V1_UNLIMITED = str(9_223_372_036_854_771_712)


class Tree:
    """A machine of files."""

    def __init__(self, root: Path, memory_mb: int = 8_000, available_mb: int = 6_000) -> None:
        self.root = root
        self.environment: dict[str, str] = {}
        self.write(
            "proc/meminfo",
            f"MemTotal: {memory_mb * 1024} kB\nMemFree: 1 kB\n"
            f"MemAvailable: {available_mb * 1024} kB\n",
        )

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def v2(self, group: str, most: str, current: int = 0, cached: int = 0) -> None:
        self.write(f"{group}/memory.max", most + "\n")
        self.write(f"{group}/memory.current", f"{current}\n")
        self.write(
            f"{group}/memory.stat",
            f"anon {current - cached}\ninactive_file {cached // 2}\nactive_file {cached // 2}\n",
        )

    def v1(self, group: str, most: str, usage: int = 0, cached: int = 0) -> None:
        self.write(f"{group}/memory.limit_in_bytes", most + "\n")
        self.write(f"{group}/memory.usage_in_bytes", f"{usage}\n")
        # The values of the group alone, which do not count its children, come first.
        self.write(
            f"{group}/memory.stat",
            f"inactive_file 1\nactive_file 1\ntotal_inactive_file {cached}\ntotal_active_file 0\n",
        )

    @property
    def machine(self) -> Machine:
        return Machine(str(self.root), self.environment)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_a_bare_machine_has_its_physical_memory(tree: Tree) -> None:
    assert tree.machine.limits() == [Limit("physical memory", 8_000 * MB, 2_000 * MB)]
    assert tree.machine.free() == 6_000 * MB


def test_cgroup_v2_in_a_container(tree: Tree) -> None:
    # The path is the host's: only the mount is there, and it is the container's own group.
    tree.write("proc/self/cgroup", "0::/kubepods/pod1/abc\n")
    tree.v2("sys/fs/cgroup", str(2_000 * MB), current=900 * MB, cached=400 * MB)
    assert tree.machine.limit() == Limit("cgroup v2", 2_000 * MB, 500 * MB)
    assert tree.machine.free() == 1_500 * MB


def test_cgroup_v2_without_a_limit(tree: Tree) -> None:
    tree.write("proc/self/cgroup", "0::/user.slice\n")
    tree.v2("sys/fs/cgroup/user.slice", "max", current=10 * MB)
    assert tree.machine.limit().source == "physical memory"


def test_the_group_above_may_be_the_narrower_one(tree: Tree) -> None:
    tree.write("proc/self/cgroup", "0::/hub/user-7\n")
    tree.v2("sys/fs/cgroup/hub/user-7", str(4_000 * MB), current=100 * MB)
    tree.v2("sys/fs/cgroup/hub", str(3_000 * MB), current=2_500 * MB)
    assert tree.machine.limit() == Limit("cgroup v2", 3_000 * MB, 2_500 * MB)
    assert tree.machine.free() == 500 * MB


def test_least_free_is_not_always_under_the_least_limit(tree: Tree) -> None:
    tree.write("proc/self/cgroup", "0::/hub/user-7\n")
    tree.v2("sys/fs/cgroup/hub/user-7", str(1_000 * MB), current=100 * MB)
    tree.v2("sys/fs/cgroup/hub", str(3_000 * MB), current=2_900 * MB)
    assert tree.machine.limit().total == 1_000 * MB
    assert tree.machine.free() == 100 * MB


def test_cgroup_v1(tree: Tree) -> None:
    tree.write("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n")
    tree.v1("sys/fs/cgroup/memory", str(1_000 * MB), usage=700 * MB, cached=300 * MB)
    assert tree.machine.limit() == Limit("cgroup v1", 1_000 * MB, 400 * MB)


def test_cgroup_v1_without_a_limit(tree: Tree) -> None:
    tree.write("proc/self/cgroup", "4:memory:/\n")
    tree.v1("sys/fs/cgroup/memory", V1_UNLIMITED)
    assert tree.machine.limit().source == "physical memory"


def test_both_versions_side_by_side(tree: Tree) -> None:
    tree.write("proc/self/cgroup", "4:memory:/a\n0::/b\n")
    tree.v1("sys/fs/cgroup/memory/a", str(900 * MB))
    tree.v2("sys/fs/cgroup/unified/b", str(700 * MB))
    sources = {(one.source, one.total) for one in tree.machine.limits()}
    assert {("cgroup v1", 900 * MB), ("cgroup v2", 700 * MB)} <= sources
    assert tree.machine.limit().source == "cgroup v2"


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_what_runtimes_show(tree: Tree, layout: Layout) -> None:
    for path, text in layout.files.items():
        tree.write(path, text)
    tree.environment.update(layout.environment)
    source, total, used, where = layout.limit
    found = tree.machine.limit()
    assert (found.source, found.total // MB, found.used // MB) == (source, total, used)
    assert found.where == where
    free = max(0, total - used) if layout.free is None else layout.free
    if "MEM_LIMIT" in layout.environment:
        # What this process has counts against it, and who runs the tests may have much.
        free = min(free, (total * MB - process_rss()) // MB + 64)
        assert tree.machine.free() <= free * MB
    else:
        assert tree.machine.free() == free * MB


def test_a_process_that_is_moved_finds_its_new_group(tree: Tree) -> None:
    for path, text in {**v2("sys/fs/cgroup/a", 900), **v2("sys/fs/cgroup/b", 700)}.items():
        tree.write(path, text)
    tree.write("proc/self/mountinfo", cgroup2())
    tree.write("proc/self/cgroup", "0::/a\n")
    machine = tree.machine
    assert machine.limit().total == 900 * MB
    tree.write("sys/fs/cgroup/a/memory.max", f"{800 * MB}\n")
    assert machine.limit().total == 800 * MB
    tree.write("proc/self/cgroup", "0::/b\n")
    assert machine.limit().total == 700 * MB


def test_the_limits_in_plain_words(tree: Tree) -> None:
    tree.write("proc/self/mountinfo", cgroup2())
    tree.write("proc/self/cgroup", "0::/\n")
    for path, text in v2("sys/fs/cgroup", 2_000, 1_500, high=1_900).items():
        tree.write(path, text)
    rows = tree.machine.explain()
    assert [(row.source, row.where, row.free, row.binds) for row in rows] == [
        ("cgroup v2", "/sys/fs/cgroup/memory.high", 400 * MB, True),
        ("physical memory", "/proc/meminfo", 6_000 * MB, False),
    ]
    assert str(rows) == (
        "cgroup v2        /sys/fs/cgroup/memory.high  2.0 GB,  1.6 GB used,  419 MB free  <- binds\n"
        "physical memory  /proc/meminfo               8.4 GB,  2.1 GB used,  6.3 GB free"
    )
    assert repr(rows) == str(rows)
    assert str(rows[1]) == "physical memory  /proc/meminfo  8.4 GB,  2.1 GB used,  6.3 GB free"


def test_what_binds_is_what_is_met_first(tree: Tree) -> None:
    tree.write("proc/self/cgroup", "0::/hub/user-7\n")
    tree.v2("sys/fs/cgroup/hub/user-7", str(1_000 * MB), current=100 * MB)
    tree.v2("sys/fs/cgroup/hub", str(3_000 * MB), current=2_900 * MB)
    [binding] = [row for row in tree.machine.explain() if row.binds]
    assert (binding.where, binding.free) == ("/sys/fs/cgroup/hub/memory.max", tree.machine.free())


def test_a_machine_without_these_files(tmp_path: Path) -> None:
    machine = Machine(str(tmp_path / "none"), {})
    [row] = [row for row in machine.explain() if row.source == "physical memory"]
    assert row.where == "psutil.virtual_memory()"
    assert 0 < machine.free() <= machine.limit().total


@pytest.mark.parametrize(
    ("text", "total"),
    [
        ("2147483648", 2048 * MB),
        ("2Gi", 2048 * MB),
        ("2gi", 2048 * MB),
        ("512Mi", 512 * MB),
        ("1048576Ki", 1024 * MB),
        ("0.001Ti", 2**40 // 1000),
        ("2G", 2048 * MB),
        ("2g", 2048 * MB),
        ("512M", 512 * MB),
        ("512m", 512 * MB),
        ("900000k", 900_000 << 10),
        ("2e9", 2 * 10**9),
        (" 1.5 GiB ", 1536 * MB),
    ],
)
def test_what_a_hub_announces(tree: Tree, text: str, total: int) -> None:
    tree.environment["MEM_LIMIT"] = text
    assert (tree.machine.limit().source, tree.machine.limit().total) == ("MEM_LIMIT", total)
    assert tree.machine.free() <= max(0, total - process_rss()) + 64 * MB


@pytest.mark.parametrize(
    "text", ["", "plenty", "-5", "0", "12 parsecs", "$(reboot)", "50%", "0.5", "9E", "1e99"]
)
def test_what_a_hub_announces_badly_is_passed_over(tree: Tree, text: str) -> None:
    tree.environment["MEM_LIMIT"] = text
    assert tree.machine.limit().source == "physical memory"


def test_sizes_of_budgets_keep_their_meaning() -> None:
    assert parse_bytes("2G") == 2048 * MB
    assert parse_bytes("2 GB") == 2 * 10**9
    assert parse_bytes("2 GiB") == 2048 * MB


@pytest.mark.parametrize(
    "text", ["", "nonsense", "0::", "4:memory", "\x00\xff", "0::/../../etc\n", "0::/a\x00b\n"]
)
def test_garbled_files_raise_nothing(tree: Tree, text: str) -> None:
    tree.write("proc/self/cgroup", text)
    tree.write("proc/self/mountinfo", text)
    tree.write("sys/fs/cgroup/memory.max", text)
    tree.write("sys/fs/cgroup/memory.stat", "inactive_file\n\nactive_file 3 4\n")
    tree.write("proc/meminfo", text)
    assert tree.machine.limit().total > 0
    assert tree.machine.free() >= 0


def test_shares_of_what_is_free(tree: Tree) -> None:
    assert default_budget(tree.machine).loaded == int(6_000 * MB * 0.6)
    assert default_budget(tree.machine).database == 256 * MB
    tree.write("proc/self/cgroup", "0::/\n")
    tree.v2("sys/fs/cgroup", str(100 * MB), current=90 * MB)
    assert default_budget(tree.machine).loaded == int(10 * MB * 0.6)
    assert default_budget(tree.machine).database == 32 * MB
    assert read_budget("auto", tree.machine) == int(10 * MB * 0.6)
    assert read_budget("50%", tree.machine) == 50 * MB


SCRIPT = """
import json
import chroma_nb
from chroma_nb.memory.machine import MACHINE

limit, free = MACHINE.limit(), MACHINE.free()
with chroma_nb.EphemeralClient() as client:
    print(json.dumps([limit.source, limit.total, limit.used, free, client.memory.budget]), flush=True)
kept = []
for _ in range(free // 2**20 + 200):
    kept.append(bytearray(b"x") * 2**20)
print("alive")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="resource limits as Linux has them")
@pytest.mark.parametrize("name", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_resource_limits(name: str) -> None:
    enter = f"import resource\nresource.setrlimit(resource.{name}, (2 << 30, 2 << 30))\n"
    done = subprocess.run(
        [sys.executable, "-c", enter + SCRIPT], capture_output=True, text=True, check=False
    )
    source, total, used, free, budget = json.loads(done.stdout.splitlines()[0])
    assert (source, total) == (name, 2 << 30)
    assert 0 < used < total
    assert 0 < budget < free <= total - used
    assert "MemoryError" in done.stderr


def test_a_real_control_group() -> None:
    with limit(300 * MB) as group:
        if group.folder is None:
            pytest.skip("no control group can be made here")
        enter = f"import os\nopen({group.arguments()[1]!r}, 'w').write(str(os.getpid()))\n"
        done = subprocess.run(
            [sys.executable, "-c", enter + SCRIPT], capture_output=True, text=True, check=False
        )
        source, total, used, free, budget = json.loads(done.stdout.splitlines()[0])
        assert (source, total) == (group.kind, 300 * MB)
        assert 0 < used < 100 * MB
        # The two are read one after the other, and the kernel settles its account of the group in steps.
        assert 0 < budget < free <= total - used + 2 * MB
        # The limit is real: whoever goes beyond what was called free is ended.
        assert done.returncode == -9
        assert group.kills() == 1
        assert "alive" not in done.stdout


def test_this_machine() -> None:
    assert MACHINE.limit().total >= MACHINE.free() > 0
    assert process_rss() > 10 * MB

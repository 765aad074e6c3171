"""What container runtimes show of control groups, as files, and the limit that is to be found there.

Sizes are in MB. `proc` is what ``/proc/self/cgroup`` says, `mounts` the lines of ``/proc/self/mountinfo``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MB = 1 << 20
#: "No limit" of version 1, with pages of 4 KiB and of 64 KiB.
V1_UNLIMITED = 9_223_372_036_854_771_712 // MB
PHYSICAL = ("physical memory", 8_000, 2_000, "/proc/meminfo")


@dataclass(frozen=True)
class Layout:
    """One machine as a process in it sees it; `limit` is source, total and used, and the file it is in."""

    proc: str | None
    mounts: str
    groups: tuple[dict[str, str], ...]
    limit: tuple[str, int, int, str]
    environment: dict[str, str] = field(default_factory=dict)
    #: The least over all limits, where it is not what `limit` leaves.
    free: int | None = None

    @property
    def files(self) -> dict[str, str]:
        """Every file by its path."""
        found = {"proc/self/mountinfo": ROOT_MOUNTS + self.mounts}
        if self.proc is not None:
            found["proc/self/cgroup"] = self.proc
        for group in self.groups:
            found.update(group)
        return found


ROOT_MOUNTS = (
    "22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n"
    "23 22 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw\n"
    "24 22 0:22 / /sys rw,nosuid,nodev,noexec,relatime shared:2 - sysfs sysfs rw\n"
)


def cgroup2(top: str = "/", place: str = "/sys/fs/cgroup") -> str:
    return f"30 24 0:26 {top} {place} ro,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup rw,nsdelegate\n"


def cgroup1(
    top: str = "/", place: str = "/sys/fs/cgroup/memory", controllers: str = "memory"
) -> str:
    return f"41 30 0:36 {top} {place} ro,nosuid,nodev,noexec,relatime master:16 - cgroup cgroup rw,{controllers}\n"


def v2(
    folder: str,
    most: int | None = None,
    current: int = 0,
    *,
    high: int | None = None,
    file: int = 0,
    shmem: int = 0,
    slab: int = 0,
) -> dict[str, str]:
    """Return a group's files; `current` includes the cached `file`, the `shmem` and the `slab`."""
    stat = {
        "anon": current - file - shmem - slab,
        "file": file + shmem,
        "shmem": shmem,
        "inactive_anon": current - file - slab,
        "inactive_file": file // 2,
        "active_file": file - file // 2,
        "slab_reclaimable": slab,
        "slab": slab,
    }
    return {
        f"{folder}/memory.max": "max\n" if most is None else f"{most * MB}\n",
        f"{folder}/memory.high": "max\n" if high is None else f"{high * MB}\n",
        f"{folder}/memory.swap.max": "max\n",
        f"{folder}/memory.current": f"{current * MB}\n",
        f"{folder}/memory.stat": "".join(f"{name} {mb * MB}\n" for name, mb in stat.items()),
    }


def v1(
    folder: str,
    most: int = V1_UNLIMITED,
    usage: int = 0,
    *,
    above: int | None = None,
    file: int = 0,
    shmem: int = 0,
    hierarchy: int = 1,
) -> dict[str, str]:
    """Return a group's files; `above` is the least limit of all groups above, `usage` has everything in it."""
    stat = {
        "cache": file + shmem,
        "inactive_file": 1,
        "hierarchical_memory_limit": most if above is None else above,
        "hierarchical_memsw_limit": V1_UNLIMITED,
        "total_cache": file + shmem,
        "total_shmem": shmem,
        "total_inactive_file": file // 2,
        "total_active_file": file - file // 2,
    }
    return {
        f"{folder}/memory.limit_in_bytes": f"{most * MB}\n",
        f"{folder}/memory.soft_limit_in_bytes": f"{100 * MB}\n",
        f"{folder}/memory.usage_in_bytes": f"{usage * MB}\n",
        f"{folder}/memory.use_hierarchy": f"{hierarchy}\n",
        f"{folder}/memory.stat": "".join(f"{name} {mb * MB}\n" for name, mb in stat.items()),
    }


#: The top of the whole tree has no limits in version 2.
V2_TOP = {"sys/fs/cgroup/memory.stat": "anon 1\n", "sys/fs/cgroup/cgroup.procs": "1\n"}
V2_HERE = "/sys/fs/cgroup/memory.max"
V1_HERE = "/sys/fs/cgroup/memory/memory.limit_in_bytes"
DOCKER = "docker/3d5c6b"
POD = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod7a.slice"
CONTAINER = f"{POD}/cri-containerd-9f.scope"
USER = "user.slice/user-1000.slice/user@1000.service"

LAYOUTS = {
    "bare machine, v2": Layout(
        "0::/user.slice/user-1000.slice/session-2.scope\n",
        cgroup2(),
        (V2_TOP, v2("sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope", None, 900)),
        PHYSICAL,
    ),
    "systemd-run --scope -p MemoryMax=": Layout(
        f"0::/{USER}/app.slice/run-r7.scope\n",
        cgroup2(),
        (V2_TOP, v2(f"sys/fs/cgroup/{USER}/app.slice/run-r7.scope", 1_000, 500, file=100)),
        ("cgroup v2", 1_000, 400, f"/sys/fs/cgroup/{USER}/app.slice/run-r7.scope/memory.max"),
    ),
    "systemd-run --scope -p MemoryHigh=": Layout(
        f"0::/{USER}/app.slice/run-r7.scope\n",
        cgroup2(),
        (v2(f"sys/fs/cgroup/{USER}/app.slice/run-r7.scope", 2_000, 500, high=1_000),),
        ("cgroup v2", 1_000, 500, f"/sys/fs/cgroup/{USER}/app.slice/run-r7.scope/memory.high"),
    ),
    "user.slice is the narrower one": Layout(
        f"0::/{USER}/app.slice/run-r7.scope\n",
        cgroup2(),
        (
            v2(f"sys/fs/cgroup/{USER}/app.slice/run-r7.scope", 3_000, 100),
            v2("sys/fs/cgroup/user.slice/user-1000.slice", 2_000, 1_500),
        ),
        ("cgroup v2", 2_000, 1_500, "/sys/fs/cgroup/user.slice/user-1000.slice/memory.max"),
    ),
    "Docker, v2, private namespace": Layout(
        "0::/\n",
        cgroup2(),
        (v2("sys/fs/cgroup", 512, 400, file=100, shmem=50, slab=20),),
        ("cgroup v2", 512, 280, V2_HERE),
    ),
    "Docker, v2, --cgroupns=host": Layout(
        "0::/system.slice/docker-3d5c6b.scope\n",
        cgroup2(),
        (V2_TOP, v2("sys/fs/cgroup/system.slice/docker-3d5c6b.scope", 512, 100)),
        ("cgroup v2", 512, 100, "/sys/fs/cgroup/system.slice/docker-3d5c6b.scope/memory.max"),
    ),
    "Docker, v1": Layout(
        f"12:cpu,cpuacct:/{DOCKER}\n11:memory:/{DOCKER}\n0::/system.slice/containerd.service\n",
        cgroup1(f"/{DOCKER}"),
        (v1("sys/fs/cgroup/memory", 512, 400, file=100, shmem=50),),
        ("cgroup v1", 512, 300, V1_HERE),
    ),
    "Docker, v1, private namespace": Layout(
        "11:memory:/\n",
        cgroup1(),
        (v1("sys/fs/cgroup/memory", 512, 400),),
        ("cgroup v1", 512, 400, V1_HERE),
    ),
    "Docker, v1, a group of its own inside": Layout(
        f"11:memory:/{DOCKER}/inner\n",
        cgroup1(f"/{DOCKER}"),
        (
            v1("sys/fs/cgroup/memory", 900, 400),
            v1("sys/fs/cgroup/memory/inner", 300, 50),
        ),
        ("cgroup v1", 300, 50, "/sys/fs/cgroup/memory/inner/memory.limit_in_bytes"),
    ),
    "Docker, --cgroup-parent with the limit, v1": Layout(
        "11:memory:/hub/3d5c6b\n",
        cgroup1("/hub/3d5c6b"),
        (v1("sys/fs/cgroup/memory", V1_UNLIMITED, 400, above=700, file=100),),
        ("cgroup v1", 700, 300, "/sys/fs/cgroup/memory/memory.stat"),
    ),
    "Podman, rootless": Layout(
        "0::/\n",
        cgroup2(),
        (v2("sys/fs/cgroup", 512, 100),),
        ("cgroup v2", 512, 100, V2_HERE),
    ),
    "Podman, rootless, host's namespace": Layout(
        f"0::/{USER}/user.slice/libpod-1c.scope/container\n",
        cgroup2(),
        (
            v2(f"sys/fs/cgroup/{USER}/user.slice/libpod-1c.scope/container", None, 100),
            v2(f"sys/fs/cgroup/{USER}/user.slice/libpod-1c.scope", 512, 110),
        ),
        (
            "cgroup v2",
            512,
            110,
            f"/sys/fs/cgroup/{USER}/user.slice/libpod-1c.scope/memory.max",
        ),
    ),
    "Podman, rootless, no controller delegated": Layout(
        "0::/\n",
        cgroup2(),
        ({"sys/fs/cgroup/cgroup.procs": "1\n", "sys/fs/cgroup/cgroup.controllers": "pids\n"},),
        PHYSICAL,
    ),
    "Kubernetes, v2": Layout(
        "0::/\n",
        cgroup2(),
        (v2("sys/fs/cgroup", 2_048, 1_000, file=300),),
        ("cgroup v2", 2_048, 700, V2_HERE),
    ),
    "Kubernetes, v2, the pod is the narrower one": Layout(
        f"0::/{CONTAINER}\n",
        cgroup2(),
        (
            V2_TOP,
            v2(f"sys/fs/cgroup/{CONTAINER}", None, 300),
            v2(f"sys/fs/cgroup/{POD}", 1_000, 600),
            v2("sys/fs/cgroup/kubepods.slice", 7_000, 5_000),
        ),
        ("cgroup v2", 1_000, 600, f"/sys/fs/cgroup/{POD}/memory.max"),
    ),
    "Kubernetes, v1": Layout(
        "9:memory:/kubepods/burstable/pod7a/9f\n",
        cgroup1("/kubepods/burstable/pod7a/9f"),
        (v1("sys/fs/cgroup/memory", 2_048, 500, above=1_024),),
        ("cgroup v1", 1_024, 500, "/sys/fs/cgroup/memory/memory.stat"),
    ),
    "Kubernetes, v1, containerd's names": Layout(
        "9:memory:/system.slice/containerd.service/kubepods-pod7a.slice:cri-containerd:9f\n",
        cgroup1("/system.slice/containerd.service/kubepods-pod7a.slice:cri-containerd:9f"),
        (v1("sys/fs/cgroup/memory", 2_048, 500),),
        ("cgroup v1", 2_048, 500, V1_HERE),
    ),
    "LXD, v2": Layout(
        "0::/user.slice/user-1000.slice/session-c1.scope\n",
        cgroup2(),
        (
            v2("sys/fs/cgroup", 4_000, 900),
            v2("sys/fs/cgroup/user.slice/user-1000.slice/session-c1.scope"),
        ),
        ("cgroup v2", 4_000, 900, V2_HERE),
    ),
    "LXC, v1, with its own file system of groups": Layout(
        "4:memory:/lxc/box\n",
        "50 30 0:44 / /sys/fs/cgroup/memory rw,nosuid,nodev,relatime - fuse.lxcfs lxcfs rw\n",
        (v1("sys/fs/cgroup/memory/lxc/box", 4_000, 900),),
        ("cgroup v1", 4_000, 900, "/sys/fs/cgroup/memory/lxc/box/memory.limit_in_bytes"),
    ),
    "gVisor": Layout(
        None,
        "8 3 0:9 / /sys/fs/cgroup/memory rw - cgroup none rw,memory\n",
        (
            {
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{600 * MB}\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{200 * MB}\n",
            },
        ),
        ("cgroup v1", 600, 200, V1_HERE),
    ),
    "gVisor without control groups": Layout(None, "", (), PHYSICAL),
    "Colab: a machine of its own": Layout(
        "0::/\n", cgroup2(), (v2("sys/fs/cgroup", None, 1_500),), PHYSICAL
    ),
    "Colab, v1": Layout(
        "4:memory:/docker/3d\n", cgroup1("/docker/3d"), (v1("sys/fs/cgroup/memory"),), PHYSICAL
    ),
    "Binder": Layout(
        "0::/\n",
        cgroup2(),
        (v2("sys/fs/cgroup", 2_048, 500),),
        ("cgroup v2", 2_048, 500, V2_HERE),
        {"MEM_LIMIT": str(2_048 * MB), "MEM_GUARANTEE": str(450 * MB)},
    ),
    "WSL2": Layout(
        "0::/init.scope\n",
        "31 22 0:27 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - cgroup2 cgroup2 rw,nsdelegate\n",
        (V2_TOP, v2("sys/fs/cgroup/init.scope", None, 100)),
        PHYSICAL,
    ),
    "WSL2, v1 beside v2": Layout(
        "5:memory:/\n0::/\n",
        cgroup1() + cgroup2(place="/sys/fs/cgroup/unified"),
        (v1("sys/fs/cgroup/memory"), {"sys/fs/cgroup/unified/cgroup.procs": "1\n"}),
        PHYSICAL,
    ),
    "hybrid: memory is in v1": Layout(
        f"9:memory:/user.slice\n1:name=systemd:/{USER}\n0::/{USER}\n",
        cgroup1()
        + cgroup1("/", "/sys/fs/cgroup/systemd", "name=systemd")
        + cgroup2(place="/sys/fs/cgroup/unified"),
        (
            v1("sys/fs/cgroup/memory"),
            v1("sys/fs/cgroup/memory/user.slice", 900, 300),
            {f"sys/fs/cgroup/unified/{USER}/cgroup.procs": "1\n"},
        ),
        ("cgroup v1", 900, 300, "/sys/fs/cgroup/memory/user.slice/memory.limit_in_bytes"),
    ),
    "SLURM, v1": Layout(
        "11:pids:/system.slice/slurmd.service\n9:memory:/slurm/uid_1000/job_42/step_0/task_0\n",
        cgroup1(),
        (
            v1("sys/fs/cgroup/memory"),
            v1("sys/fs/cgroup/memory/slurm"),
            v1("sys/fs/cgroup/memory/slurm/uid_1000"),
            v1("sys/fs/cgroup/memory/slurm/uid_1000/job_42", 4_000, 3_000),
            v1("sys/fs/cgroup/memory/slurm/uid_1000/job_42/step_0", 4_000, 1_000),
            v1("sys/fs/cgroup/memory/slurm/uid_1000/job_42/step_0/task_0", above=4_000),
        ),
        (
            "cgroup v1",
            4_000,
            1_000,
            "/sys/fs/cgroup/memory/slurm/uid_1000/job_42/step_0/memory.limit_in_bytes",
        ),
        free=1_000,
    ),
    "SLURM, v2": Layout(
        "0::/system.slice/slurmstepd.scope/job_42/step_0/user/task_0\n",
        cgroup2(),
        (
            V2_TOP,
            v2("sys/fs/cgroup/system.slice/slurmstepd.scope/job_42", 4_000, 3_000),
            v2("sys/fs/cgroup/system.slice/slurmstepd.scope/job_42/step_0", None, 1_100),
            v2("sys/fs/cgroup/system.slice/slurmstepd.scope/job_42/step_0/user", 3_500, 1_000),
            v2("sys/fs/cgroup/system.slice/slurmstepd.scope/job_42/step_0/user/task_0"),
        ),
        (
            "cgroup v2",
            3_500,
            1_000,
            "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_42/step_0/user/memory.max",
        ),
        free=1_000,
    ),
    "mounted elsewhere, v2": Layout(
        "0::/a\n",
        cgroup2(place="/mnt/control\\040groups"),
        (v2("mnt/control groups/a", 700, 200),),
        ("cgroup v2", 700, 200, "/mnt/control groups/a/memory.max"),
    ),
    "mounted elsewhere, v1, together with cpu": Layout(
        "3:cpu,memory:/a\n",
        cgroup1("/", "/cgroup/both", "cpu,memory"),
        (v1("cgroup/both"), v1("cgroup/both/a", 700, 200)),
        ("cgroup v1", 700, 200, "/cgroup/both/a/memory.limit_in_bytes"),
    ),
    "mounted twice: ours and the whole host": Layout(
        "0::/\n",
        cgroup2("/../../..", "/host/cgroup") + cgroup2(),
        (v2("sys/fs/cgroup", 512, 100), v2("host/cgroup", 100, 90)),
        ("cgroup v2", 512, 100, V2_HERE),
    ),
    "mounted twice: more groups above ours": Layout(
        f"9:memory:/{DOCKER}\n",
        cgroup1(f"/{DOCKER}") + cgroup1("/", "/host/memory"),
        (
            v1("sys/fs/cgroup/memory", 900, 100, above=600),
            v1(f"host/memory/{DOCKER}", 900, 100, above=600),
            v1("host/memory/docker", 600, 550),
            v1("host/memory"),
        ),
        ("cgroup v1", 600, 550, "/host/memory/docker/memory.limit_in_bytes"),
    ),
    "a stranger's group is mounted as well": Layout(
        "0::/\n",
        cgroup2("/../other.slice", "/metrics") + cgroup2(),
        (v2("sys/fs/cgroup", 512, 100), v2("metrics", 100, 90)),
        ("cgroup v2", 512, 100, V2_HERE),
    ),
    "one mount hides another": Layout(
        "0::/b\n",
        cgroup2("/..") + cgroup2(),
        (v2("sys/fs/cgroup", 512, 100), v2("sys/fs/cgroup/b", 300, 90)),
        ("cgroup v2", 300, 90, "/sys/fs/cgroup/b/memory.max"),
    ),
    "outside its namespace, in sight": Layout(
        "0::/../other\n",
        cgroup2("/.."),
        (v2("sys/fs/cgroup", 2_000, 900), v2("sys/fs/cgroup/other", 600, 100)),
        ("cgroup v2", 600, 100, "/sys/fs/cgroup/other/memory.max"),
    ),
    "outside its namespace, out of sight": Layout(
        "0::/../other\n",
        cgroup2(),
        (v2("sys/fs/cgroup", 512, 100), v2("sys/fs/cgroup/other", 300, 90)),
        ("cgroup v2", 512, 100, V2_HERE),
    ),
    "moved away from what is mounted": Layout(
        "9:memory:/garden/bad/2f\n",
        cgroup1("/garden/good/2f"),
        (v1("sys/fs/cgroup/memory", 512, 100),),
        ("cgroup v1", 512, 100, V1_HERE),
    ),
    "v1, the group above does not count those below": Layout(
        "9:memory:/a/b\n",
        cgroup1(),
        (
            v1("sys/fs/cgroup/memory", hierarchy=0),
            v1("sys/fs/cgroup/memory/a", 100, 90, hierarchy=0),
            v1("sys/fs/cgroup/memory/a/b", 700, 200),
        ),
        ("cgroup v1", 700, 200, "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes"),
    ),
    "more than there is": Layout("0::/\n", cgroup2(), (v2("sys/fs/cgroup", 64_000, 1),), PHYSICAL),
    "no limit, with pages of 64 KiB": Layout(
        "4:memory:/\n",
        cgroup1(),
        (v1("sys/fs/cgroup/memory", 9_223_372_036_854_710_272 // MB),),
        PHYSICAL,
    ),
    "slowed down already": Layout(
        "0::/\n",
        cgroup2(),
        (v2("sys/fs/cgroup", 1_000, 700, high=600),),
        ("cgroup v2", 600, 700, "/sys/fs/cgroup/memory.high"),
    ),
    "a group that was removed": Layout(
        "0::/jobs/7 (deleted)\n",
        cgroup2(),
        (V2_TOP, v2("sys/fs/cgroup/jobs", 700, 200)),
        ("cgroup v2", 700, 200, "/sys/fs/cgroup/jobs/memory.max"),
    ),
}

"""datasets.pipeline.memory: limits of control groups, out of files as the kernel shows them."""

import os

from datasets.pipeline import memory

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _write(root, **files):
  for name, text in files.items():
    path = root / name.replace("__", "/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_groups_it_is_the_machine(tmp_path):
  assert memory.limit(tmp_path) == MACHINE
  _write(tmp_path, proc__self__cgroup="0::/\n")
  (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
  (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
  assert memory.limit(tmp_path) == MACHINE


def test_version_2_and_the_groups_around(tmp_path):
  _write(tmp_path, proc__self__cgroup="0::/slice/job\n")
  group = tmp_path / "sys/fs/cgroup/slice/job"
  group.mkdir(parents=True)
  (group / "memory.max").write_text("max\n")
  (group.parent / "memory.max").write_text("1000000\n")
  assert memory.limit(tmp_path) == 1_000_000
  (group / "memory.max").write_text("4096\n")
  assert memory.limit(tmp_path) == 4096


def test_version_1(tmp_path):
  _write(tmp_path, proc__self__cgroup="5:cpu,cpuacct:/job\n4:memory:/job\n")
  group = tmp_path / "sys/fs/cgroup/memory/job"
  group.mkdir(parents=True)
  (group / "memory.limit_in_bytes").write_text("2097152\n")
  assert memory.limit(tmp_path) == 2_097_152

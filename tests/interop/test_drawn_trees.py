"""Trees and options that hypothesis draws, and each threshold, read by foreign programs."""

from __future__ import annotations

import os

import pytest
from compare import assert_same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from readers import fsck, host_tree, pyfatfs_tree, volume_of
from tools import need_tool
from vfloppy.errors import PlanError
from vfloppy.synth.fat.disk import disk
from vfloppy.synth.fat.plan import FatOptions, plan
from vfloppy.synth.host.files import HostFiles
from vfloppy.synth.output.writer import write_file
from vfloppy.synth.scanning.scan import scan

MIB = 1 << 20

names = st.binary(min_size=1, max_size=20).filter(
    lambda name: not set(name) & {0, 0x2F} and name not in (b".", b"..")
) | st.text("aAbB .~1é😀", min_size=1, max_size=30).map(str.encode).filter(
    lambda name: name not in (b".", b"..")
)
trees = st.recursive(
    st.binary(max_size=3000),
    lambda children: st.dictionaries(names, children, max_size=8),
    max_leaves=15,
).filter(lambda tree: isinstance(tree, dict))
options = st.fixed_dictionaries(
    {},
    optional={
        "fat_bits": st.sampled_from((12, 16, 32)),
        "partition": st.sampled_from(("mbr", "none")),
        "sector_bytes": st.sampled_from((512, 4096)),
        "cluster_bytes": st.sampled_from((4096, 8192, 32_768)),
        "size": st.integers(4 * MIB // 4096, 700 * MIB // 4096).map(lambda units: units * 4096),
    },
)


def make(root: bytes, tree: dict[bytes, object]) -> None:
    for name, child in tree.items():
        path = os.path.join(root, name)
        if isinstance(child, dict):
            os.mkdir(path)
            make(path, child)
        else:
            with open(path, "wb") as file:
                file.write(child)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tree=trees, wishes=options)
def test_foreign_readers_read_what_was_drawn(tmp_path_factory, tree, wishes):
    need_tool("fsck.fat")
    folder = tmp_path_factory.mktemp("drawn")
    root = folder / "tree"
    root.mkdir()
    make(os.fsencode(root), tree)
    scanned = scan(str(root))
    try:
        layout = plan(scanned, FatOptions(**wishes))
    except PlanError:
        assert wishes  # without a wish, every tree fits
        return
    write_file(disk(layout, scanned, HostFiles(scanned)), str(folder / "image"))
    offset = 0 if wishes.get("partition") == "none" else MIB
    fsck(volume_of(folder / "image", folder / "volume", offset))
    contents = sorted(data or b"" for data in host_tree(root).values())
    found = pyfatfs_tree(folder / "image", offset)
    assert_same(sorted(data or b"" for data in found.values()), contents)
    renamed = {scanned.path(node): name for node, name in layout.renamed.items()}
    expected = set()
    for node in range(1, len(scanned)):
        steps = scanned.path(node).split(b"/")
        expected.add(
            "/".join(
                renamed.get(b"/".join(steps[: depth + 1])) or step.decode()
                for depth, step in enumerate(steps)
            )
        )
    assert_same(set(found), expected)


@pytest.mark.parametrize("fat_bits", [12, 16, 32])
@pytest.mark.parametrize(
    "clusters", [1, 4036, 4037, 4068, 4101, 4102, 65_476, 65_477, 65_508, 65_541, 65_542]
)
def test_both_sides_of_each_threshold(tmp_path, fat_bits, clusters):
    need_tool("fsck.fat")
    root = tmp_path / "tree"
    root.mkdir()
    with open(root / "file", "wb") as file:
        file.truncate(clusters * 512)
        file.seek(0)
        file.write(b"first")
    scanned = scan(str(root))
    wishes = FatOptions(fat_bits=fat_bits, cluster_bytes=512, partition="none")
    try:
        layout = plan(scanned, wishes)
    except PlanError:
        assert clusters > {12: 4068 - 32, 16: 65_508 - 32, 32: 1 << 28}[fat_bits]
        return
    write_file(disk(layout, scanned, HostFiles(scanned)), str(tmp_path / "image"))
    fsck(tmp_path / "image")
    assert_same(pyfatfs_tree(tmp_path / "image", 0), host_tree(root))

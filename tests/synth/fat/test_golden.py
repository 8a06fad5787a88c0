"""Golden maps: what lies where on the disks of six small trees; fixtures/maps holds them.

A layout that changes on purpose is written anew with GOLDEN=write in the environment.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from compare import assert_same
from vfloppy.synth.fat.disk import disk
from vfloppy.synth.fat.plan import FatOptions, plan
from vfloppy.synth.host.files import HostFiles
from vfloppy.synth.scanning.scan import scan

MAPS = Path(__file__).parents[3] / "fixtures" / "maps"

# Paths with sizes, None for a directory, and the options of the disk.
TREES: dict[str, tuple[dict[str, int | None], dict[str, object]]] = {
    "empty": ({}, {}),
    "five-files": ({"a": 1, "b": 4096, "c": 4097, "d/e": 0, "d/f": 100_000, "d": None}, {}),
    "esp-in-gpt": (
        {"EFI/BOOT/BOOTX64.EFI": 900_000, "startup.nsh": 20},
        {"partition": "gpt", "esp": True},
    ),
    "floppy": (
        {"AUTOEXEC.BAT": 10, "DRIVER.SYS": 40_000, "docs/read me.txt": 1},
        {"floppy": "1.44M"},
    ),
    "seed": ({"user-data": 300, "meta-data": 50}, {"partition": "none", "fat_bits": 16}),
    "long-directory": (
        {f"directory/a name of some length {number:03}": 1 for number in range(60)},
        {"size": 40 << 20, "sector_bytes": 4096},
    ),
}


@pytest.mark.parametrize("name", TREES)
def test_the_map_is_the_golden_one(name, tmp_path):
    files, options = TREES[name]
    for path, size in files.items():
        if size is None:
            (tmp_path / path).mkdir(parents=True, exist_ok=True)
        else:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(bytes(size))
    tree = scan(str(tmp_path))
    image = disk(plan(tree, FatOptions(**options)), tree, HostFiles(tree))
    lines = [f"{each.offset} {each.length} {each.kind}: {each.name}" for each in image.regions()]
    text = "\n".join(lines) + "\n"
    golden = MAPS / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(text)
    assert_same(text, golden.read_text())

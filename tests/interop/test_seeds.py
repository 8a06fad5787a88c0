"""Seeds and answers for installers: who finds their label, with and without a partition table."""

from __future__ import annotations

import pytest
from readers import guestfish
from tools import VFLOPPY, need_tool, output, run

PRESETS = ["cidata", "config-2", "oemdrv"]

# As readers look for them: cloud-init and cloudbase-init in small letters, Anaconda in capitals.
LABELS = {"cidata": "cidata", "config-2": "config-2", "oemdrv": "OEMDRV"}


@pytest.fixture
def seed(tmp_path):
    """Builds a seed's disk: `seed(*options)`."""
    (tmp_path / "seed").mkdir()
    (tmp_path / "seed" / "meta-data").write_text("instance-id: 1\n")

    def build(*options: str):
        image = tmp_path / f"{'-'.join(options)}.img"
        output(*VFLOPPY, "build", "-q", *options, str(tmp_path / "seed"), str(image))
        return image

    return build


@pytest.mark.parametrize("preset", PRESETS)
def test_the_label_is_on_the_whole_disk(seed, preset):
    """As cloudbase-init asks, by mlabel of a physical disk, and Anaconda, which wants a disk."""
    need_tool("mlabel")
    told = output("mlabel", "-s", "-i", str(seed("--for", preset)), "::")
    assert told.strip() == f"Volume label is {LABELS[preset]}"
    partitioned = seed("--for", preset, "--partition", "mbr")
    assert run("mlabel", "-s", "-i", str(partitioned), "::").returncode


def test_linux_finds_labels_on_disks_partitions_and_cds(seed, tmp_path):
    need_tool("guestfish")
    table, iso = ("--partition", "mbr"), ("--format", "iso")
    images, found = [], tmp_path / "found"
    for preset in PRESETS:
        for more, place in (((), ""), (table, "1"), (iso, "")):
            device = f"/dev/sd{'abcdefghi'[len(images)]}{place}"
            images.append((str(seed("--for", preset, *more)), device, LABELS[preset]))
    script = [f"vfs-label {device} | cat >> {found}" for _, device, _ in images]
    guestfish([image for image, _, _ in images], *script)
    assert found.read_text().split() == [label for _, _, label in images]

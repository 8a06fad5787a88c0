"""Labels: which can be, which are kept as they are written, and none at all."""

from __future__ import annotations

import pytest
from conformance import check_image, read
from vfloppy.errors import PlanError
from vfloppy.library.presets import PRESETS
from vfloppy.synth.fat.disk import directories_of, disk
from vfloppy.synth.fat.lint import lint
from vfloppy.synth.fat.plan import FatOptions, check_label, plan
from vfloppy.synth.host.files import HostFiles
from vfloppy.synth.scanning.scan import scan

MIB = 1 << 20


def laid_out(root, **options):
    """The tree, the layout and the disk of a directory."""
    tree = scan(str(root))
    layout = plan(tree, FatOptions(**options))
    return tree, layout, disk(layout, tree, HostFiles(tree))


@pytest.mark.parametrize("label", ["twelve chars", "a.b", "é", " x", "a/b", "a+b", "x\ty"])
def test_labels_that_cannot_be(label):
    with pytest.raises(PlanError, match="label"):
        check_label(label)


def test_labels_are_upper_case_but_for_those_that_are_looked_for_in_lower_case():
    assert check_label("Photos") == b"PHOTOS     "
    assert check_label("Config-2") == b"CONFIG-2   "
    assert check_label("config-2") == b"config-2   "
    assert check_label("cidata") == b"cidata     "


@pytest.mark.parametrize("options", [{}, {"fat_bits": 16}, {"floppy": "1.44M"}], ids=str)
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("count", [0, 1, 200])
def test_a_disk_without_a_label_has_no_entry_for_one(tmp_path, options, first, count):
    for number in range(count):
        (tmp_path / f"{number:03}.TXT").touch()
    (tmp_path / "SUB").mkdir()
    _, layout, image = laid_out(tmp_path, label="", has_first_files=first, **options)
    start = 0 if "floppy" in options else MIB
    place = 71 if layout.geometry.fat_bits == 32 else 43
    assert read(image, start + place, 11) == b"NO NAME    "
    root = next(each for each in image.regions() if each.name == "/")
    entries = [read(image, root.offset + at, 32) for at in range(0, 32 * (count + 2), 32)]
    assert entries[0][:11] == (b"000     TXT" if count else b"SUB        ")
    assert entries[count][:11] == b"SUB        "
    assert entries[count + 1] == bytes(32)
    check_image(image, whole=image.size < 80 * MIB)


FREE_TO_CHOOSE = sorted(PRESETS.keys() - {"cidata", "config-2", "oemdrv"})


@pytest.mark.parametrize("preset", FREE_TO_CHOOSE)
def test_no_default_equals_a_name_that_a_tree_could_have(preset, tmp_path):
    """The others' labels are what their readers look for: of these `check` speaks."""
    label = PRESETS[preset].values.get("label")
    names = ["VFLOPPY", "vfloppy", "V FLOPPY"] if label is None else [label, label.split()[0]]
    for name in names:
        root = tmp_path / name
        (root / name).mkdir(parents=True)
        tree, layout, _ = laid_out(root, label=label)
        shorts = directories_of(layout, tree).names_of(0)
        assert layout.label not in shorts
        assert not [each for each in lint(tree, layout) if "label" in each.text]


def test_the_default_stays_where_nothing_has_its_name(tmp_path):
    (tmp_path / "vfloppy.txt").touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "vfloppy").touch()
    assert laid_out(tmp_path)[1].label == b"VFLOPPY    "


@pytest.mark.parametrize(
    ("label", "name", "equals"),
    [
        ("DOS", "DOS", True),
        ("dos", "dos", True),
        ("DOS", "dos.txt", False),
        ("READMEFITXT", "readmefi.txt", True),
        ("MY FIL~1", "my files of old", False),
        ("MYFILE~1", "my files of old", True),
        ("", "NO NAME", False),
    ],
)
def test_a_label_that_equals_a_name_in_the_root_is_found(tmp_path, label, name, equals):
    (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / name).touch()
    tree, layout, _ = laid_out(tmp_path, label=label)
    found = [each for each in lint(tree, layout) if "label" in each.text]
    assert [each.path for each in found] == [name] * equals
    assert all(each.kind == "clashes" and "DOS" in each.readers for each in found)

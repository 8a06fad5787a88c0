"""What a rescan takes of the paths on the command line, which a neighbour may have replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from vfloppy.cli.options.disk import DiskOptions
from vfloppy.cli.serving.exports import source_of
from vfloppy.export import HostReadError
from vfloppy.library.config import options_from
from vfloppy.library.exports import Source, Sources
from vfloppy.synth.scanning.scan import ScanOptions, scan

SECRET = b"a secret of the user"


@pytest.fixture
def shared(tmp_path) -> Path:
    """A directory where everybody may write, with a root in it."""
    folder = tmp_path / "shared"
    (folder / "root").mkdir(parents=True)
    (folder / "root" / "file").write_text("public")
    folder.chmod(0o777)
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "file").write_bytes(SECRET)
    (tmp_path / "private" / "code").write_bytes(SECRET.ljust(440))
    return folder


def source(directory: object, **options: object) -> Source:
    return source_of("", (str(directory),), DiskOptions(*options_from(options)))


def everything(served: Source) -> bytes:
    """The disk less its free clusters."""
    disk = served.what
    return b"".join(
        disk.read(region.offset, region.length)
        for region in disk.regions()
        if region.kind != "free"
    )


def holds(served: Source, data: bytes) -> bool:
    return data in everything(served)


def code(option: str, fill: bytes) -> bytes:
    """What such an option takes."""
    if option == "boot-sector":
        return b"\xeb\x58\x90".ljust(510, fill) + b"\x55\xaa"
    return b"*.x\n" if option == "exclude-from" else fill * 440


def replace(path: Path, private: Path) -> None:
    os.rename(path, path.with_name("away"))
    path.symlink_to(private)


def names(served: Source) -> list[bytes]:
    tree = served.what.tree
    return [tree.path(node) for node in range(1, len(tree))]


def test_a_root_that_becomes_a_link_is_not_followed(shared, tmp_path, caplog):
    served = source(shared / "root")
    sources = Sources([served], confined=True)
    replace(shared / "root", tmp_path / "private")
    assert sources.refresh(asked=True) is None
    assert "is a link to" in caplog.text
    assert "start again if that is meant" in caplog.text
    assert not holds(served, SECRET)
    assert os.path.samestat(
        os.fstat(served.what.export.features.directories[0]), os.stat(shared / "away")
    )


@pytest.mark.parametrize("target", ["", "x/y"], ids=["directory", "file"])
def test_a_graft_that_becomes_a_link_is_not_followed(shared, tmp_path, caplog, target):
    path = shared / "root" / "file" if target else shared / "root"
    (tmp_path / "empty").mkdir()
    served = source(tmp_path / "empty", graft=[f"{target}={path}"])
    replace(path, tmp_path / "private" / "file" if target else tmp_path / "private")
    assert not served.refresh(asked=True)
    assert "is a link to" in caplog.text
    if not target:
        assert not holds(served, SECRET)
        return
    with pytest.raises(HostReadError):
        everything(served)


@pytest.mark.parametrize("option", ["mbr-code", "boot-sector", "exclude-from"])
@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_a_file_of_an_option_is_not_followed_nor_waited_for(shared, tmp_path, caplog, option, kind):
    path = shared / "code"
    path.write_bytes(code(option, b"x"))
    served = source(shared / "root", **{option: str(path)})
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "private" / "code")
    assert not served.refresh(asked=True)
    assert f"--{option} {path}: " in caplog.text
    assert ("is no regular file" if kind == "fifo" else "is a link to") in caplog.text
    assert not holds(served, SECRET)


def test_roots_and_manifests_that_become_fifos_are_not_waited_for(shared, tmp_path, caplog):
    served = source(shared / "root", manifest=str(shared / "list"))
    (shared / "list").unlink()
    os.mkfifo(shared / "list")
    assert not served.refresh(asked=True)
    assert "--manifest" in caplog.text
    (shared / "list").unlink()
    os.rename(shared / "root", shared / "away")
    os.mkfifo(shared / "root")
    assert not served.refresh(asked=True)
    assert "root: not a directory" in caplog.text


def test_a_manifest_s_link_that_came_later_is_not_followed(shared, tmp_path, caplog):
    served = source(shared / "root", manifest=str(shared / "list"))
    (shared / "list").unlink()
    (shared / "list").symlink_to(tmp_path / "private" / "file")
    (shared / "root" / "new").touch()
    assert not served.refresh(asked=True)
    assert "is a link to" in caplog.text
    assert (tmp_path / "private" / "file").read_bytes() == SECRET


def test_a_fresh_directory_in_place_of_the_root_is_the_next_disk(shared):
    served = source(shared / "root")
    sources = Sources([served], confined=True)
    os.rename(shared / "root", shared / "away")
    (shared / "root").mkdir()
    (shared / "root" / "newer").write_text("newer")
    assert sources.refresh(asked=True)
    assert names(served) == [b"newer"]
    assert holds(served, b"newer")
    assert os.path.samestat(
        os.fstat(served.what.export.features.directories[0]), os.stat(shared / "root")
    )


def test_a_root_that_was_moved_is_still_read(shared, tmp_path):
    served = source(shared / "root")
    replace(shared / "root", tmp_path / "private")
    assert holds(served, b"public")


def test_with_on_change_current_a_link_in_place_of_the_root_shows_nothing(shared, tmp_path):
    served = source(shared / "root", **{"on-change": "current"})
    replace(shared / "root", tmp_path / "private")
    assert holds(served, b"public")


@pytest.mark.parametrize(
    ("option", "options"),
    [("mbr-code", {}), ("boot-sector", {}), ("mbr-code", {"format": "iso"})],
    ids=str,
)
def test_new_code_is_another_disk(shared, option, options):
    path = shared / "code"
    path.write_bytes(code(option, b"1"))
    if options:
        (shared / "root" / "bios").write_bytes(b"b" * 2048)
        options = options | {"hybrid": True, "boot-bios": "bios"}
    served = source(shared / "root", **{option: str(path)}, **options)
    assert not served.refresh(asked=True)
    path.write_bytes(code(option, b"2"))
    assert served.refresh(asked=True)
    assert holds(served, b"2" * 300)
    assert not served.refresh(asked=True)


def test_a_disk_that_is_gone_holds_no_directory(shared):
    before = len(os.listdir("/proc/self/fd"))
    tree = scan(str(shared / "root"), ScanOptions())
    assert len(os.listdir("/proc/self/fd")) == before + 1
    del tree
    assert len(os.listdir("/proc/self/fd")) == before


def test_directories_outside_that_links_lead_to_are_held(shared, tmp_path):
    (shared / "root" / "link").symlink_to(tmp_path / "private")
    tree = scan(str(shared / "root"), ScanOptions(symlinks="follow-all"))
    assert sorted(os.readlink(f"/proc/self/fd/{each}") for each in tree.origins.held.values()) == [
        str(tmp_path / "private"),
        str(shared / "root"),
    ]

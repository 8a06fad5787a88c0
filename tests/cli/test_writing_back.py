"""What guests write is brought home, saved elsewhere, or kept: never lost, never by half."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import vfloppy as library
from tools import need_tool, output, vfloppy
from vfloppy.library import writing_back
from vfloppy.process.sandbox import Sandbox
from vfloppy.synth.forks import Forked

GUEST = """set -e
export MTOOLS_SKIP_CHECK=1
nbdcopy "$uri" image
{commands}
nbdcopy image "$uri"
"""
USUAL = [
    "mcopy -i image ../source ::/new.txt",
    "mdel -i image ::/gone.txt",
    "mcopy -o -i image ../source ::/changed.txt",
    "mren -i image ::/old.txt ::/Renamed.txt",
]


def run_vfloppy(*arguments: str | Path, **options: object):
    """With the environment of now: it names the directory of overlays."""
    return vfloppy(*arguments, env=dict(os.environ), **options)


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    for tool in ("mcopy", "nbdcopy"):
        need_tool(tool)
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    for name in ("gone.txt", "changed.txt", "old.txt", "sub/same.txt"):
        (root / name).write_text(name)
    (tmp_path / "source").write_text("from the guest")
    (tmp_path / "overlays").mkdir()
    (tmp_path / "guest").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "overlays"))
    return root


def guest(tmp_path: Path, *commands: str) -> str:
    """A command for --run that has mtools write to the disk."""
    script = tmp_path / "guest" / "script"
    script.write_text(GUEST.format(commands="\n".join(commands)))
    return f"cd '{script.parent}' && sh script"


def serve(tmp_path: Path, *options: str | Path, commands: list[str] = USUAL):
    return run_vfloppy("serve", "--floppy", "1.44M", "--run", guest(tmp_path, *commands), *options)


def files(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text()
        for path in root.rglob("*")
        if path.is_file() and ".vfloppy" not in path.parts
    }


HOME = {
    "changed.txt": "from the guest",
    "new.txt": "from the guest",
    "Renamed.txt": "old.txt",
    "sub/same.txt": "sub/same.txt",
}


def assert_is_home(tree: Path) -> None:
    assert files(tree) == HOME
    trash = [path for path in (tree / ".vfloppy" / "trash").rglob("*") if path.is_file()]
    assert [path.read_text() for path in trash] == ["gone.txt"]


def test_write_back_brings_home_what_a_guest_did(tree, tmp_path):
    (tree / "changed.txt").chmod(0o640)
    (tree / "old.txt").chmod(0o600)
    before = (tree / "old.txt").stat()
    done = serve(tmp_path, "--write-back", tree)
    assert done.returncode == 0, done.stderr
    assert_is_home(tree)
    assert (tree / "changed.txt").stat().st_mode & 0o777 == 0o640
    assert (tree / "Renamed.txt").stat().st_ino == before.st_ino
    assert (tree / "Renamed.txt").stat().st_mtime_ns == before.st_mtime_ns
    assert b"4 changes applied, 1 removed file in the trash" in done.stdout
    assert os.listdir(tmp_path / "overlays") == []


def test_qemus_rw_is_written_back(tree, tmp_path):
    command = guest(tmp_path, *USUAL)
    done = run_vfloppy("serve", "--run", command, f"fat:floppy:rw:{tree}")
    assert done.returncode == 0, done.stderr
    assert_is_home(tree)


def test_serving_a_disk_that_nobody_may_write_imports_nothing_for_writing(tree):
    command = [sys.executable, "-X", "importtime", "-m", "vfloppy", "serve", "--run", "true"]
    told = subprocess.run([*command, str(tree)], capture_output=True, check=True).stderr.decode()
    assert "vfloppy.synth.fat.plan" in told
    for name in ("vfloppy.harvest", "vfloppy.filters.store", "vfloppy.library.writing_back"):
        assert name not in told


def test_nothing_is_written_back_unless_that_is_asked_for(tree, tmp_path):
    before = files(tree)
    done = serve(tmp_path, "--writable", tree)
    assert done.returncode == 0, done.stderr
    assert b"gone (--overlay FILE keeps it)" in done.stderr
    assert files(tree) == before


def test_changes_are_saved_and_the_directory_stays(tree, tmp_path):
    before = files(tree)
    done = serve(tmp_path, "--changes", tmp_path / "out.tar", tree)
    assert done.returncode == 0, done.stderr
    assert files(tree) == before
    with tarfile.open(tmp_path / "out.tar") as archive:
        assert sorted(archive.getnames()) == [
            "changes.json", "files/changed.txt", "files/new.txt",
        ]  # fmt: skip
    assert os.listdir(tmp_path / "overlays") == []


def test_an_overlay_is_applied_once_and_can_be_served_again(tree, tmp_path):
    overlay = tmp_path / "overlay"
    assert serve(tmp_path, "--overlay", overlay, tree).returncode == 0
    assert run_vfloppy("harvest", overlay).returncode == 1
    done = run_vfloppy("harvest", "--apply", "--json", overlay)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["complete"]
    assert len(found["applied"]) == 4
    assert_is_home(tree)
    for arguments in (["--apply"], []):
        again = run_vfloppy("harvest", *arguments, overlay)
        assert (again.returncode, again.stdout) == (0, b"0 changes\n"), again.stderr
    done = serve(tmp_path, "--overlay", overlay, tree, commands=["mdel -i image ::/new.txt"])
    assert done.returncode == 0, done.stderr
    assert run_vfloppy("harvest", "--apply", "--no-trash", overlay).returncode == 0
    assert "new.txt" not in files(tree)


def test_a_conflict_keeps_both_and_the_exit_status_says_so(tree, tmp_path):
    host = f"echo 'from the host' > '{tree}/changed.txt'"
    done = serve(tmp_path, "--write-back", tree, commands=[*USUAL, host])
    assert done.returncode == 1
    assert b"conflict" in done.stderr
    assert sorted(files(tree).values()) == sorted([*HOME.values(), "from the host\n"])
    assert os.listdir(tmp_path / "overlays") == []  # both are in the directory


def test_an_inconsistent_disk_is_kept_and_nothing_applied(tree, tmp_path):
    before = files(tree)
    # The second entry of the first allocation table says no more what the second table says.
    spoil = "printf '\\125\\125' | dd of=image bs=1 seek=516 conv=notrunc status=none"
    done = serve(tmp_path, "--write-back", tree, commands=[*USUAL, spoil])
    assert done.returncode == 1
    assert b"nothing was applied" in done.stderr
    assert files(tree) == before
    [kept] = (tmp_path / "overlays").iterdir()
    assert str(kept).encode() in done.stderr
    assert run_vfloppy("harvest", kept).returncode == 2
    refused = run_vfloppy("harvest", "--apply", kept)
    assert refused.returncode == 2
    assert b"nothing was applied" in refused.stderr
    assert files(tree) == before
    assert kept.stat().st_size


def end_behind_guest(tree: Path, tmp_path: Path, number: signal.Signals) -> int:
    """Serve, to be written back, until a guest has written; then send a signal."""
    socket = tmp_path / "socket"
    server = subprocess.Popen(
        [sys.executable, "-m", "vfloppy", "serve", "-q", "--floppy", "1.44M", "--write-back",
         "-U", str(socket), str(tree)],
    )  # fmt: skip
    while not socket.exists():
        assert server.poll() is None
        time.sleep(0.01)
    script = guest(tmp_path, *USUAL)
    output("sh", "-c", script, env={**os.environ, "uri": f"nbd+unix:///?socket={socket}"})
    server.send_signal(number)
    return server.wait()


def test_a_server_that_is_killed_leaves_an_overlay_that_can_be_applied(tree, tmp_path):
    end_behind_guest(tree, tmp_path, signal.SIGKILL)
    [kept] = (tmp_path / "overlays").iterdir()
    done = run_vfloppy("harvest", "--apply", kept)
    assert done.returncode == 0, done.stderr
    assert_is_home(tree)


def test_a_server_that_is_asked_to_end_brings_home(tree, tmp_path):
    assert end_behind_guest(tree, tmp_path, signal.SIGTERM) == 0
    assert_is_home(tree)
    assert os.listdir(tmp_path / "overlays") == []


def test_the_child_that_brings_home_can_write_nowhere_else(tree, tmp_path):
    """Landlock is asked, by work of the child's own that tries to."""
    overlay = tmp_path / "overlays" / "overlay"
    with library.open_disk(tree, overlay=overlay, floppy="1.44M") as disk:
        folders = writing_back._folders(disk, None)

        def tries() -> list[str]:
            Sandbox(folders, writes=True).enter()
            done = []
            for place in (tree / "sub", tmp_path / "overlays", tmp_path / "guest", tmp_path):
                try:
                    (place / "tried").write_text("x")
                    done.append(place.name)
                except PermissionError:
                    pass
            return done

        if not Sandbox([]).summary.startswith("Landlock"):
            pytest.skip("this kernel has no Landlock")
        assert Forked(tries).result() == ["sub", "overlays"]


def test_what_may_not_come_home_is_saved_beside_the_overlay(tree, tmp_path):
    overlay = tmp_path / "overlay"
    hooks = ["mmd -i image ::/.git", "mcopy -i image ../source ::/.git/config"]
    assert serve(tmp_path, "--overlay", overlay, tree, commands=hooks).returncode == 0
    done = run_vfloppy("harvest", "--apply", overlay)
    assert done.returncode == 1
    assert not (tree / ".git").exists()
    assert f"{overlay}.refused".encode() in done.stderr
    assert (tmp_path / "overlay.refused/files/.git/config").read_text() == "from the guest"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["harvest", "--apply", "--to", "x", "overlay"], "goes without --to"),
        (["harvest", "--partial", "overlay"], "is about --apply"),
        (["harvest", "--no-trash", "overlay"], "is about --apply"),
        (["serve", "--write-back", "--single", "."], "goes without --single"),
        (["serve", "--changes", "x", "--config", "/dev/null"], "goes without --config"),
        (["serve", "--changes", "x", "a=.", "b=."], "is of one disk"),
    ],
)
def test_wrong_usage(arguments, words, tmp_path):
    done = run_vfloppy(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr.decode()


def test_the_library_brings_home_as_well(tree, tmp_path):
    overlay = tmp_path / "overlay"
    assert serve(tmp_path, "--overlay", overlay, tree).returncode == 0
    done = library.apply_overlay(overlay)
    assert done.applied is not None
    assert done.applied.is_complete
    assert_is_home(tree)

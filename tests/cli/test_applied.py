"""What came of applying, for people, programs and shells."""

from __future__ import annotations

import json

from guests import Guest, plant
from vfloppy.cli.applied import document, exit_status, say_applied
from vfloppy.library.applying import apply_changes, resume_applying


def applied(root, guest, **options):
    return apply_changes(guest.changes, guest.tree, guest.names, **options)


def test_what_was_done_is_printed_and_what_is_to_be_looked_after_complained_of(tmp_path, capsys):
    root = tmp_path / "root"
    plant(root, {"a": b"1", "b": b"2", "c": b"3"})
    guest = Guest(root).change("a", b"new").rename("b", "B").remove("c").create("x\n", b"")
    guest.create("y", b"guest's")
    plant(root, {"y": b"host's"})
    came = applied(root, guest)
    say_applied(came)
    out, err = capsys.readouterr()
    (trash,) = came.trash
    assert out.splitlines() == [
        "changed a", "renamed B", f"removed c (now {trash})",
        "3 changes applied, 1 removed file in the trash, 1 conflict, 1 refused",
    ]  # fmt: skip
    assert err.splitlines() == [
        f"vfloppy: conflict y ({root}/y.conflict-1): is something else on the host; the guest's is "
        "beside it",
        "vfloppy: refused x : 'x\\n' is no name of a file",
    ]
    assert exit_status(came) == 1
    told = json.loads(json.dumps(document(came)))
    assert {"outcome": "renamed", "path": "B", "host": f"{root}/B"} in told["applied"]
    assert told["complete"] is False


def test_nothing_to_look_after_is_success(tmp_path, capsys):
    plant(tmp_path, {"a": b"1"})
    came = applied(tmp_path, Guest(tmp_path).change("a", b"new"))
    say_applied(came, quiet=True)
    assert capsys.readouterr() == ("", "")
    assert exit_status(came) == 0
    assert resume_applying([tmp_path]) == []

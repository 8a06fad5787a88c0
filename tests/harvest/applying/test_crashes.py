"""A process that is killed, or fails, at any of its system calls: who comes next finishes."""

from __future__ import annotations

import errno
import itertools
import os
import random
import signal
from collections import Counter
from functools import partial

import pytest
from guests import T0, T1, Guest, grown, is_whole, mode_of, plant, trashed
from vfloppy.errors import ApplyError
from vfloppy.harvest.applying import calls as calls_module
from vfloppy.harvest.applying.apply import apply, resume
from vfloppy.harvest.applying.calls import Calls
from vfloppy.synth.scanning.merging import Graft

FILES = {
    "a": b"first", "b": b"second", "c": b"third", "x": b"x", "removed": b"removed",
    "d/f": b"f", "d/e/g": b"g", "s1/1": b"1", "s2/2": b"2", "over": b"over", "under": b"under",
    "changed": b"changed", "gone/1": b"1", "gone/2/3": b"3", "old/k": b"k", "read": b"read",
    "both": b"both",
}  # fmt: skip


def guest_of(root):
    """All sorts of changes, which depend on each other."""
    guest = Guest(root)
    guest.rename("a", "b").rename("b", "c").rename("c", "a")
    guest.rename("d/e", "d").rename("d", "d/e", kind="moved").rename("s1", "s2").rename("s2", "s1")
    guest.create("s2/new", b"new").rename("over", "under").rename("x", "X", b"rewritten")
    guest.rename("old", "old2").mkdir("old").create("old/k", b"another")
    guest.mkdir("n").mkdir("n/m").create("n/m/o", b"o" * 3_000_000, modified_ns=T1)
    guest.change("changed", b"anew", modified_ns=T1).change("read", b"read", read_only=True)
    guest.change("both", b"by the guest")
    guest.remove("removed").remove("under")
    return guest.remove("gone/1").remove("gone/2/3").remove("gone/2").remove("gone")


def made(root, quick):
    plant(quick / root, FILES)
    (quick / root / "changed").chmod(0o750)
    guest = guest_of(quick / root)
    (quick / root / "both").write_bytes(b"by the host")
    os.utime(quick / root / "both", ns=(T0 + 1, T0 + 1))
    return guest, quick / root


def seen(root):
    """All that there is afterwards, with modes of files and their times where they are known."""
    found = {
        name: (data, mode_of(root / name), (root / name).stat().st_mtime_ns in {T0, T0 + 1, T1})
        for name, data in grown(root).items()
    }
    return found, trashed(root)


WANTED = {
    "a": b"third", "b": b"first", "c": b"second", "X": b"rewritten", "d/g": b"g", "d/e/f": b"f",
    "s1/2": b"2", "s2/1": b"1", "s2/new": b"new", "under": b"over", "old2/k": b"k",
    "old/k": b"another", "n/m/o": b"o" * 3_000_000, "changed": b"anew", "read": b"read",
    "both": b"by the host", "both.conflict-1": b"by the guest",
} | dict.fromkeys(["d", "d/e", "s1", "s2", "old", "old2", "n", "n/m"])  # fmt: skip
TRASH = {"removed": b"removed", "under": b"under", "gone/1": b"1", "gone/2/3": b"3"}


class Plain(Calls):
    """A file system that can't exchange, nor rename without replacing, nor make nameless files."""

    def create_nameless(self, folder, mode):
        raise OSError(errno.EOPNOTSUPP, "")

    def move(self, source, name, target, new_name):
        self.before("move")
        calls_module._move_by_other_means(source, name, target, new_name)

    def exchange(self, source, name, target, other_name):
        raise OSError(errno.EINVAL, "")


class Stopped(BaseException):
    """Where a process would have been killed."""


def stopping(kind, at, act):
    """Calls of a kind, of which the one `at` first does something else."""

    class Stopping(kind):
        count = 0

        def before(self, call):
            self.count += 1
            if self.count == at:
                act(call)

    return Stopping()


def stop(_):
    raise Stopped


def counted(quick, kind=Calls):
    """The number of calls, and what is there at the end."""
    guest, root = made(f"counted-{kind.__name__}", quick)
    names = Counter()

    class Counting(kind):
        def before(self, call):
            names[call] += 1

    apply(guest.changes, guest.places, calls=Counting())
    found, trash = seen(root)
    assert {name: data for name, (data, _, _) in found.items()} == WANTED
    assert trash == TRASH
    return sum(names.values()), (found, trash), names


def test_the_scenario_has_all_calls(quick):
    assert set(counted(quick)[2]) == {
        "create", "create_nameless", "name", "write", "sync", "change", "mkdir", "unlink", "rmdir",
        "move", "exchange", "replace",
    }  # fmt: skip


@pytest.mark.parametrize("kind", [Calls, Plain])
def test_stopped_before_each_call(quick, kind):
    count, wanted, _ = counted(quick, kind)
    resumed = begun = 0
    for at in range(1, count + 1):
        guest, root = made(str(at), quick)
        with pytest.raises(Stopped):
            apply(guest.changes, guest.places, calls=stopping(kind, at, stop))
        begun += not is_whole(root)
        again = apply(guest.changes, guest.places, calls=kind())
        assert seen(root) == wanted, at
        assert is_whole(root)
        resumed += again.was_resumed
    assert begun > count // 2
    assert resumed > 20


def test_killed_before_each_call(quick):
    """The same with processes and SIGKILL."""
    count, wanted, _ = counted(quick)
    for at in range(1, count + 1):
        guest, root = made(str(at), quick)
        child = os.fork()
        if not child:
            try:
                kill = lambda _: os.kill(os.getpid(), signal.SIGKILL)  # noqa: E731
                apply(guest.changes, guest.places, calls=stopping(Calls, at, kill))
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        apply(guest.changes, guest.places)
        assert seen(root) == wanted, at


@pytest.mark.parametrize("kind", [Calls, Plain])
def test_stopped_again_and_again(quick, kind):
    count, wanted, _ = counted(quick, kind)
    for run in range(20):
        guest, root = made(str(run), quick)
        for _ in range(6):
            at = random.randrange(1, count + 9)
            try:
                apply(guest.changes, guest.places, calls=stopping(kind, at, stop))
            except Stopped:
                continue
            break
        apply(guest.changes, guest.places)
        assert seen(root) == wanted


def test_what_was_not_to_be_leaves_no_trace(quick):
    """Not in the times of directories either, by which the disk that was served is known."""
    count, _, _ = counted(quick)
    traces = 0
    for at in range(1, count + 1):
        guest, root = made(str(at), quick)
        before, root_s = _with_times(root), root.stat().st_mtime_ns
        with pytest.raises(Stopped):
            apply(guest.changes, guest.places, calls=stopping(Calls, at, stop))
        if (root / ".vfloppy/journal").exists():
            break
        was_begun = (root / ".vfloppy/begun").exists()
        traces += was_begun
        assert resume(root) is None
        # The root's own time is on no disk; a graft's is.
        assert root.stat().st_mtime_ns == root_s or not was_begun
        assert not (root / ".vfloppy").exists()
        assert _with_times(root) == before
    assert traces > 10


def _with_times(root):
    return {
        path.relative_to(root): (path.stat().st_mtime_ns, path.is_dir() or path.read_bytes())
        for path in root.rglob("*")
    }


@pytest.mark.parametrize("kind", [Calls, Plain])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("lasts", [False, True])
def test_each_call_fails(quick, kind, number, lasts):
    count, wanted, _ = counted(quick, kind)
    failed = 0

    def fail(_):
        raise OSError(number, os.strerror(number))

    for at in range(1, count + 1):
        guest, root = made(str(at), quick)
        before = _with_times(root)
        calls = stopping(kind, at, fail)
        if lasts:
            calls.before = partial(_fail_from, calls, at, fail)
        with pytest.raises(ApplyError) as raised:
            apply(guest.changes, guest.places, calls=calls)
        failed += 1
        assert os.strerror(number) in str(raised.value)
        if "nothing was applied" in str(raised.value) and not lasts:
            assert _with_times(root) == before
        apply(guest.changes, guest.places, calls=kind())
        assert seen(root) == wanted, at
        assert is_whole(root)
    assert failed == count


def _fail_from(calls, at, fail, call):
    calls.count += 1
    if calls.count >= at:
        fail(call)


def test_whoever_resumes_is_told_what_was_done_and_for_whom(quick):
    count, wanted, _ = counted(quick)
    for at in range(count, 0, -1):
        guest, root = made(str(at), quick)
        with pytest.raises(Stopped):
            apply(guest.changes, guest.places, token="disk 7", calls=stopping(Calls, at, stop))
        told = []
        applied = resume(root, told.append)
        if applied is None:
            if (at_journal := not told) and at < count - 5:
                break
            continue
        assert told == [applied]
        assert (applied.token, applied.was_resumed) == ("disk 7", True)
        assert {deed.path for deed in applied.of("removed")} == TRASH.keys() | {"gone", "gone/2"}
        assert {path for path in applied.trash if not os.path.exists(path)} == set()
        assert seen(root) == wanted
        assert resume(root) is None
    assert at_journal


def test_finished_is_called_again_if_it_was_killed(quick):
    guest, root = made("root", quick)

    def killed(_):
        raise Stopped

    with pytest.raises(Stopped):
        apply(guest.changes, guest.places, token="t", finished=killed)
    told = []
    apply(guest.changes, guest.places, token="t", finished=told.append)
    assert told[0].token == "t"
    assert told[0].was_resumed
    assert is_whole(root)


def test_what_the_host_does_between_a_crash_and_the_next_run_is_kept(quick):
    """Files come to the places of what was to be renamed and made; others change or go."""
    count, _, _ = counted(quick)
    for at, who in itertools.product(range(1, count + 1), range(3)):
        guest, root = made(f"{at}-{who}", quick)
        with pytest.raises(Stopped):
            apply(guest.changes, guest.places, calls=stopping(Calls, at, stop))
        hosts, overwritten = set(), set()
        for name in (["X", "old2"], ["under", "changed", "removed"], ["n"])[who]:
            path, data = root / name, f"host: {name}".encode()
            if not path.is_dir():
                if path.exists():
                    overwritten.add(path.read_bytes())
                path.write_bytes(data)
                hosts.add(data)
        apply(guest.changes, guest.places)
        left = set(grown(root).values()) | set(trashed(root).values())
        assert hosts <= left
        guests = {b"rewritten", b"anew", b"k", b"o" * 3_000_000, b"over"}
        assert guests - overwritten <= left, (at, who)
        assert is_whole(root)


def test_a_graft_that_was_not_to_be_written_to_has_its_time_again(quick):
    """It is a directory of the disk that was served, unlike the root."""
    traces = 0
    for at in range(1, 100):
        root, other = quick / f"{at}/root", quick / f"{at}/other"
        plant(root, {"a": b"1"})
        plant(other, {"dir/x": b"2"})
        guest = Guest(root, grafts=[Graft("g", f"{other}/dir")])
        guest.change("a", b"A").change("g/x", b"X").create("g/new", b"n")
        before = (other / "dir").stat().st_mtime_ns
        with pytest.raises(Stopped):
            apply(guest.changes, guest.places, calls=stopping(Calls, at, stop))
        if (root / ".vfloppy/journal").exists():
            break
        was_begun = (root / ".vfloppy/begun").exists()
        traces += was_begun and (other / "dir/.vfloppy").exists()
        assert resume(root) is None
        assert not (other / "dir/.vfloppy").exists()
        assert (other / "dir").stat().st_mtime_ns == before
    assert traces > 5


def test_a_journal_that_may_not_last_is_gone_on_with(quick):
    """It is written, and the directory that it is in can't be synced: what it tells of stays."""
    _, wanted, _ = counted(quick)
    guest, root = made("root", quick)

    class Failing(Calls):
        replaced = 0

        def before(self, call):
            self.replaced += call == "replace"
            if self.replaced == 2 and call == "sync":
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(ApplyError, match="stopped before the first change"):
        apply(guest.changes, guest.places, calls=Failing())
    assert (root / ".vfloppy/journal").exists()
    assert resume(root).was_resumed
    assert seen(root) == wanted

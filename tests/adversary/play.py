"""The four ways in which a round is played."""

from __future__ import annotations

import contextlib
import random
import time
from pathlib import Path

from vfloppy.export import HostReadError
from vfloppy.synth.output.writer import write_file

from .changer import Changer, Deed, Done
from .checker import Checker
from .figures import Figures
from .operations import BY_NAME
from .promises import Effect
from .readers import Readers
from .rounds import STEP_BY_STEP, Plan, Setting, setting
from .served import serving

_DRAIN_AFTER_S = 0.2
_FILL_S = 0.01
_BESIDE = 0.5  # so often an image is written on the files' own disk, which may share blocks


def play(
    file_system: str, mount: Path, folder: Path, plan: Plan, figures: Figures, seed: int
) -> None:
    """Play a round. Raise TroubleError."""
    figures.rounds += 1
    if plan.mode == "built":
        _play_built(file_system, mount, folder, plan, figures, seed)
        return
    with (
        setting(file_system, mount, folder, plan, figures, seed) as scene,
        contextlib.ExitStack() as ends,
    ):
        served = ends.enter_context(serving(scene.image, scene.place.root, folder, plan.manner))
        readers = Readers(served, scene.checker, random.Random(plan.seed))
        ends.callback(readers.close)
        for victim in sorted({deed.victim for deed in plan.deeds} - plan.unread):
            readers.warm_up(victim, always=plan.mode == "half sent")
        bystander = max(plan.sizes)
        if plan.mode == "at once":
            _play_at_once(scene, readers, bystander)
        else:
            for deed in plan.deeds:
                _play_steps(scene, readers, deed, bystander)


def _play_steps(scene: Setting, readers: Readers, deed: Deed, bystander: int) -> None:
    """Make one deed; between its steps all readers look."""
    changer, checker, plan = scene.changer, scene.checker, scene.plan
    checker.note(deed.operation, deed.victim)
    readers.begin(deed.victim)
    is_last, act = False, lambda: changer.start(deed)
    while not is_last:
        asked = readers.ask_too_much(deed.victim) if plan.mode == "half sent" else {}
        if asked:
            time.sleep(_FILL_S)  # for the server to fill the sockets; else a little less is tried
        _may_fail(checker, deed, plan.mode)
        act()
        # Who came just before a reply began to wait for us, waits for us: docs/promises.md, "A
        # writer that comes in the microseconds before ..."
        changer.is_done(_DRAIN_AFTER_S if asked else 0.0)
        for kind, reads in asked.items():
            readers.collect(kind, reads)
        is_last = _took_step(changer, checker)
        if plan.manner.park_after_s and random.Random(deed.seed).random() < 0.3:
            time.sleep(3 * plan.manner.park_after_s)  # parked by then, or else soon
        readers.look(deed.victim, bystander)
        act = changer.go_on


def _play_at_once(scene: Setting, readers: Readers, bystander: int) -> None:
    """Make all deeds one after the other, while readers read of each what it changes."""
    changer, checker = scene.changer, scene.checker
    for deed in scene.plan.deeds:
        checker.note(deed.operation, deed.victim)
        _may_fail(checker, deed, scene.plan.mode)
        readers.begin(deed.victim)
        changer.start_through(deed)
        is_last = False
        while not is_last:
            readers.glance(deed.victim, bystander)
            while not is_last and changer.is_done():
                is_last = _took_step(changer, checker)
        readers.look(deed.victim, bystander)


def _play_built(
    file_system: str, mount: Path, folder: Path, plan: Plan, figures: Figures, seed: int
) -> None:
    """For each deed write an image of files that are made for it, while it is done."""
    chance = random.Random(plan.seed)
    for deed in plan.deeds:
        alone = plan._replace(
            deeds=[deed], sizes={each: plan.sizes[each] for each in (deed.victim, max(plan.sizes))}
        )
        with setting(file_system, mount, folder, alone, figures, seed) as scene:
            is_beside = chance.random() < _BESIDE
            out = (scene.place.top.parent if is_beside else folder) / "image"
            scene.checker.note(deed.operation, deed.victim)
            _may_fail(scene.checker, deed, plan.mode)
            scene.changer.start_through(deed)
            is_last = is_over = False
            while not is_over:
                is_over = is_last  # one image is begun when all is done
                time.sleep(chance.uniform(0, 0.002))
                _build(scene, out)
                while not is_last and scene.changer.is_done():
                    is_last = _took_step(scene.changer, scene.checker)
            out.unlink(missing_ok=True)


def _build(scene: Setting, out: Path) -> None:
    """Write the image, and hold it against the scan unless that fails."""
    checker = scene.checker
    checker.figures.builds += 1
    try:
        write_file(scene.image, str(out), sync=False)
    except HostReadError:
        checker.figures.builds_failed += 1
        if not checker.may_fail:
            checker.figures.causeless += 1
            checker.find("build: failed without a cause", set(checker.spans))
        return
    checker.check_data(0, out.read_bytes(), checker.expected, "build")


def _may_fail(checker: Checker, deed: Deed, mode: str) -> None:
    """Note that reads of its victim may fail from now on, if they may."""
    operation = BY_NAME[deed.operation]
    # "A file that is growing has its new time of modification a moment before its new length: a
    # read in that moment fails."
    is_growing = mode != STEP_BY_STEP and Effect.LENGTHENS in operation.effect
    if not operation.keeps or is_growing or deed.victim in checker.copied_up:
        checker.may_fail.add(deed.victim)
    if operation.cuts:
        checker.may_cut.add(deed.victim)


def _took_step(changer: Changer, checker: Checker) -> bool:
    """Hear of a step. Return True if it was the deed's last."""
    done: Done = changer.done()
    checker.note_version(done.deed.victim, done.version)
    figures = checker.figures
    figures.longest_wait_s = max(figures.longest_wait_s, done.waited_s)
    if done.is_last:
        figures.changes[done.deed.operation] += 1
    return done.is_last

"""Rounds: deeds and the files they are done to, and the manner in which the disk is served."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from disks import files_of
from vfloppy.synth.fat.disk import disk as fat_disk
from vfloppy.synth.fat.plan import FatOptions
from vfloppy.synth.fat.plan import plan as fat_plan
from vfloppy.synth.image.files import FileSource
from vfloppy.synth.image.image import Image
from vfloppy.synth.iso.disk import disk as iso_disk
from vfloppy.synth.iso.plan import plan as iso_plan
from vfloppy.synth.scanning.scan import scan
from vfloppy.synth.tree.columns import Tree

from .changer import Changer, Deed
from .checker import Checker
from .figures import Figures
from .filesystems import Place, place, stack
from .operations import LAYERED, Operation, of
from .promises import Effect, let_the_clock_tick, may_follow
from .served import Manner
from .victim import Victim

SIZES = (12_289, 70_001, 131_072, 200_000, 600_000)
"""Below and above what is mapped, sent by sendfile, copied in parts; not only whole pages."""
OPERATIONS_A_ROUND = 6
MORE_AT_ONCE = 10
STEP_BY_STEP = "step by step"
OTHER_MODES = ("half sent", "at once", "built")
MODES = (STEP_BY_STEP, *OTHER_MODES)
_NUMBERS_A_ROUND = 20


class Plan(NamedTuple):
    """The plan of a round, which follows from file system, seed and number alone."""

    number: int
    mode: str
    deeds: list[Deed]
    sizes: dict[int, int]
    """The length of each file by number; the last one is a bystander, whom no deed names."""
    in_lower: frozenset[int]
    unread: frozenset[int]
    """Victims that nobody has read before something is done to them."""
    manner: Manner
    seed: int


class Setting(NamedTuple):
    """All that a round has to work with."""

    plan: Plan
    place: Place
    victims: dict[int, Victim]
    tree: Tree
    image: Image
    checker: Checker
    changer: Changer
    folder: Path
    """For sockets, logs and images, elsewhere."""


def rounds_a_pass(file_system: str, seed: int, which: int) -> list[tuple[str, list[Operation]]]:
    """Deal all operations step by step, and once more in a mode that changes with the pass."""
    deck = of(file_system)
    dealt: dict[str, list[Operation]] = {mode: [] for mode in MODES}
    for position, operation in enumerate(deck):
        mode = OTHER_MODES[(position + which) % len(OTHER_MODES)]
        if _is_possible(operation, file_system, mode):
            dealt[mode].append(operation)
        dealt[STEP_BY_STEP].append(operation)
    found = []
    for mode, operations in dealt.items():
        random.Random(f"{seed}/{file_system}/{which}/{mode}").shuffle(operations)
        for first in range(0, len(operations), OPERATIONS_A_ROUND):
            chunk = operations[first : first + OPERATIONS_A_ROUND]
            found.append((mode, chunk))
    random.Random(f"{seed}/{file_system}/{which}").shuffle(found)
    return found


def plans(file_system: str, seed: int) -> Iterator[tuple[int, Plan]]:
    """Yield all rounds, for ever, each with the number of its pass."""
    number = which = 0
    while True:
        for mode, operations in rounds_a_pass(file_system, seed, which):
            yield which, _plan(file_system, seed, which, number, mode, operations)
            number += 1
        which += 1


def _plan(
    file_system: str, seed: int, which: int, number: int, mode: str, operations: Sequence[Operation]
) -> Plan:
    chance = random.Random(f"{seed}/{file_system}/{number}")
    if mode == "at once":  # what matters there is over in a moment, and rarely meets a read
        possible = [each for each in of(file_system) if _is_possible(each, file_system, mode)]
        operations = [*operations, *chance.choices(possible, k=MORE_AT_ONCE)]
    first = number * _NUMBERS_A_ROUND
    victims = range(first, first + len(operations))
    choice = SIZES[2:] if mode == "half sent" else SIZES  # few large reads are enough
    sizes = {each: chance.choice(choice) for each in range(first, victims.stop + 1)}
    pairs = list(zip(operations, victims, strict=True))
    # Whoever opens a file of the lower layer for writing has it copied up, and that alone shows.
    # So, the first time, only what is done to the layer itself is done to one.
    others = 0.0 if mode == STEP_BY_STEP and which == 0 else 0.2
    in_lower = frozenset(
        victim
        for operation, victim in pairs
        if chance.random() < (0.5 if operation.only == LAYERED else others)
    )
    before = {victim: operation.effect for operation, victim in pairs}
    if mode != "built":  # there each deed has files of its own
        more = [each for each in of(file_system) if _is_possible(each, file_system, mode)]
        for victim in victims:
            operation = chance.choice(more)
            if may_follow(before[victim], operation.effect) and not (
                operation.whole and Effect.SHRINKS in before[victim]
            ):
                before[victim] |= operation.effect
                pairs.append((operation, victim))
    deeds = [Deed(each.name, victim, chance.getrandbits(32)) for each, victim in pairs]
    manner = Manner(
        form=chance.choice(["fat", "iso"]),
        leases=_with_leases(mode, which, chance),
        sandbox=chance.random() < 0.3,
        park_after_s=chance.choice([None, None, 0.03]),
        most_open_files=chance.choice([None, None, None, 3]),
    )
    unread = frozenset(
        victim
        for operation, victim in zip(operations, victims, strict=True)
        if mode != "half sent" and (operation.unread or chance.random() < 0.2)
    )
    return Plan(number, mode, deeds, sizes, in_lower, unread, manner, chance.getrandbits(32))


def _with_leases(mode: str, which: int, chance: random.Random) -> bool:
    """Return True for leases: step by step in every other pass, and never in builds."""
    if mode == STEP_BY_STEP:
        return which % 2 == 0
    return mode == "half sent" or (mode == "at once" and chance.random() < 0.6)


def _is_possible(operation: Operation, file_system: str, mode: str) -> bool:
    return mode == STEP_BY_STEP or file_system not in operation.unpromised_at_once


@contextlib.contextmanager
def setting(
    file_system: str, mount: Path, folder: Path, plan: Plan, figures: Figures, seed: int
) -> Iterator[Setting]:
    """Make files, scan them, and start a process that is ready to change them."""
    with place(file_system, mount, plan.number) as where:
        victims = {
            number: Victim(number, size, where, number in plan.in_lower)
            for number, size in plan.sizes.items()
        }
        lower = [each for each in victims.values() if each.in_lower and "lower" in where.layers]
        for victim in lower:
            victim.make()
        stack(where)
        for victim in victims.values():
            if victim not in lower:
                victim.make()
        let_the_clock_tick()
        tree = scan(str(where.root))
        files = files_of(tree, leases=plan.manner.leases)
        image = _disk_of(tree, plan.manner.form, files)
        let_the_clock_tick()
        manner = " ".join(f"{key}={value}" for key, value in plan.manner._asdict().items())
        context = (
            f"--seed {seed} --only {file_system} --round {plan.number} ({plan.mode}; {manner})"
        )
        checker = Checker(image, tree, victims.values(), figures, context)
        # On overlayfs, a file of the lower layer is copied before it is changed in any way, and
        # the copy is another file.
        checker.copied_up = {each.number for each in lower}
        changer = Changer(list(victims.values()))
        try:
            yield Setting(plan, where, victims, tree, image, checker, changer, folder)
        finally:
            changer.close()


def _disk_of(tree: Tree, form: str, files: FileSource) -> Image:
    """Return a disk of the tree; `form` is fat or iso. A FAT12 is no longer than it must be."""
    if form == "fat":
        return fat_disk(fat_plan(tree, FatOptions(fat_bits=12)), tree, files)
    return iso_disk(iso_plan(tree), tree, files)

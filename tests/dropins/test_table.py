"""The table of options: complete, without contradictions, and as docs/dropins.md has it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from tools import ENVIRONMENT, need_tool
from vfloppy.dropins.request import Reading
from vfloppy.dropins.spelling import spelled
from vfloppy.dropins.table import BEFORE_AS, TABLE, Fate, by_name, named, plain
from vfloppy.library.description import options_of

DOCUMENT = Path(__file__).parents[2] / "docs" / "dropins.md"
# Options of genisoimage that are about HFS, or sessions of years ago: unknown here, and so refused.
LEFT_OUT = re.compile(
    r"hfs|-mac|icon|desktop|cluster-size|auto|root-info|cap|netatalk|double|ethershare|exchange|"
    r"sgi|macbin|single|ushare|xinet|dave|sfm|osx|debug|^i$|zisofs|^old-root"
)


def test_each_spelling_is_there_once():
    assert len(by_name()) == sum(len(each.names.split()) for each in TABLE)
    assert named(BEFORE_AS)


@pytest.mark.parametrize("word", [*TABLE, *BEFORE_AS], ids=lambda word: word.names.split()[0])
def test_each_word_does_one_thing(word):
    assert word.says
    if word.fate is not Fate.HONOURED:
        assert not word.sets
        assert not word.does
        return
    assert bool(word.sets) != bool(word.does)
    if word.sets:
        assert word.sets in options_of("iso")
        assert (word.takes == 1) == (word.to is None)
    else:
        method = getattr(Reading, word.does)
        assert method.__code__.co_argcount == 1 + word.takes


@pytest.mark.parametrize("tool", ["genisoimage", "xorrisofs"])
def test_each_option_that_the_tools_list_is_in_the_table(tool):
    need_tool(tool)
    done = subprocess.run(
        [tool, "-help"], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    listed = re.findall(r"^  (-.*?)(?:  |$)", done.stdout + done.stderr, re.MULTILINE)
    names = {name for line in listed for name in re.findall(r"(?:^|, )--?([\w-]+)", line)}
    assert len(names) > 80
    missing = {plain(name) for name in names} - by_name().keys() - {"help", "version"}
    assert not {name for name in missing if not LEFT_OUT.search(name)}


def rows() -> str:
    """The table of the document."""
    lines = ["| option | | what it does, or why not |", "|---|---|---|"]
    for word in TABLE:
        fate = str(word.fate) + (", or refused without -R and -J" if word.only_with_names else "")
        values = f" {word.values}" if word.values else ""
        lines.append(f"| `{word.spelled}{values}` | {fate} | {word.says} |")
    return "\n".join(lines) + "\n"


def test_the_document_has_the_table():
    text = DOCUMENT.read_text()
    assert rows() in text, f"docs/dropins.md should have this table:\n{rows()}"


def test_every_option_of_the_library_that_is_set_has_a_word_of_the_callers():
    for word in TABLE:
        if word.sets:
            assert spelled(word.sets, "x" if word.to is None else "True").startswith("-")

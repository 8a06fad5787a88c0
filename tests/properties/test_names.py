"""Any names that Linux allows: legal, unique and stable on the disk, with 8.3 names."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from slots import long_slots
from vfloppy.synth.fat.names import (
    checksums,
    counts_if_plain,
    decode,
    fold,
    renames,
    short_names,
    slot_counts,
    units,
)

quick = settings(max_examples=200, deadline=None)

# fmt: off
_USUAL = [b"README", b"Readme", b"readme", b"con", b"CON_", b"con_", b"a:b", b"a_b", b"A_B~2",
          b"x.", b"x ", b"x_", b"X~2_", b"AB~1.TXT", b"a b.text", b"con.", b"CON.", b"a.", b"A."]
# fmt: on
linux_names = st.one_of(
    st.binary(min_size=1, max_size=255),
    st.text(min_size=1, max_size=63).map(lambda text: text.encode("utf-8", "replace")),
    st.text("aA:.~2 ", min_size=1, max_size=7).map(str.encode),
    st.builds(
        lambda head, fill, size: (head + fill * size)[:255],
        st.sampled_from(_USUAL),
        st.sampled_from((b"x", b"X", b".", b" ", b"\xff")),
        st.one_of(st.integers(0, 240), st.just(255)),
    ),
    st.sampled_from(_USUAL),
).filter(lambda name: not {0, 0x2F} & set(name) and name not in (b".", b".."))  # fmt: skip
directories = st.sets(linux_names, min_size=1, max_size=40).map(sorted)


def on_disk(names: list[bytes], normalize: bool = False) -> list[str]:
    changed = renames(b"/".join(names), len(names), normalize=normalize)
    assert set(changed) <= set(range(len(names)))
    assert all(decode(names[at]) != name for at, name in changed.items())
    return [changed.get(at, decode(name)) for at, name in enumerate(names)]


@quick
@given(directories, st.booleans())
def test_names_are_legal(names, normalize):
    for name in on_disk(names, normalize):
        name.encode("utf-16-le")  # no lone surrogate
        assert 1 <= units(name) <= 255
        assert not set(name) & set('"*/:<>?\\|')
        assert min(name) >= " "
        assert name[-1] not in ". "
        assert not re.match(r"(?i)(con|prn|aux|nul|com[1-9]|lpt[1-9])\s*(\.|$)", name)


@quick
@given(directories, st.booleans())
def test_names_are_unique_but_for_case(names, normalize):
    new = on_disk(names, normalize)
    assert len({fold(name) for name in new}) == len(new)


@quick
@given(directories)
def test_a_legal_name_that_has_no_twin_stays(names):
    legal = re.compile(r'[^\x00-\x1f"*/:<>?\\|\ud800-\udfff]*[^\x00-\x1f"*/:<>?\\|. \ud800-\udfff]')
    device = re.compile(r"(?i)(con|prn|aux|nul|com[1-9¹²³]|lpt[1-9¹²³]|conin\$|conout\$) *(\.|$)")
    folded = [fold(decode(name)) for name in names]
    for name, key, new in zip(names, folded, on_disk(names), strict=True):
        text = decode(name)
        if legal.fullmatch(text) and not device.match(text) and folded.count(key) == 1:
            assert new == text


@quick
@given(directories, directories, st.booleans())
def test_a_name_does_not_depend_on_strangers(names, strangers, normalize):
    """Strangers are names that share no first character with any that stand there."""
    alone = dict(zip(names, on_disk(names, normalize), strict=True))
    apart = {b"\xe4\xb8\x80" + name[:200] for name in strangers}
    assume_apart = {name for name in apart if not any(n.startswith(b"\xe4\xb8") for n in names)}
    together = sorted({*names, *assume_apart})
    new = dict(zip(together, on_disk(together, normalize), strict=True))
    assert {name: new[name] for name in names} == alone


@quick
@given(directories)
def test_short_names_are_legal_unique_and_nobody_s_long_name(names):
    new = on_disk(names)
    shorts = short_names(new)
    assert len(set(shorts)) == len(new)
    long_names = {fold(name): name for name in new}
    for name, short in zip(new, shorts, strict=True):
        assert re.fullmatch(
            rb"[A-Z0-9!#$%&'()@^_`{}~-]{1,8} *[A-Z0-9!#$%&'()@^_`{}~-]{0,3} *", short
        )
        assert len(short) == 11
        base, extension = short[:8].rstrip().decode(), short[8:].rstrip().decode()
        assert " " not in base + extension
        dotted = f"{base}.{extension}" if extension else base
        assert long_names.get(dotted, name) == name


@quick
@given(directories)
def test_counted_slots_are_those_that_are_written(names):
    joined = b"/".join(names)
    changed = renames(joined, len(names))
    new = on_disk(names)
    counts = slot_counts(joined, changed)
    for name, short, count in zip(new, short_names(new), counts, strict=True):
        plain = re.fullmatch(
            r"[A-Z0-9!#$%&'()@^_`{}~-]{1,8}(\.[A-Z0-9!#$%&'()@^_`{}~-]{1,3})?", name
        )
        assert count == (1 if plain else len(long_slots(name, short)) // 32 + 1)


plain = st.text("aAbB.1-+ \u00e9", min_size=1, max_size=40).map(str.encode)
plain_directories = st.sets(plain, max_size=8).map(sorted)


@quick
@given(st.lists(st.one_of(directories, plain_directories, plain_directories), min_size=1))
def test_many_directories_together_are_as_each_by_itself(many):
    names = [name for each in many for name in each]
    counts = counts_if_plain(b"/".join(names), map(len, many)) if names else []
    each_by_itself = []
    for own in filter(None, many):
        joined = b"/".join(own)
        changed = renames(joined, len(own))
        assert not changed or counts is None
        each_by_itself += slot_counts(joined, changed)
    assert counts in (None, each_by_itself)


def test_names_alike_in_two_directories_are_plain_and_in_one_are_not():
    names = [b"a", b"b", b"A", b"an ordinary name", b"B"]
    assert counts_if_plain(b"/".join(names), [2, 3]) == [2, 2, 1, 3, 1]
    assert counts_if_plain(b"/".join(names), [0, 3, 0, 2]) is None
    assert counts_if_plain(b"/".join([*names, b"caf\xc3\xa9"]), [2, 3, 1]) is None
    assert counts_if_plain(b"/".join([*names, b"aux.txt"]), [2, 3, 1]) is None
    assert counts_if_plain(b"aux/a", [1, 1]) is None


@quick
@given(st.text(min_size=1, max_size=120).filter(lambda t: t.isprintable()),
       st.binary(min_size=11, max_size=11))  # fmt: skip
def test_long_slots_read_back(name, short):
    """As a reader does it: from the last slot on, up to the terminator."""
    slots = long_slots(name, short)
    parts = [slots[at : at + 32] for at in range(0, len(slots), 32)]
    assert parts[0][0] == len(parts) | 0x40
    assert [part[0] for part in parts[1:]] == list(range(len(parts) - 1, 0, -1))
    assert all((part[11], part[12], part[13]) == (0x0F, 0, checksums([short])[0]) for part in parts)
    assert all(part[26:28] == bytes(2) for part in parts)
    text = b"".join(part[1:11] + part[14:26] + part[28:32] for part in reversed(parts))
    words = [text[at : at + 2] for at in range(0, len(text), 2)]
    end = words.index(bytes(2)) if bytes(2) in words else len(words)
    assert b"".join(words[:end]).decode("utf-16-le") == name
    assert set(words[end + 1 :]) <= {b"\xff\xff"}
    assert len(words) - end <= 13

"""Changes in words: as lines for people, and as a document for programs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from .changes import Change, Changes, Kind
from .problems import spelled


def line(change: Change) -> str:
    """Return a change as one line."""
    end = "/" if change.is_directory else ""
    text = f"{change.kind} {spelled(change.path)}{end}"
    if change.old_path:
        text = f"{change.kind} {spelled(change.old_path)}{end} to {spelled(change.path)}{end}"
    facts = []
    if not change.is_directory and change.kind is not Kind.REMOVED:
        facts.append(f"{change.size} bytes")
    if change.rewritten and change.kind is not Kind.CHANGED:
        facts.append("rewritten")
    if change.read_only is not None:
        facts.append("read-only" if change.read_only else "no longer read-only")
    return f"{text} ({', '.join(facts)})" if facts else text


def document(changes: Changes) -> dict[str, Any]:
    """Return the changes as JSON has them; paths begin at the root, without a slash."""
    return {
        "changes": [dict(_facts(each)) for each in changes.changes],
        "problems": [*changes.problems],
        "left_out": [*changes.left_out],
    }


def _facts(change: Change) -> Iterator[tuple[str, Any]]:
    yield "kind", str(change.kind)
    yield "path", "/".join(change.path)
    if change.old_path:
        yield "old_path", "/".join(change.old_path)
    yield "directory", change.is_directory
    if not change.is_directory and change.kind is not Kind.REMOVED:
        yield "size", change.size
        yield "rewritten", change.rewritten or change.kind is Kind.CREATED
    if change.modified_ns is not None:
        moment = datetime.fromtimestamp(change.modified_ns // 1_000_000_000, UTC)
        yield "modified", moment.isoformat().replace("+00:00", "Z")
    if change.read_only is not None:
        yield "read_only", change.read_only

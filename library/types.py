"""Types of what the library hands out, for annotations and comparisons."""

from ..harvest.changes import Change, Changes
from ..synth.findings import Finding
from ..synth.formats import Renamed
from ..synth.image.section import Region

__all__ = ["Change", "Changes", "Finding", "Region", "Renamed"]

"""Types of what the library hands out, for annotations and comparisons."""

from ..synth.findings import Finding
from ..synth.formats import Renamed
from ..synth.image.section import Region

__all__ = ["Finding", "Region", "Renamed"]

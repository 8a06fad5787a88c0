"""vfloppy: any directory is a disk, computed block by block as somebody reads it."""

__version__ = "0.1.0"

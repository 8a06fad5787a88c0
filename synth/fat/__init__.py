"""FAT file systems, computed on demand."""

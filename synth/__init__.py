"""A directory becomes a disk image; nothing here knows of NBD."""

"""Writes of guests: what they came to in the file system, and bringing it home."""

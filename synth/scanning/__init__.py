"""Scans: directories of the host become a tree."""

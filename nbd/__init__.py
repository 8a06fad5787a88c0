"""Serves any export over the Network Block Device protocol; nothing here knows of file systems."""

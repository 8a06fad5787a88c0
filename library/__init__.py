"""The library: disks of directories, described, opened, read, written, checked and served.

The package `vfloppy` hands out what users need; this folder holds it.
"""

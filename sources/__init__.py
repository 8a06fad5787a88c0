"""Exports that are no directories: memory, images, compressed ones, scripts."""

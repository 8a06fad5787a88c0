"""Exports around other exports."""

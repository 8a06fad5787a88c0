"""Applying: changes of a guest are brought home into the directories that the disk was made of."""

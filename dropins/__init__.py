"""Stand-ins for mkisofs, genisoimage, xorrisofs and xorriso: their words, as options of disks.

`table` has the words as data, `words` finds them in a command line, `request` makes of them what
the library is asked for. Nothing here prints.
"""

"""`python -m vfloppy` is the command `vfloppy`."""

from .cli import main

if __name__ == "__main__":
    main()

"""The subcommands, a file each: they bind words to the library, and print."""

"""The options of the command line, bound from their declarations or declared here."""

"""The command line: parsers and printing."""

"""The commands `strongroom` and `tsm`: parsers of their options, and the printing of results."""

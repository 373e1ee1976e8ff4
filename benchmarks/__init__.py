"""The benchmark: the product beside the tools that people use today, in one run, on the same files and disk."""

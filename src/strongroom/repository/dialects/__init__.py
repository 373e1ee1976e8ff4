"""The parts that differ between databases, such as the codes of their errors; a module for each database."""

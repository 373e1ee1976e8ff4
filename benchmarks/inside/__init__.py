"""Measurements within one process of the product; each module takes JSON as its argument and prints JSON."""

"""Extracts: placement, policy and the vault that stores them encrypted."""

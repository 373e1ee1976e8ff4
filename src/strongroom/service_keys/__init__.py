"""Service keys: named keys with versions that other people's programs use through a door; pure."""

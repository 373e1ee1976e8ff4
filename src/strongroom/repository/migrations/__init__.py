"""The schema's history: one file per step below `versions`, run in-process by `runner`."""

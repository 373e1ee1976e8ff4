"""The catalogue of events about keys and secrets, a module for each subject: their ids, and the functions that make them.

An event is made by its function only, so that it always carries the same details, and never a key, a token or a secret's
value (C-23). An event that lists many names becomes several events when they do not fit into one line; a text that is
too long for a line is cut and ends with `…`.
"""

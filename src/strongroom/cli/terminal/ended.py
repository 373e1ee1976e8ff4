"""How a command line ends that has said what it had to say. A module of its own: argparse is not imported for it (F13)."""


class Ended(Exception):  # noqa: N818 it is no error: help was asked for, or said what was wrong
    """Argparse has said what was to be said.

    Attributes:
        code: The exit code.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

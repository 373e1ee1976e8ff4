"""Small pieces of the sentences that people read. It knows nothing of what they are about."""


def counted(number: int, thing: str) -> str:
    """`1 MEK`, `2 MEKs`: so many of a thing whose name makes its plural with an s."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"

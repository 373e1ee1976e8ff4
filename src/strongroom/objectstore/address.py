"""The address of an object store as an administrator gives it: `scheme://container/prefix?option=…`; pure.

Each kind of store has a scheme, and says in its module (`objectstore.kinds`) what names a container there and which
options its addresses may have.
"""

from typing import NamedTuple
from urllib.parse import quote


class Address(NamedTuple):
    """Where an object store is.

    Attributes:
        scheme: The kind of the store: `s3`.
        container: The bucket that holds the objects, or more names with slashes between them.
        prefix: The beginning of all names, without a slash at its end; may be empty.
        options: Name and value of each option that is not empty, in the order of the kind.
    """

    scheme: str
    container: str
    prefix: str
    options: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """The address in its one spelling."""
        options = "&".join(f"{name}={quote(value, safe=':/')}" for name, value in self.options)
        return f"{self.place()}{'?' if options else ''}{options}"

    @property
    def shown(self) -> str:
        """The place in short, for messages."""
        endpoint = self.option("endpoint")
        return f"{self.place()} at {endpoint}" if endpoint else self.place()

    def option(self, name: str) -> str:
        """The value of an option; empty without one."""
        return dict(self.options).get(name, "")

    def name(self, rest: str) -> str:
        """The name of an object below the prefix."""
        return f"{self.prefix}/{rest}" if self.prefix else rest

    def below(self, name: str) -> str:
        """The same backwards: what stands behind the prefix in an object's name."""
        return name.removeprefix(self.name(""))

    def place(self, rest: str = "") -> str:
        """Where an object lies, for a person; without a name the beginning of all."""
        names = (self.container, self.name(rest) if rest else self.prefix)
        return f"{self.scheme}://{'/'.join(filter(None, names))}"

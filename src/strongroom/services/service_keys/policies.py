"""Policies: written, looked at, and what they allow together."""

import functools
from collections.abc import Collection

from strongroom.access import acl, acl_text
from strongroom.access.acl import Acl, Rules
from strongroom.clock import Clock, format_utc
from strongroom.errors import NotFoundError, UsageError
from strongroom.repository.service_rows import ServicePolicyRow
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.service_keys.model import check_name
from strongroom.services.service_keys.by import By

_parsed = functools.lru_cache(maxsize=512)(acl_text.parse)


class PoliciesService:
    """The use cases of policies."""

    def __init__(self, repository: Repository, clock: Clock) -> None:
        self._repository = repository
        self._clock = clock

    def write(self, by: By, name: str, text: str) -> None:
        """Write a policy; what cannot be kept is refused.

        Raises:
            UsageError: The name is not possible, or the text is no policy, or says more than can be kept.
        """
        clean = check_name(name.lower())
        if clean == acl.ROOT:
            raise UsageError(f"cannot update the policy {acl.ROOT!r}")
        acl_text.parse(text)
        row = ServicePolicyRow(clean, text, format_utc(self._clock.now()))
        with self._repository.transaction() as tx:
            tx.service_policies.delete(clean)
            tx.service_policies.insert(row)
            by.access_changed(f"sys/policies/acl/{clean}", "write")

    def read(self, by: By, name: str) -> str:
        """The text of a policy.

        Raises:
            NotFoundError: No policy has that name.
        """
        clean = name.lower()
        with self._repository.reading() as tx:
            row = tx.service_policies.find(clean)
        if row is None and clean not in {acl.DEFAULT, acl.ROOT}:
            raise NotFoundError(f"there is no policy {name[:128]!r}", about="policy")
        by.access_read(f"sys/policies/acl/{clean}", "read")
        return row.text if row is not None else acl.DEFAULT_TEXT if clean == acl.DEFAULT else ""

    def names(self, by: By) -> list[str]:
        """The names of all policies, those that need not be written among them."""
        with self._repository.reading() as tx:
            written = {row.name for row in tx.service_policies.list()}
        by.access_read("sys/policies/acl", "list")
        return [*sorted(written | {acl.DEFAULT}), acl.ROOT]

    def written(self) -> frozenset[str]:
        """The names of all policies, without an event: for whoever owns the node."""
        with self._repository.reading() as tx:
            rows = tx.service_policies.list()
        return frozenset({acl.DEFAULT, acl.ROOT, *(row.name for row in rows)})

    def delete(self, by: By, name: str) -> None:
        """Delete a policy; tokens that name it can do what their other policies allow.

        Raises:
            UsageError: The policy stays.
        """
        clean = name.lower()
        if clean in {acl.DEFAULT, acl.ROOT}:
            raise UsageError(f"cannot delete the policy {clean!r}")
        with self._repository.transaction() as tx:
            tx.service_policies.delete(clean)
            by.access_changed(f"sys/policies/acl/{clean}", "delete")


def acl_of(tx: Transaction, names: Collection[str]) -> Acl:
    """The rules of some policies together; one that does not exist allows nothing."""
    if acl.ROOT in names:
        return Acl({}, is_root=True)
    rows = {row.name: row for row in tx.service_policies.named(names)}
    rules: list[Rules] = [_parsed(row.text) for row in rows.values()]
    if acl.DEFAULT in names and acl.DEFAULT not in rows:
        rules.append(_parsed(acl.DEFAULT_TEXT))
    return Acl.of(rules)

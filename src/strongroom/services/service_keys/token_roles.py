"""Roles of tokens: what a token made by a role is like, whatever its maker has; the rows are those of `roles`. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from strongroom.access import acl
from strongroom.errors import UsageError
from strongroom.repository.service_rows import Json, ServiceRoleRow
from strongroom.services.service_keys.tokens import Wanted

OWN = "auth/token"
"""The place of these roles, as a mount is that of others: a role's name is `auth/token/ci`."""
DEFAULTS: Mapping[str, object] = {
    "allowed_policies": [],
    "disallowed_policies": [],
    "orphan": False,
    "path_suffix": "",
    "renewable": True,
    "token_explicit_max_ttl": 0,
    "token_no_default_policy": False,
    "token_num_uses": 0,
    "token_period": 0,
    "token_type": "default-service",
}
"""The options of a role, with the values that stand where nothing was said."""


def check(options: Json) -> None:
    """Refuse options that no role can have.

    Raises:
        UsageError: The role would give the policy `root`, or the end of its path is not possible.
    """
    allowed = options.get("allowed_policies", [])
    if isinstance(allowed, list) and acl.ROOT in allowed:
        raise UsageError("a role cannot give the policy 'root'")
    suffix = str(options.get("path_suffix", ""))
    if len(suffix) > 128 or not all(one.isalnum() or one in "._-" for one in suffix):
        raise UsageError("path_suffix has letters, digits, '.', '_' and '-' only")


def applied(role: ServiceRoleRow, wanted: Wanted) -> Wanted:
    """A token as its maker wants it, within what the role says; whether it is an orphan, the role says alone.

    Raises:
        UsageError: The maker wants policies, or an orphan, that the role does not give.
    """
    options = {**DEFAULTS, **role.options}
    allowed, barred = _texts(options, "allowed_policies"), _texts(options, "disallowed_policies")
    names = [one.lower() for one in wanted.policies] or list(allowed)
    beyond = sorted(set(names) - {*allowed, acl.DEFAULT}) if allowed else []
    if acl.ROOT in names or beyond:
        raise UsageError(
            f"token policies ({', '.join(names)}) must be subset of the role's allowed policies"
        )
    if taken := sorted(set(names) & set(barred)):
        raise UsageError(f"token policies ({', '.join(taken)}) are disallowed by the role")
    if wanted.is_orphan and not options["orphan"]:
        raise UsageError("the role makes no orphan tokens: no_parent must not be set")
    name = role.name.rpartition("/")[2]
    suffix = options["path_suffix"]
    return replace(
        wanted,
        policies=names,
        granted=frozenset(allowed),
        barred=frozenset({*barred, acl.ROOT}),
        max_ttl_s=fewest(_number(options, "token_explicit_max_ttl"), wanted.max_ttl_s),
        period_s=fewest(_number(options, "token_period"), wanted.period_s),
        uses=fewest(_number(options, "token_num_uses"), wanted.uses),
        renewable=wanted.renewable and bool(options["renewable"]),
        is_orphan=bool(options["orphan"]),
        is_by_role=True,
        with_default=wanted.with_default
        and not options["token_no_default_policy"]
        and acl.DEFAULT not in barred,
        origin=f"auth/token/create/{name}{'/' if suffix else ''}{suffix}",
    )


def fewest(one: int, other: int) -> int:
    """The lesser of two bounds, of which 0 is none."""
    return min(one, other) if one and other else one or other


def _texts(options: Json, name: str) -> tuple[str, ...]:
    found = options[name]
    return tuple(str(one) for one in found) if isinstance(found, list) else ()


def _number(options: Json, name: str) -> int:
    found = options[name]
    return found if isinstance(found, int) else 0

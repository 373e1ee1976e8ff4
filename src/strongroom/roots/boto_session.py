"""The one way to credentials of Amazon's, for the root and for the object store: boto3's default chain (Q-22)."""

from functools import lru_cache
from typing import Any, Final

from strongroom import foreign_words
from strongroom.roots import outbound

METADATA_ATTEMPTS: Final = 3


def of_region(region: str) -> Any:
    """A session of boto3 by its default chain of credentials, in which the instance's metadata are asked without a proxy."""
    import boto3
    from botocore.session import get_session

    core = get_session()
    models = _models(core.get_config_variable("data_path"))
    core.register_component("data_loader", models)
    if core.get_config_variable("metadata_service_num_attempts") == 1:
        # the default is a single try, so one lost packet would be reported as "no credentials" (7.2)
        core.set_config_variable("metadata_service_num_attempts", METADATA_ATTEMPTS)
    _keep_metadata_here(core)
    made = boto3.Session(botocore_session=core, region_name=region)
    # each session adds the same folder
    models.search_paths[:] = dict.fromkeys(models.search_paths)
    return made


def secrets(credentials: Any) -> tuple[foreign_words.Secret, ...]:
    """Secret key and session token of credentials as they are now in memory, and the proxies' passwords."""
    # a credential that can be renewed would be, by its public attributes
    known = getattr(credentials, "__dict__", {})
    names = ("secret_key", "token", "_secret_key", "_token")
    return (*(known.get(name) for name in names), *outbound.secrets())


@lru_cache(maxsize=1)
def _models(folders: str | None) -> Any:
    """The reader of botocore's descriptions of services, which keeps what it has read, as each client does: one for all.

    A session of its own looks through four hundred folders for each client, and reads a megabyte of JSON anew.

    Args:
        folders: Where descriptions lie besides those of botocore: `AWS_DATA_PATH`, or a profile's setting.
    """
    from botocore.loaders import create_loader

    return create_loader(folders)


def _keep_metadata_here(core: Any) -> None:
    """Ask the instance's metadata service, which gives the role's credentials, never through a proxy."""
    from botocore.httpsession import URLLib3Session

    for provider in core.get_component("credential_provider").providers:
        fetcher = getattr(provider, "_role_fetcher", None)
        if fetcher is not None and hasattr(fetcher, "_session"):
            fetcher._session = URLLib3Session(timeout=fetcher._timeout, proxies={})  # noqa: SLF001

"""The first rows of an installation: the default site, its Default project, the first administrator."""

from dataclasses import dataclass

from strongroom.clock import Clock, format_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import directory_events
from strongroom.ids import new_id
from strongroom.repository.rows import SiteMode, SiteRow, UserRow
from strongroom.repository.unit_of_work import Repository
from strongroom.services.directory.sites import insert_site
from strongroom.services.directory.users import new_user

DEFAULT_SITE_NAME = "Default"


@dataclass(frozen=True)
class Platform:
    """The default site and the first server administrator."""

    site: SiteRow
    administrator: UserRow


def create_platform(
    repository: Repository,
    event_log: EventLog,
    clock: Clock,
    actor: str,
    *,
    admin_name: str,
    admin_password: SecretBytes,
) -> Platform:
    """Create the schema, the default site and the first server administrator, all or nothing.

    A second call with the same name, as after a crash, returns the rows that the first one inserted.

    Raises:
        UsageError: Name or password is not allowed.
        StorageError: The repository cannot be written.
    """
    administrator = new_user(admin_name, admin_password, clock=clock, is_server_admin=True)
    repository.ensure_schema()
    with repository.transaction() as tx:
        site = tx.sites.find_by_content_url("")
        present = tx.users.find_by_name(administrator.name)
        if site is not None and present is not None:
            return Platform(site, present)
        tx.users.insert(administrator)
        now = format_utc(clock.now())
        site = SiteRow(new_id(), DEFAULT_SITE_NAME, "", int(SiteMode.DISABLED), now)
        insert_site(tx, site, administrator.id)
        mode = SiteMode.DISABLED.word
        event_log.append(
            [
                directory_events.user_created(actor, administrator.id, administrator.name),
                directory_events.site_created(actor, site.id, site.name, mode=mode),
            ]
        )
    return Platform(site, administrator)

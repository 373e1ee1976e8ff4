"""What others do while a file is on its way: the commit sees things as they are then (security tests S6, S11)."""

import pytest

from strongroom.errors import ConflictError, NotFoundError, PermissionDeniedError, StateError
from strongroom.extracts.model import ContentKind, FileType
from strongroom.repository.rows import SiteMode
from strongroom.services.content.publish import Publication, PublishRequest
from strongroom.services.directory.sites import SiteChanges
from tests.support.web_client import HYPER, LOCAL, Served

MIB = bytes(1024 * 1024)


def begun(served: Served, token: str, name: str = "data") -> Publication:
    identity = served.node.auth.identify(token)
    request = PublishRequest(ContentKind.DATASOURCE, FileType.HYPER, name)
    publication = served.node.publishing.begin(identity, request)
    publication.write(HYPER)
    return publication


@pytest.mark.parametrize("role", ["Viewer", "Unlicensed", ""])
def test_a_role_may_be_lost_during_an_upload(served: Served, role: str) -> None:
    served.site("Site", SiteMode.ENABLED)
    client = served.user("eve", "Site", "Creator")
    with begun(served, client.token) as publication:
        if role:
            served.node.users.give_role(LOCAL, client.site_id, client.user_id, role)
        else:
            served.node.users.remove_from_site(LOCAL, client.site_id, client.user_id)
        with pytest.raises(PermissionDeniedError):
            publication.finish()
    assert served.stored == []
    assert served.nothing_is_left()


def test_the_user_may_be_deleted_during_an_upload(served: Served) -> None:
    served.site("Site", SiteMode.ENABLED)
    client = served.user("eve", "Site", "Creator")
    with begun(served, client.token) as publication:
        served.node.users.delete(LOCAL, client.user_id)
        with pytest.raises(PermissionDeniedError):
            publication.finish()
    assert served.nothing_is_left()


def test_the_site_may_be_deleted_during_an_upload(served: Served) -> None:
    client = served.site("Site", SiteMode.ENABLED)
    with begun(served, client.token) as publication:
        served.node.content.delete_files(served.node.sites.delete(LOCAL, client.site_id))
        with pytest.raises(NotFoundError):
            publication.finish()
    assert served.stored == []
    assert served.nothing_is_left()


def test_two_uploads_do_not_share_one_room(served: Served) -> None:
    """Each alone is within the quota."""
    client = served.site("Site", SiteMode.ENABLED)
    served.node.sites.update(LOCAL, client.site_id, SiteChanges(storage_quota=2))
    with begun(served, client.token, "one") as one, begun(served, client.token, "two") as two:
        one.write(MIB)
        two.write(MIB)
        one.finish()
        with pytest.raises(StateError, match="quota"):
            two.finish()
    assert len(served.stored) == 1
    assert served.nothing_is_left()


def test_a_part_that_ends_after_its_upload_leaves_nothing(served: Served) -> None:
    client = served.site("Site", SiteMode.ENABLED)
    identity = served.node.auth.identify(client.token)
    upload = served.node.uploads.start(identity)
    with served.node.uploads.begin_part(identity, upload.id) as part:
        part.write(HYPER)
        part.finish()
    request = PublishRequest(ContentKind.DATASOURCE, FileType.HYPER, "data")
    with served.node.uploads.begin_part(identity, upload.id) as late:
        late.write(b"late")
        served.node.uploads.publish(identity, request, upload.id)
        with pytest.raises((NotFoundError, ConflictError)):
            late.finish()
    assert len(served.stored) == 1
    assert served.nothing_is_left()


def test_who_may_no_longer_publish_adds_no_part(served: Served) -> None:
    served.site("Site", SiteMode.ENABLED)
    client = served.user("eve", "Site", "Creator")
    upload = served.node.uploads.start(served.node.auth.identify(client.token))
    served.node.users.give_role(LOCAL, client.site_id, client.user_id, "Viewer")
    identity = served.node.auth.identify(client.token)
    with pytest.raises(PermissionDeniedError):
        served.node.uploads.begin_part(identity, upload.id)

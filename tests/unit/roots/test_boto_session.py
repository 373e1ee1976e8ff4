"""Sessions of boto3: one for each store and each root, with one copy of what botocore knows of services."""

from strongroom.roots import boto_session


def test_all_sessions_share_what_was_read_and_look_in_the_same_folders() -> None:
    """Each client of a new session read a megabyte of JSON: half of what a test of a store in S3 computed."""
    first = boto_session.of_region("us-east-1")._session.get_component("data_loader")
    folders = list(first.search_paths)
    assert len(folders) == len({*folders})
    second = boto_session.of_region("eu-west-1")
    assert second._session.get_component("data_loader") is first
    assert first.search_paths == folders
    assert second.region_name == "eu-west-1"

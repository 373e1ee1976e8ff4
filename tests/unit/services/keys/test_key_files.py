"""What is shown of the keystore."""

from strongroom.node.opening import Node


def test_the_primary_replica_is_shown_without_its_keys(node: Node) -> None:
    shown, directory = node.key_files.keystore(), node.keystore
    assert (shown.path, shown.password_file) == (directory.primary, directory.password_file)
    assert shown.aliases == tuple(directory.load().aliases)
    assert shown.aliases

"""Who writes the sentences of the root into the service logs: the server and its backgrounder, and no command (findings T8)."""

from pathlib import Path

from tests.support.servers import create_node, serving

SENTENCE = "EncryptionEnvelopeAccessor: "
DOCUMENT = Path(__file__).parents[4] / "docs" / "howto" / "root-aws.md"


def _told(home: Path) -> int:
    return sum(path.read_text().count(SENTENCE) for path in home.glob("tabsvc/logs/*.log"))


def test_the_server_names_the_root_and_a_command_of_its_own_process_does_not(
    tmp_path: Path,
) -> None:
    """root-aws.md said "each process"; a person looked for the lines of a command and found none."""
    node = create_node(tmp_path)
    node.run("tsm", "security", "kms", "rotate")
    node.run("strongroom", "encrypt", node.password_file, tmp_path / "sealed")
    node.run("strongroom", "decrypt", tmp_path / "sealed", tmp_path / "plain")
    assert _told(node.home) == 0
    with serving(node):
        node.run("tsm", "security", "kms", "rotate")  # the server does it
        assert _told(node.home) > 0
    page = " ".join(DOCUMENT.read_text().split())  # wrapped anywhere
    assert "each time the server or its backgrounder opens the KMS store" in page
    assert "commands that work in their own process write no service log" in page
    assert "each process" not in page

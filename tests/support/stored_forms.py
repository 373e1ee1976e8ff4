"""What a test looks at or makes of stored forms, and the product has no use for."""

from pathlib import Path

from strongroom.config import yaml_files
from strongroom.envelope.header import Header, KeySlot, Placement
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.services.configuration.service import ConfigurationService


def differing_files(configuration: ConfigurationService) -> tuple[Path, ...]:
    """The YAML files that are not what the configuration says."""
    own = configuration
    return tuple(yaml_files.differing(own._folders, own.document(), own._file_modes))


def rewrapped(keys: EnvelopeKeys, header: Header, placement: Placement | None) -> KeySlot:
    """The slot that a rewrap of this header would write next."""
    return keys.rewrapped_slot(header.prelude, keys.open_envelope(header, placement))


def with_slot(header: Header, slot: KeySlot) -> Header:
    """A header with the older (or unusable) slot replaced, as a rewrap leaves it."""
    intact = header.intact
    return header.with_slot_at(1 - intact[0][0] if intact else 0, slot)

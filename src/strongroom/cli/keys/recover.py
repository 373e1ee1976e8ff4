"""`strongroom recover`: bring a node back by a recovery identity or by shares."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple

from strongroom.cli.named_files import identity, sealing, small_files
from strongroom.cli.terminal.session import Session
from strongroom.errors import StrongroomError, UsageError
from strongroom.roots import registry

if TYPE_CHECKING:
    from strongroom.crypto.age import Identity
    from strongroom.services.recovery.kit import Owner
    from strongroom.services.recovery.origin import Known
    from strongroom.services.recovery.results import Drilled, Recovered


_OWN = "of the kit"


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `recover`."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=f"{verb}: bring a node back whose root or keystore is gone, or prove that this would work",
    )
    ways = parser.add_mutually_exclusive_group(required=True)
    ways.add_argument(
        "--identity",
        action="append",
        default=[],
        metavar="FILE",
        help="open with the age identities of this file; - is stdin; may be given again",
    )
    ways.add_argument(
        "--share",
        action="append",
        default=[],
        metavar="FILE",
        help="a share of a recovery kit; - is stdin; give as many as the kit needs",
    )
    parser.add_argument(
        "--drill", action="store_true", help="prove that they open the keys now; replace nothing"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="open the keys, tell the plan, change nothing"
    )
    identity.add_option(parser)
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")
    parser.set_defaults(run=_run)
    return parser


def _run(arguments: argparse.Namespace, session: Session) -> int:
    if arguments.share:
        texts = _read_shares(arguments.share)
        words = {name: share.words for name, share in texts.items()}
        if arguments.drill and _lacks(list(words.values())):
            return _check_shares(words, session)
        identities = _combined(words)
        known = _known(arguments, [share.owner for share in texts.values()])
    else:
        identities = _identities(arguments.identity)
        known = _known(arguments, [])
    return _open(arguments, session, identities, known)


def _open(
    arguments: argparse.Namespace,
    session: Session,
    identities: "tuple[Identity, ...]",
    known: "Known",
) -> int:
    from strongroom.node import recover

    service = recover.recovery_of(session.whole_node)
    if arguments.drill:
        drilled = service.drill(identities, session.actor, known)
        _tell_origin(drilled.fingerprint, known, session)
        return _tell_drill(drilled, arguments, session)
    if arguments.dry_run:
        plan = service.plan(identities, known)
        for number, step in enumerate(plan, start=1):
            session.out(f"{number}. {step}")
        session.note("the keys were opened; nothing was changed (--dry-run)")
        return 0 if plan else _tell_nothing(session)
    node = session.whole_node
    with recover.alone(node):
        done = recover.bring_back(node, identities, session.actor, session.note, known)
    _tell_origin(done.fingerprint, known, session)
    return _tell_recovered(done, arguments, session)


# ---- what was given --------------------------------------------------------------------------------


def _identities(files: list[str]) -> "tuple[Identity, ...]":
    from strongroom.crypto import age

    found: list[Identity] = []
    for name in files:
        data = small_files.read_lines(name, "the identity")
        found += age.parse_identities(data, sealing.TerminalPrompts())
    return tuple(found)


class _Share(NamedTuple):
    """The words of a share, and the installation that its printed lines name."""

    words: str
    owner: "Owner"


def _read_shares(files: list[str]) -> dict[str, _Share]:
    """The words of each file, each share proved to be intact."""
    from strongroom.crypto import shares
    from strongroom.services.recovery import kit

    found = {}
    for name in files:
        data = small_files.read_lines(name, "the share")
        try:
            text = data.decode()
            found[name] = _Share(shares.words_of(text), kit.owner_of(text))
            shares.describe(found[name].words)
        except UnicodeDecodeError:
            raise UsageError(f"{name} is not text: it is no share") from None
        except UsageError as error:
            raise UsageError(f"{name}: {error.message}", hint=error.hint) from None
    return found


def _known(arguments: argparse.Namespace, owners: "list[Owner]") -> "Known":
    """The installation as the operator knows it: by --fingerprint, and by the printed lines of the shares.

    Raises:
        UsageError: A line is no fingerprint, or the shares and the option name several installations.
    """
    from strongroom.crypto import fingerprint
    from strongroom.services.recovery.origin import Known

    said = {fingerprint.parse(one.fingerprint) for one in owners if one.fingerprint}
    if not said and not arguments.drill and not arguments.dry_run:
        identity.ask(arguments, "the data directory")
    if arguments.fingerprint is not None:
        said.add(identity.given(arguments))
    installations = {one.installation_id for one in owners if one.installation_id}
    if len(said) > 1 or len(installations) > 1:
        raise UsageError(
            "the shares, or the shares and --fingerprint, name several installations",
            hint="give shares of one kit, and the fingerprint that is printed on them",
        )
    return Known(next(iter(said), ""), next(iter(installations), ""))


def _combined(words: dict[str, str]) -> "tuple[Identity, ...]":
    from strongroom.crypto import shares

    return (shares.combine(list(words.values())),)


def _lacks(words: list[str]) -> bool:
    """Whether these are too few shares of one set to be combined."""
    from strongroom.crypto import shares

    infos = {shares.describe(text) for text in words}
    sets = {info.set_id for info in infos}
    return len(sets) == 1 and len(infos) < next(iter(infos)).threshold


# ---- what is told ----------------------------------------------------------------------------------


def _check_shares(words: dict[str, str], session: Session) -> int:
    """Each share for itself: its checksum, and whether it is of a kit of this node."""
    from strongroom.crypto import shares

    strange = False
    for name, text in words.items():
        info = shares.describe(text)
        whose = _kit_of(info.set_id, session)
        strange = strange or not whose.startswith(_OWN)
        session.out(
            f"{name}: share {info.index} of {info.count} of set {info.set_id}, intact;"
            f" {info.threshold} are needed; {whose or 'of no kit of this node'}"
        )
    session.note("the shares were checked alone; nothing was opened")
    return 1 if strange else 0


def _kit_of(set_id: str, session: Session) -> str:
    try:
        kits = session.node.kms_store.root_settings()
    except StrongroomError:
        return "whether it is of a kit of this node cannot be told without its keys"
    own = [kit for kit in kits if kit.kind == registry.SHARES and kit.options.get("set") == set_id]
    return f"{_OWN} {own[0].root_key_id}" if own else ""


def _tell_origin(fingerprint: str, known: "Known", session: Session) -> None:
    if known.fingerprint:
        session.note(f"the installation is the one with the fingerprint {fingerprint}")
        return
    session.note(
        "whose data directory it is was not proved: whoever knows a recovery recipient, which is"
        f" public, can make one for it; compare the fingerprint: {fingerprint or 'none'}"
        " (--fingerprint F)"
    )


def _tell_drill(drilled: "Drilled", arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.system.plural import counted

    if arguments.json:
        session.out_json(asdict(drilled))
    else:
        session.out(f"recipient:          {drilled.kind} {drilled.recipient}")
        session.out(f"wrap:               {drilled.wrap_id}")
        meks = counted(drilled.meks, "MEK")
        session.out(f"RMK:                {drilled.rmk_id}, opened; {meks} open")
        session.out(f"configuration keys: {', '.join(drilled.configuration_keys)}, opened")
    if drilled.not_noted:
        session.note(f"the date of this drill could not be stored: {drilled.not_noted}")
    for key_id in drilled.not_opened:
        session.note(f"the configuration key {key_id} did not open: see 'kms roots repair'")
    return 1 if drilled.not_opened else 0


def _tell_recovered(done: "Recovered", arguments: argparse.Namespace, session: Session) -> int:
    if arguments.json:
        session.out_json(asdict(done))
        return 0
    if done.node_keys_renewed:
        session.note(
            "the keys that this node alone had were lost: it has new ones, and its event log says"
            " which; compare the fingerprint in 'tsm topology list-nodes -v'"
        )
    if not done.done:
        return 0 if done.node_keys_renewed else _tell_nothing(session)
    session.out("The node was recovered; its KMS mode is local.")
    if done.keystore_renewed:
        session.out("A new keystore was made.")
    session.out(f"New configuration key: {done.configuration_key_id}")
    session.out(f"New RMK: {done.rmk_id}")
    session.out(f"New MEK that encrypts: {done.mek_id}")
    for mek_id in done.adopted:
        session.out(f"available again: {mek_id}")
    for key_id in done.left:
        session.note(
            f"nothing opened the configuration key {key_id}: it is not in the new keystore; its record"
            " lies in configuration_keys.json.lost-<time>"
        )
    session.note(
        "see 'tsm security kms status'; make all internal keys anew if the lost ones may be in other"
        " hands: tsm security regenerate-internal-tokens; shares that were together in one"
        " place are no longer apart: make a new kit"
    )
    return 0


def _tell_nothing(session: Session) -> int:
    session.out("The node opens by itself; nothing was changed.")
    session.note("to prove that a recovery would work: strongroom recover --drill")
    return 0

"""Finds the module of a verb, lets it parse and run, and turns every error into a sentence and an exit code.

Each module in `COMMANDS` offers `build_parser(prog: str, verb: str) -> argparse.ArgumentParser`; each leaf of that parser
sets a default `run`: a function of (arguments, session) that returns the exit code. A module may offer `quick(words)` for a
command line that needs no parser. Only the chosen module is imported (F13).
"""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import ModuleType

from strongroom.cli.session import Session, SessionOptions
from strongroom.errors import StorageError, StrongroomError, UsageError

Run = Callable[[Session], int]

_PACKAGE = "strongroom.cli."
_INTERRUPTED = 130
_REFUSED_HINT = "check free space and health of the disk, then run the command again"

COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "strongroom": {
        "init": ("setup", "create a node: keystore, keys, secrets, first administrator"),
        "serve": ("serve", "run the node: web service and backgrounder"),
        "encrypt": ("files", "encrypt a file or a stream"),
        "decrypt": ("files", "decrypt a file or a stream"),
        "inspect": ("files", "show the header of an encrypted file, without a key"),
        "rewrap": ("files", "bring the data key of encrypted files under the active MEK"),
        "verify": ("files", "authenticate every byte of encrypted files"),
        "sites": ("sites", "list, create and set the encryption mode of sites"),
        "users": ("users", "list and create users, set passwords and roles"),
        "tokens": ("tokens", "personal access tokens"),
        "extracts": ("extracts", "list, encrypt, decrypt, re-encrypt and rewrap extracts"),
        "jobs": ("jobs", "list, show, cancel and wait for jobs"),
        "status": ("status", "state of the node and its services"),
        "recover": (
            "recover",
            "bring back a node whose root or keystore is gone; accept an old KMS store",
        ),
        "events": ("events", "show and verify the event log"),
        "backup": ("backup", "verify a backup, and try it"),
    },
    "tsm": {
        "configuration": ("configuration", "get, set and list configuration keys"),
        "pending-changes": ("pending_changes", "list, apply and discard pending changes"),
        "security": ("security", "key management, keystore, regeneration of internal tokens"),
        "settings": ("settings", "export and import all settings"),
        "maintenance": ("maintenance", "backup and restore"),
        "status": ("status", "state of the node and its services"),
        "topology": ("topology", "bootstrap files of new nodes"),
        "jobs": ("jobs", "list, show, cancel and wait for jobs"),
        "version": ("version", "the version"),
    },
    "initialize-tsm": {"": ("setup", "create a node")},
}


def main(tool: str, argv: Sequence[str]) -> int:
    """Run one command line; returns its exit code."""
    try:
        code = _run(tool, list(argv))
        sys.stdout.flush()  # a result that cannot be written is no success
    except StrongroomError as error:
        _complain(tool, error)
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write(f"{tool}: interrupted\n")
        return _INTERRUPTED
    except BrokenPipeError:
        # whoever read our output went away; what was not read was not wanted
        _give_up_output()
        return 1
    except OSError as error:
        refused = StorageError(f"the system refused: {error}", hint=_REFUSED_HINT)
        _give_up_output()
        _complain(tool, refused)
        return refused.exit_code
    return code


def _run(tool: str, argv: list[str]) -> int:
    options, rest = SessionOptions.take_from(argv)
    verbs = COMMANDS[tool]
    if "" in verbs:
        verb, arguments = "", rest
    elif not rest or rest[0] in {"-h", "--help", "help"}:
        sys.stdout.write(_overview(tool))
        return 0
    elif rest[0] in {"-v", "--version"} and "version" not in verbs:
        return _version()
    else:
        verb, arguments = rest[0], rest[1:]
    if verb not in verbs:
        raise UsageError(f"unknown command {verb!r}", hint=f"run '{tool} --help' for the list")
    module = importlib.import_module(_PACKAGE + verbs[verb][0])
    run = _quick(module, arguments) or _parsed(module, f"{tool} {verb}".strip(), verb, arguments)
    with Session(options) as session:
        return run(session)


def _quick(module: ModuleType, arguments: list[str]) -> Run | None:
    """A module may know a command line without a parser."""
    quick = getattr(module, "quick", None)
    found: Run | None = quick(arguments) if quick is not None else None
    return found


def _parsed(module: ModuleType, prog: str, verb: str, arguments: list[str]) -> Run:
    parsed = module.build_parser(prog, verb).parse_args(arguments)

    def run(session: Session) -> int:
        code: int = parsed.run(parsed, session)
        return code

    return run


def _version() -> int:
    from strongroom.cli import version

    sys.stdout.write(version.text())
    return 0


def _overview(tool: str) -> str:
    rows = "".join(f"  {verb:<18}{text}\n" for verb, (_, text) in sorted(COMMANDS[tool].items()))
    return f"usage: {tool} [--data-dir DIR] COMMAND ...\n\n{rows}\n'{tool} COMMAND --help' shows one command\n"


def _give_up_output() -> None:
    """Let what is left in the buffer go nowhere, or the interpreter tries and fails once more."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _complain(tool: str, error: StrongroomError) -> None:
    hint = f"hint: {error.hint}\n" if error.hint else ""
    with suppress(OSError):  # the exit code says it as well
        sys.stderr.write(f"{tool}: {error.message}\n{hint}")

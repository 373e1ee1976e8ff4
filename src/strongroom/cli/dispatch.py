"""Finds the module of a verb, lets it parse and run, and turns every error into a sentence and an exit code.

Each module in `COMMANDS` offers `build_parser(prog: str, verb: str) -> argparse.ArgumentParser`; each leaf of that
parser sets a default `run`: a function of (arguments, session) that returns the exit code. A module may offer
`quick(words)` for a command line that needs no parser. Only the chosen module is imported (F13).
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from strongroom.cli.terminal import streams
from strongroom.cli.terminal.ended import Ended
from strongroom.cli.terminal.session import Session, SessionOptions
from strongroom.errors import StrongroomError, UsageError
from strongroom.system import disk, shortage

if TYPE_CHECKING:
    import argparse

Run = Callable[[Session], int]

_PACKAGE = "strongroom.cli."
_INTERRUPTED = 130
_ASKS = {"-h", "--help"}
_HELP = ("-h", "--help", "help")
_VERSION = ("-v", "--version")

COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "strongroom": {
        "init": ("node.setup", "create a node: keystore, keys, secrets, first administrator"),
        "serve": ("node.serve", "run the node: web service and backgrounder"),
        "encrypt": ("files.commands", "encrypt a file or a stream"),
        "decrypt": ("files.commands", "decrypt a file or a stream"),
        "inspect": ("files.commands", "show the header of an encrypted file, without a key"),
        "rewrap": ("files.commands", "bring the data key of encrypted files under the active MEK"),
        "verify": ("files.commands", "authenticate every byte of encrypted files"),
        "keys": ("keys.service_keys", "service keys, which programs use through a door"),
        "parquet": ("keys.parquet", "the keys of encrypted Parquet files"),
        "run": ("secrets.run", "run a program with secrets of services in its environment"),
        "access": ("keys.service_access", "which programs may use keys: policies, tokens, roles"),
        "sites": ("content.sites", "list, create and set the encryption mode of sites"),
        "users": ("content.users", "list and create users, set passwords and roles"),
        "tokens": ("content.tokens", "personal access tokens"),
        "extracts": ("content.extracts", "list, encrypt, decrypt, re-encrypt and rewrap extracts"),
        "jobs": ("content.jobs", "list, show, cancel and wait for jobs"),
        "status": ("node.status", "state of the node and its services"),
        "recover": (
            "keys.recover",
            "bring back a node whose root or keystore is gone",
        ),
        "upgrade": ("node.upgrade", "bring a node of an older format to those of this release"),
        "cluster": (
            "node.cluster",
            "the services of a cluster: check, bring this node there, change passwords",
        ),
        "events": ("node.events", "show and verify the event log"),
        "anchor": ("node.anchor", "compare the state of the node with what was kept of it"),
        "backup": ("node.backup", "make, verify, try and restore a backup"),
        "version": ("version", "the version"),
    },
    "tsm": {
        "configuration": ("secrets.configuration", "get, set and list configuration keys"),
        "pending-changes": ("secrets.pending_changes", "list, apply and discard pending changes"),
        "security": ("keys.security", "key management, keystore, regeneration of internal tokens"),
        "settings": ("secrets.settings", "export and import all settings"),
        "maintenance": (
            "node.maintenance",
            "backup and restore; turn clients away, and serve again",
        ),
        "status": ("node.status", "state of the node and its services"),
        "topology": ("node.topology", "bootstrap files of new nodes"),
        "jobs": ("content.jobs", "list, show, cancel and wait for jobs"),
        "version": ("version", "the version"),
        "start": ("tsm_habits", "say how the node is started"),
        "stop": ("tsm_habits", "end the node's server"),
        "restart": ("tsm_habits", "say how the node is restarted"),
        "login": ("tsm_habits", "for scripts: nobody signs in here"),
        "logout": ("tsm_habits", "for scripts: nobody signs in here"),
    },
    "initialize-tsm": {"": ("node.setup", "create a node")},
}


def main(tool: str, argv: Sequence[str], foreign: Mapping[str, str] | None = None) -> int:
    """Run one command line; returns its exit code.

    Args:
        tool: The name of the tool.
        argv: The words behind the name.
        foreign: Variables of the environment that were taken out of it, which a program that is run gets back.
    """
    words = list(argv)
    try:
        return _run(tool, words, foreign or {})
    except Ended as ended:
        return ended.code
    except KeyboardInterrupt:
        streams.note(f"{tool}: interrupted")
        return _INTERRUPTED
    except BrokenPipeError:
        # the reader of our output has ended, as `head` does, and wants no more of it
        return 1
    except (StrongroomError, OSError, UnicodeError) as error:
        return _complain(tool, shortage.told(error) or _ours(error, words))
    except (MemoryError, RuntimeError, ImportError) as error:
        told = shortage.told(error)
        if told is None:
            raise
        return _complain(tool, told)


def _ours(error: StrongroomError | OSError | UnicodeError, words: list[str]) -> StrongroomError:
    """An error as one of the tree of errors."""
    if isinstance(error, StrongroomError):
        return error
    if isinstance(error, OSError):
        named = f" to work on {error.filename!r}" if error.filename else ""
        return disk.problem(f"the system refused{named}", error)
    # bytes of another encoding may name a file, and nothing else
    strange = [word for word in words if not _is_text(word)]
    if not strange:
        raise error
    return UsageError(f"not text in UTF-8: {strange[0]}", hint="nothing was changed")


def _is_text(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def _run(tool: str, argv: list[str], foreign: Mapping[str, str]) -> int:
    options, rest = SessionOptions.take_from(argv)
    verbs = COMMANDS[tool]
    if "" in verbs:
        verb, arguments = "", rest
    elif not rest or rest[0] in _HELP:
        if rest[1:] and rest[0] == "help":  # help VERB … is VERB … --help
            verb, arguments = rest[1], [*rest[2:], "--help"]
        else:
            return _print(_overview(tool))
    elif rest[0] in _VERSION:
        if len(rest) > 1:
            raise UsageError(
                f"{rest[0]} stands alone",
                hint=f"options of a command stand behind it: '{tool} {rest[1]} {rest[0]}'",
            )
        return _version()
    else:
        verb, arguments = rest[0], rest[1:]
    if verb not in verbs:
        raise _unknown(tool, rest)
    module = importlib.import_module(_PACKAGE + verbs[verb][0])
    quick = None if options.behind else _quick(module, arguments)
    run = quick or _parsed(module, (tool, verb), arguments, options)
    streams.check_output()  # before anything is done whose result nobody would see
    with Session(options, run_line, foreign) as session:
        return run(session)


def run_line(words: list[str], session: Session) -> int:
    """Carry out a line of tsm for somebody elsewhere, in the session that is his."""
    verbs = COMMANDS["tsm"]
    if not words or words[0] not in verbs:
        raise UsageError(
            "this node knows no such command", hint="the two programs differ in version"
        )
    module = importlib.import_module(_PACKAGE + verbs[words[0]][0])
    parsed = _parse(module, ("tsm", words[0]), words[1:])
    if any(given for name, given in vars(parsed).items() if name.endswith("file")):
        raise UsageError(
            "a file of this node is not read for somebody elsewhere",
            hint="the command there reads its own files, and sends what is in them",
        )
    code: int = parsed.run(parsed, session)
    return code


def _unknown(tool: str, words: list[str]) -> UsageError:
    """A wrong verb, and what was probably meant: people mix up the tools' commands (findings F2)."""
    from strongroom.cli import explaining

    found = explaining.meant(words, COMMANDS)
    likely = f"did you mean {' or '.join(repr(one) for one in found)}? " if found else ""
    return UsageError(
        f"unknown command {words[0]!r}", hint=f"{likely}'{tool} --help' lists the commands"
    )


def _quick(module: ModuleType, arguments: list[str]) -> Run | None:
    """A module may know a command line without a parser."""
    quick = getattr(module, "quick", None)
    found: Run | None = quick(arguments) if quick is not None else None
    return found


def _parsed(
    module: ModuleType, called: tuple[str, str], arguments: list[str], options: SessionOptions
) -> Run:
    if called[0] == "tsm":
        from strongroom.cli import elsewhere, tsm_habits

        words = [called[1], *arguments]
        is_elsewhere = elsewhere.is_meant(words, options)
        parsed = _parse(module, called, arguments, options.behind)
        if is_elsewhere:
            return lambda session: elsewhere.run(words, parsed, session)
        for note in tsm_habits.notes(parsed):
            streams.note(f"tsm: {note}")
    else:
        parsed = _parse(module, called, arguments, options.behind)

    def run(session: Session) -> int:
        code: int = parsed.run(parsed, session)
        return code

    return run


def _parse(
    module: ModuleType, called: tuple[str, str], arguments: list[str], behind: str | None = None
) -> "argparse.Namespace":
    from strongroom.cli.terminal import parsing

    tool, verb = called
    parser, sentence = module.build_parser(f"{tool} {verb}".strip(), verb), COMMANDS[tool][verb][1]
    if _ASKS & set(arguments[: arguments.index("--")] if "--" in arguments else arguments):
        from strongroom.cli import explaining

        explaining.explain(parser, sentence)

    def explained(message: str) -> str:
        from strongroom.cli import explaining

        return explaining.wrong_line(parser, sentence, arguments, message, COMMANDS)

    if behind is not None:
        parsing.check_has_value(parser, arguments, behind)
    if tool == "tsm":
        from strongroom.cli import tsm_habits

        tsm_habits.take_global_options(parser)
    return parsing.parse(parser, arguments, explained)


def _version() -> int:
    from strongroom.cli import version

    return _print(version.text())


def _print(text: str) -> int:
    streams.check_output()
    streams.out(text)
    return 0


def _overview(tool: str) -> str:
    rows = "".join(f"  {verb:<18}{text}\n" for verb, (_, text) in sorted(COMMANDS[tool].items()))
    return f"usage: {tool} [--data-dir DIR] COMMAND ...\n\n{rows}\n'{tool} COMMAND --help' shows one command\n"


def _complain(tool: str, error: StrongroomError) -> int:
    hint = f"\nhint: {error.hint}" if error.hint else ""
    streams.note(f"{tool}: {error.message}{hint}")  # the exit code says it as well
    return error.exit_code

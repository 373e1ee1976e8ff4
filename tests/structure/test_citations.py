"""Every citation leads to what it names: sections of documents, decisions, modules and files (findings B5)."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.docs import patches

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("src", "tests", "scripts", "demo", "benchmarks", "docs")
DOCUMENTS = {
    path.name: path
    for path in [*sorted((ROOT / "docs/format").glob("*.md")), ROOT / "docs/reference/clients.md"]
}
#: Documents whose headings have no numbers: nobody can look up a section of them.
UNNUMBERED = ("architecture", "requirements")
_HEADING = re.compile(r"^#{2,3} (\d+(?:\.\d+)?)\b")
_CLAUSE = re.compile(r"^(?:- )?(?:\*\*)?§?(\d+\.\d+)(?:\*\*)?\s")
_ITEM = re.compile(r"^(\d+)\. ")
_NUMBER = r"§?\d+(?:\.\d+)*(?!\d|\.\d| (?:bytes|MB|KiB))"
_LIST = re.compile(
    rf"\b([a-z-]+\.md)`?(?:\]\([^)]*\))?,?(?: sections?)? ({_NUMBER}(?:(?:, | and | to ){_NUMBER})*)"
)
_SIGN = re.compile(r"§(\d+(?:\.\d+)?)")
_ADR = re.compile(r"\bADR (\d+)\b|\badr/(\d{4})")
_UNNUMBERED = re.compile(
    rf"\b({'|'.join(UNNUMBERED)})(?:\.md)?,?(?: of the \w+,?)?(?: section)? §?\d", re.IGNORECASE
)
_PATH = re.compile(
    r"(?<![\w/.<-])((?:src|tests|docs|scripts|demo|benchmarks)/[\w/.-]*\w|strongroom/[\w/]+\.py)(?![\w*<{…-])"
)
#: A module or a document may be named without its end; the archive of an old node has no other name.
_ENDS = ("", ".py", ".md", ".json")
#: Not ours: a file, an entry of a folder, a property of the JDK.
_OTHER = frozenset(
    {
        "envelope.json",
        "configuration_keys.json",
        "configuration_keys.json.before",
        "node.json",
        "witnessed.json",
        "known_nodes.json",
        "control.path",
        "backup.key",
        "keystore.pkcs12.legacy",
        "node.pem",
    }
)
_DOTTED = re.compile(r"`(?:strongroom\.)?([a-z_]+(?:\.[a-zA-Z_]\w*)+)(?:\(\))?`")


@cache
def sources() -> dict[Path, str]:
    """Everything that people of the project wrote, with its text."""
    paths = [*ROOT.glob("*.md")]
    for folder in FOLDERS:
        paths += [
            path
            for path in sorted((ROOT / folder).rglob("*"))
            if path.suffix in {".py", ".md", ".toml", ".sh"} and path != Path(__file__)
        ]
    return {path: path.read_text() for path in paths}


@cache
def sections(name: str) -> frozenset[str]:
    """The numbers of a document: headings, clauses, and the items of sections whose items are numbered by themselves."""
    found, section, fenced = set[str](), "", False
    for line in DOCUMENTS[name].read_text().splitlines():
        fenced ^= line.startswith("```")
        if fenced:
            continue
        if heading := _HEADING.match(line):
            section = heading.group(1)
            found.add(section)
        elif clause := _CLAUSE.match(line):
            found.add(clause.group(1))
        elif (item := _ITEM.match(line)) and section:
            found.add(f"{section}.{item.group(1)}")
    return frozenset(found)


def numbers(run: str) -> list[str]:
    return re.findall(r"\d+(?:\.\d+)*", run)


def test_the_documents_are_read() -> None:
    """What follows would pass if no section was found."""
    assert len(DOCUMENTS) >= 17
    assert all(sections(name) for name in DOCUMENTS)
    assert "4.3" in sections("kms-store.md")
    assert "2.11" in sections("rotation-journal.md")
    assert "5.4" in sections("events.md")
    assert "4.11" in sections("envelope.md") or "4.10" in sections("envelope.md")


def _wrong_sections(path: Path, text: str) -> Iterator[str]:
    for name, run in _LIST.findall(text):
        if name in DOCUMENTS:
            for number in numbers(run):
                if number not in sections(name):
                    yield f"{path.relative_to(ROOT)} cites {name} {number}"


def _wrong_signs(path: Path, text: str) -> Iterator[str]:
    """A section by its sign alone is of a document that the file, or its package, is about."""
    named = {name for name in DOCUMENTS if name in text} or _of_package(path)
    if path.name in DOCUMENTS:
        named.add(path.name)
    if not named:
        return
    there = frozenset[str]().union(*map(sections, named))
    # of a standard, as in "RFC 9580 §4.2, §5.1"
    ours = re.sub(r"(?:RFC|SP|FIPS) [\d-]+[\w ]* §[\d.]+(?:, §[\d.]+)*", "", text)
    for number in _SIGN.findall(ours):
        if number not in there:
            yield f"{path.relative_to(ROOT)} cites §{number} of {', '.join(sorted(named))}"


def _of_package(path: Path) -> set[str]:
    found = [folder for folder in path.parts if f"{folder}.md" in DOCUMENTS]
    return {f"{folder}.md" for folder in found}


def test_every_section_that_is_cited_is_there() -> None:
    """findings B5; style: the document by its name, the section by its number."""
    wrong = []
    for path, text in sources().items():
        wrong += [*_wrong_sections(path, text), *_wrong_signs(path, text)]
    assert wrong == []


def test_no_section_is_cited_of_a_document_without_numbers() -> None:
    """findings B5: the numbers were those of a plan that is no part of the project."""
    wrong = [
        f"{path.relative_to(ROOT)}: {found.group(0)}"
        for path, text in sources().items()
        for found in _UNNUMBERED.finditer(text)
    ]
    assert wrong == []


def test_every_decision_that_is_cited_is_there() -> None:
    there = {path.name[:4] for path in (ROOT / "docs/adr").glob("[0-9]*.md")}
    cited = {
        (one or other).zfill(4) for text in sources().values() for one, other in _ADR.findall(text)
    }
    assert len(cited) >= 5
    assert cited - there == set()


def test_every_file_that_is_cited_is_there() -> None:
    """findings B5: `tests/vectors/x.json`, `strongroom/kms/store.py`, `docs/howto`."""
    wrong = []
    toys = {
        change.path
        for section in patches.ANSWERS
        for change in patches.changes(section)
        if change.old is None
    }
    for path, text in sources().items():
        if path.name == "CHANGELOG.md":
            continue  # says what was
        for cited in _PATH.findall(text):
            places = [ROOT / top / f"{cited}{end}" for top in ("", "src") for end in _ENDS]
            if cited in toys and path == patches.PAGE:
                continue  # it says that they are made; tests/docs makes them
            if not any(place.exists() for place in places):
                wrong.append(f"{path.relative_to(ROOT)} cites {cited}")
    assert wrong == []


def test_every_document_that_is_cited_with_a_place_in_it_is_there() -> None:
    """findings B5: `field.md R10`, of a document that is no part of the project."""
    there = {path.name for path in sources()}
    cited = re.compile(r"\b([a-z][a-z-]+\.md),?(?: section)? (?:§?\d|[A-Z]\d)")
    wrong = {
        f"{path.relative_to(ROOT)} cites {name}"
        for path, text in sources().items()
        for name in cited.findall(text)
        if name not in there
    }
    assert wrong == set()


@cache
def _names_in(module: Path) -> frozenset[str]:
    """What a module defines, and what its classes do."""
    found = set[str]()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return frozenset(found)


def _leads_somewhere(dotted: str) -> bool:
    """Whether a dotted name that begins with a package of ours is a module or something in one."""
    place = ROOT / "src/strongroom"
    first, *rest = dotted.split(".")
    if not (place / first).is_dir():
        return True  # a parameter, a library, or an object at hand
    place /= first
    while rest:
        name, *rest = rest
        if (place / name).is_dir():
            place /= name
        elif (module := place / f"{name}.py").exists():
            return all(part in _names_in(module) for part in rest)
        else:
            return (place / "__init__.py").exists() and name in _names_in(place / "__init__.py")
    return True


@pytest.mark.parametrize("folder", ["src", "tests", "docs"])
def test_every_module_that_is_named_is_there(folder: str) -> None:
    """findings B5: `services.keys.keeper.Roots`, `kms.cache`."""
    known = catalogued() | _OTHER
    wrong = [
        f"{path.relative_to(ROOT)} names {dotted}"
        for path, text in sources().items()
        if path.is_relative_to(ROOT / folder)
        for dotted in _DOTTED.findall(text)
        if dotted not in known and not _leads_somewhere(dotted)
    ]
    assert wrong == []


def catalogued() -> set[str]:
    """Parameters of the configuration: some begin as packages do."""
    from strongroom.config import catalog
    from strongroom.secrets import catalog as secrets

    return {*catalog.KEYS, *secrets.SECRETS}


@pytest.mark.parametrize("dotted", ["services.nobody", "kms.cache.Nobody", "kms.nobody.StoreCache"])
def test_a_name_that_leads_nowhere_is_found(dotted: str) -> None:
    assert not _leads_somewhere(dotted)
    assert _leads_somewhere("kms.cache.StoreCache")


def test_a_section_that_is_not_there_is_found() -> None:
    said = "docs/format/kms-store.md 4.9; format/enc.md §1.1 and §7.7; format/events.md §5.2, §5.9"
    found = list(_wrong_sections(ROOT / "src", said))
    assert [one.rsplit(" ", 1)[1] for one in found] == ["4.9", "7.7", "5.9"]

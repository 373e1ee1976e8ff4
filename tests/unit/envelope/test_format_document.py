"""The format documents and the code name each other (rule 32)."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = ("envelope.md", "envelope-2.md")
CITED = re.compile(r"§\d\.\d+")
#: Citations of the second page name it; all others are of the first.
OF_SECOND = re.compile(r"envelope-2\.md((?:,? (?:and |to )?§\d\.\d+)+)")


def clauses(page: str) -> dict[str, str]:
    text = (ROOT / "docs" / "format" / page).read_text(encoding="utf-8")
    return dict(re.findall(r"^- (§\d\.\d+) ((?:.|\n(?!- §|\n))*)", text, re.MULTILINE))


def cited(page: str, text: str) -> set[str]:
    if page == "envelope-2.md":
        return {number for run in OF_SECOND.findall(text) for number in CITED.findall(run)}
    return set(CITED.findall(OF_SECOND.sub("", text)))


def _sources() -> str:
    folders = ("crypto", "envelope", "services/files", "filestore", "extracts", "kms")
    files = [path for name in folders for path in (ROOT / "src/strongroom" / name).glob("*.py")]
    return "".join(path.read_text(encoding="utf-8") for path in files)


@pytest.mark.parametrize(("page", "least"), [("envelope.md", 14), ("envelope-2.md", 5)])
def test_every_must_is_cited_in_the_code(page: str, least: int) -> None:
    musts = {clause for clause, text in clauses(page).items() if "MUST" in text}
    assert len(musts) >= least
    assert musts - cited(page, _sources()) == set()


@pytest.mark.parametrize("page", PAGES)
def test_the_envelope_cites_only_clauses_that_exist(page: str) -> None:
    known = clauses(page)
    assert known
    for path in (ROOT / "src/strongroom/envelope").glob("*.py"):
        for clause in cited(page, path.read_text(encoding="utf-8")):
            assert clause in known, f"{path.name} cites {clause} of {page}"

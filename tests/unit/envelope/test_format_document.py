"""The format document and the code name each other (rule 32)."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = (ROOT / "docs" / "format" / "envelope.md").read_text(encoding="utf-8")
CLAUSES = dict(re.findall(r"^- (§\d\.\d+) ((?:.|\n(?!- §|\n))*)", DOCUMENT, re.MULTILINE))
CITED = re.compile(r"§\d\.\d+")


def _sources() -> str:
    folders = ("crypto", "envelope", "services", "filestore", "extracts")
    files = [path for name in folders for path in (ROOT / "src/strongroom" / name).glob("*.py")]
    return "".join(path.read_text(encoding="utf-8") for path in files)


def test_every_must_is_cited_in_the_code() -> None:
    cited = set(CITED.findall(_sources()))
    musts = {clause for clause, text in CLAUSES.items() if "MUST" in text}
    assert len(musts) >= 13
    assert musts - cited == set()


def test_the_envelope_cites_only_clauses_that_exist() -> None:
    for path in (ROOT / "src/strongroom/envelope").glob("*.py"):
        for clause in CITED.findall(path.read_text(encoding="utf-8")):
            assert clause in CLAUSES, f"{path.name} cites {clause}"

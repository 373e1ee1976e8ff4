"""pyarrow's own tests of encryption with our KMS client, and Arrow's sample client for Vault, on a served node (issue 13 C).

The tests are those in the wheel of the lock; the sample comes from the source distribution, downloaded by `make dev` with
the hash of the lock. Nothing of either is in this tree.
"""

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from scripts import client_source
from tests.support.servers import ROOT
from tests.support.vault_door import VaultDoor, vault_door

SUITE = "pyarrow.tests.parquet.test_encryption"
LEFT_OUT: dict[str, str] = {}
"""The tests that are left out, by name, with the reason; the list may only shrink."""
FUNCTIONS, CASES = 40, 47
"""How many functions and cases of the suite pass at least; the numbers may only grow."""
SAMPLE = "examples/parquet_encryption/sample_vault_kms_client.py"

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultDoor]:
    with vault_door(tmp_path_factory.mktemp("door")) as door:
        yield door


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of strongroom-client, as it is distributed."""
    return client_source.lay_out(ROOT, tmp_path_factory.mktemp("client") / "client") / "src"


@pytest.mark.timeout(300)
def test_pyarrows_own_tests_pass_with_our_client_in_the_place_of_theirs(
    door: VaultDoor, distribution: Path, tmp_path: Path
) -> None:
    token, report = tmp_path / "token", tmp_path / "report.xml"
    token.write_text(door.root)
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", f"--junit-xml={report}"]
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "pytest", "-c", os.devnull, *options),
            *("-p", "tests.support.pyarrow_kms", "--pyargs", SUITE),
            *(word for name in LEFT_OUT for word in ("--deselect", name)),
        ],
        cwd=tmp_path,
        env={
            **{name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
            "PYTHONPATH": f"{distribution}:{ROOT}",
            "SUITE_URL": door.url,
            "SUITE_TOKEN_FILE": str(token),
        },
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    passed = [case.get("name", "") for case in ET.parse(report).iter("testcase") if not len(case)]
    assert len(passed) >= CASES
    assert len({name.partition("[")[0] for name in passed}) >= FUNCTIONS
    uses = [one for one in door.events() if one["id"] == "SERVICE_KEY_USED"]
    assert {"encrypt", "decrypt"} <= {one["details"]["operation"] for one in uses}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Arrow's sample client, unmodified."""
    folder = tmp_path_factory.mktemp("sample")
    (archive,) = (ROOT / ".venv-vault" / "sdist").glob("pyarrow-*.tar.gz")
    with tarfile.open(archive) as tar:
        (member,) = [one for one in tar.getmembers() if one.name.endswith(SAMPLE)]
        tar.extract(member, folder, filter="data")
    return folder / member.name


def test_arrows_sample_client_for_vault_works_unmodified_and_each_opens_the_others_files(
    door: VaultDoor, sample: Path, distribution: Path, tmp_path: Path
) -> None:
    for name in ("footer_key", "col_a_key", "col_b_key"):
        assert door.call("POST", f"transit/keys/{name}", {}).status in (200, 204)
    path, token = tmp_path / "table.parquet", tmp_path / "token"
    token.write_text(door.root)
    subprocess.run(
        [sys.executable, "-P", str(sample), "--filename", str(path)],
        env={**os.environ, "VAULT_URL": door.url, "VAULT_TOKEN": door.root, "NO_PROXY": "*"},
        check=True,
        timeout=120,
    )
    ours = f"""
import pyarrow.parquet as pq, pyarrow.parquet.encryption as pe
from strongroom_client.parquet import StrongroomKmsClient
told = pe.KmsConnectionConfig(custom_kms_conf={{"url": {door.url!r}, "token_file": {str(token)!r}}})
keys = pe.CryptoFactory(StrongroomKmsClient).file_decryption_properties(told)
print(pq.read_table({str(path)!r}, decryption_properties=keys).to_pydict())
"""
    proxies = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", ours],
        env={**os.environ, **proxies, "PYTHONPATH": str(distribution)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.strip() == str({"a": [1, 2, 3], "b": list("abc"), "c": list("xyz")})

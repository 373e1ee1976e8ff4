"""Which MEKs the stored files depend on: the ledger by which a MEK may be retired or not.

It trusts no row: the header page of every file in the store is read, and both of its key slots count, since until a
rewrap's second sync the older one still opens it. Upload parts and files that no row names lie in the same store. What
is being written and not visible yet is counted by its intent. Only header pages are read.
"""

from collections import Counter

from strongroom.errors import NotFoundError, StrongroomError
from strongroom.extracts.vault import ExtractVault
from strongroom.filestore.base import FileStore
from strongroom.repository.unit_of_work import Repository
from strongroom.services.kms_keeper import MekUse, UseCount


def scan(repository: Repository, files: FileStore, vault: ExtractVault) -> UseCount:
    """Files and stored bytes per MEK, and the files whose header cannot be read.

    Intents are read first: a file that becomes visible after that is seen in the store. A file with two MEKs counts for
    both of them.

    Raises:
        StorageError: The store or the repository cannot be read: nothing may be concluded then.
    """
    with repository.reading() as tx:
        intents = {intent.storage_key: intent.mek_id for intent in tx.intents.list()}
    count: Counter[str] = Counter()
    size: Counter[str] = Counter()
    unreadable: list[str] = []
    present = set(files.list())
    for storage_key in sorted(present):
        try:
            meks, stored = vault.mek_ids(storage_key), files.stat(storage_key).bytes
        except NotFoundError:
            continue  # deleted since it was listed
        except StrongroomError as error:
            unreadable.append(f"{storage_key}: {error.message}")
            continue
        count.update(meks)
        size.update(dict.fromkeys(meks, stored))
    for storage_key, mek_id in intents.items():
        if mek_id and storage_key not in present:
            count[mek_id] += 1
    return {mek_id: MekUse(count[mek_id], size[mek_id]) for mek_id in count}, tuple(unreadable)

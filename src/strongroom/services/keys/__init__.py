"""The use cases of the key hierarchy: committing a changed KMS store, rotation, roots, regeneration, and usage of MEKs.

Every change of keys goes through `keeper.StoreKeeper.commit`: the new store is built, opened again to prove it, and put
in one compare-and-set. A process killed at any moment leaves the old keys in force or the new ones, never a mixture.
"""

"""The key hierarchy that protects extracts: RMK, MEKs, and the KMS store that holds them.

Each extract has a data key of its own. A master extract key (MEK) wraps data keys; one MEK is active, older ones only
decrypt. The root master key (RMK) wraps the MEKs and authenticates the KMS store, in which the wrapped MEKs lie. A root
outside this package, such as the configuration key or a cloud's KMS, wraps the RMK. `store` is the format, `next_store`
builds and proves changes of it, `opening` and `cache` open it and keep the keys in memory, `data_keys` is the port by
which a file format has its data keys wrapped, `ring_keys` wraps and unwraps them by the MEKs of a ring, `prover` and
`status` report whether all of it still opens. Nothing in this package commits a change: `services.keys.keeper` does.
"""

"""Roots: the services and devices that protect the root master key (RMK), each behind the interface `RootProvider`.

The RMK encrypts all other keys of a node and is stored only in wrapped form. A root unwraps it when the node starts: a
key management service of a cloud, OpenBao, an HSM (PKCS #11), a TPM, or the configuration key of the node itself. Age
recipients and kits of shares are roots that only wrap, for an emergency.
"""

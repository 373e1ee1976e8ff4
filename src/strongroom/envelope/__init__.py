"""The format of an encrypted file, an envelope: a header page and a body of segments (docs/format/envelope.md).

The body is the plaintext, encrypted by a data key in segments of 256 KiB; each segment has a tag of its own, so that
any range of a large file can be read and verified. The header page holds the data key, wrapped by a master extract key
(MEK), in two key slots. A rewrap replaces the slots when the MEK changes, one after the other, so that a crash leaves a
slot that opens; the body stays. A slot also names the site and extract to which the file belongs, and opens for no
other.

`header` and `slots` are pure; `reader` and `writer` move bytes between ports; `rewrap` changes headers; `keys` makes and
opens data keys through the port of whoever holds the MEKs, `kms.data_keys`.
"""

"""Recovery of a node whose root or keystore is gone: kits of shares on paper, and opening the node by an identity."""

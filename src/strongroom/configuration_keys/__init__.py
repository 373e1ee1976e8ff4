"""The configuration keys: records wrapped by the master key, their copy for recovery, and the judgement of key files."""

"""TLS contexts for consumers, which trust the authority that a setting names, and nothing of the environment (K4).

The contexts that client libraries make trust the system's authorities, too, and write the session's keys into the file
that the variable `SSLKEYLOGFILE` names; with that file, an attacker who recorded the session can read the password.
"""

import ssl


def context(ca_file: str = "") -> ssl.SSLContext:
    """A context for TLS 1.2 or later that verifies the host's name, by this authority alone, or else by the system's."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file:
        made.load_verify_locations(ca_file)
    else:
        made.load_default_certs()
    return made

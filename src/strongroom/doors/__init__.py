"""Ways in for what is no command: the HTTP service, the REST interface that it serves, and the node's own socket.

A door parses, authenticates, calls one service and renders the answer. It knows no SQL and no file store, and what it may
use of a node is a Protocol of its own (ADR 28). A request is judged by the service, never by the door.
"""

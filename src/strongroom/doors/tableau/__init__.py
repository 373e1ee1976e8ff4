"""The REST interface that tabcmd and tableauserverclient speak."""

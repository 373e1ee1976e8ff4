"""`serverInfo`: the first thing every client asks for; fast, open to all and independent of keys and sign-in (clients.md 1.1)."""

from strongroom.doors.tableau.message import element, text_element
from strongroom.doors.tableau.routing import Answer, Call, Route
from strongroom.system import version

# 3.7 is where clients begin to encode filters, 3.25 gives `refresh` its body; all versions are served alike
API_VERSION = "3.26"


def server_info(_: Call) -> Answer:
    """Product and API version; clients take the latter literally."""
    return Answer(
        [
            element(
                "serverInfo",
                {},
                text_element(
                    "productVersion", version.VERSION, {"build": f"strongroom-{version.VERSION}"}
                ),
                text_element("restApiVersion", API_VERSION),
            )
        ]
    )


ROUTES = (
    Route("GET", "/serverInfo", server_info, is_open=True),
    Route("GET", "/serverinfo", server_info, is_open=True),
)

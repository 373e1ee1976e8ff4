"""`serverInfo`: the first thing every client asks for; fast, open to all and independent of keys and sign-in (clients.md 1.1)."""

from strongroom.topology import product
from strongroom.web.api import xml
from strongroom.web.api.routing import Answer, Call, Route

# 3.7 is where clients begin to encode filters, 3.25 gives `refresh` its body; all versions are served alike
API_VERSION = "3.26"


def server_info(_: Call) -> Answer:
    """Product and API version; clients take the latter literally."""
    return Answer(
        [
            xml.element(
                "serverInfo",
                {},
                _versioned("productVersion", product.VERSION),
                xml.text_element("restApiVersion", API_VERSION),
            )
        ]
    )


def _versioned(name: str, version: str) -> xml.Element:
    made = xml.text_element(name, version)
    made.set("build", f"strongroom-{version}")
    return made


ROUTES = (
    Route("GET", "/serverInfo", server_info, is_open=True),
    Route("GET", "/serverinfo", server_info, is_open=True),
)

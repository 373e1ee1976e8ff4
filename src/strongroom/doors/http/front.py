"""The page at `/`: the address that clients print for what they published leads a browser here (findings F3).

It says what this server is and where its API is. It has no script, no style and no link to elsewhere, tells no version
beyond what `serverInfo` tells anyway, and names nothing of this installation.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

_PAGE = b"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>strongroom</title></head>
<body>
<h1>strongroom</h1>
<p>This server keeps published data sources and workbooks, and encrypts their extracts at rest.
It has no pages to look at them: they are published, listed and fetched with a client of its REST API.</p>
<h2>With tabcmd</h2>
<pre>tabcmd login --server ADDRESS --username NAME --password-file FILE --site SITE
tabcmd publish FILE --name NAME
tabcmd list datasources
tabcmd get /datasources/NAME.tdsx</pre>
<p>ADDRESS is what stands in this page's address bar, up to the first single slash.</p>
<h2>With programs</h2>
<p>The API lies below <code>/api/3.26/</code> and speaks XML and JSON;
<code>/api/3.26/serverInfo</code> answers without a sign-in. Whoever runs this server has its documentation:
<code>docs/howto/publish.md</code> and <code>docs/reference/clients.md</code>.</p>
</body>
</html>
"""


async def _page(_: Request) -> Response:
    return Response(_PAGE, media_type="text/html; charset=utf-8")


def routes() -> list[BaseRoute]:
    """`/`, by GET and HEAD."""
    return [Route("/", _page, methods=["GET"])]

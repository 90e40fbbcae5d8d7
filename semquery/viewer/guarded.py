"""The web server of a viewer, on viser: where it listens, whom it answers, and what page it hands out.

viser is made for a machine that nobody else is on. Three things of it are mended here, for it has no setting for them: it hands
out any file of the machine to who asks with `..` in the path, it lets every page that is open in a browser talk to it, and its
page tells an advertiser's server that it was opened.

Conventions
  A request is answered where its Host is this machine's (or anything, where the server listens on other than a loopback
  address), and where its Origin, if it has one, is that Host: a page of another site has another Origin.
"""

import contextlib
import errno
import gzip
import html
import io
import re
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from viser import ViserServer

LOOPBACK = ("localhost", "127.0.0.1", "::1")
TRIED = 20  # ports, from the one that was asked for
SCRIPT = re.compile(r"<script\b[^>]*>(?:(?!</script>).)*</script>", re.DOTALL)

Answer = tuple[HTTPStatus, Mapping[str, str], bytes]
Handler = Callable[[str, Any], Awaitable[Answer | None]]


def open_server(host: str, port: int, title: str) -> "ViserServer":
    """A viser server that listens on a port of a host. Raises ValueError where it cannot."""
    from viser import _messages

    with _answering(host, title), contextlib.redirect_stdout(io.StringIO()):  # viser's own box with addresses
        server = _made(host, port, title)
    server._websock_server.unregister_handler(_messages.ShareUrlRequest)  # nobody who reaches the page opens a way in from outside
    return server


def _made(host: str, port: int, title: str, tries: int = 5) -> "ViserServer":
    """viser looks through all processes of the machine first, and fails when one of them ends meanwhile."""
    import psutil
    import viser

    for _ in range(tries - 1):
        with contextlib.suppress(psutil.Error):
            return viser.ViserServer(host=host, port=port, label=title, verbose=False)
    return viser.ViserServer(host=host, port=port, label=title, verbose=False)


def free_port(host: str, port: int) -> int:
    """The first port from the given one on that nobody listens on. Raises ValueError for a host elsewhere, or where none is free."""
    if not 1 <= port <= 65535:
        raise ValueError(f"--port is {port}; expected a number from 1 to 65535.")
    if not host.strip():
        raise ValueError("--host is empty; give 127.0.0.1, or 0.0.0.0 for all addresses of this machine.")
    trouble = ""
    for tried in range(port, min(port + TRIED, 65536)):
        try:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listening:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as asyncio does
                listening.bind((host, tried))
                listening.listen(1)
                return tried
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno not in (errno.EACCES, errno.EADDRINUSE):
                raise ValueError(f"--host {host} is no address of this machine ({error.strerror or error}); give 127.0.0.1, or 0.0.0.0 for all."
                                 ) from error
            trouble = error.strerror or str(error)
    raise ValueError(f"None of the ports {port} to {tried} of {host} is free ({trouble}); give another with --port.")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host address."""
    return host in LOOPBACK or host.startswith("127.")


def refusal(path: str, headers: Mapping[str, str], host: str) -> str:
    """Why a request is not answered, in a sentence; "" where it is."""
    asked, origin = headers.get("Host") or "", headers.get("Origin")
    if ".." in path or "\\" in path or "%" in path.partition("?")[0]:
        return "There is no such file."
    if is_loopback(host) and (urlsplit(f"//{asked}").hostname or "") not in (*LOOPBACK, host):
        return f"This viewer answers on this machine only, as 127.0.0.1 or localhost, not as {asked!r}; reach it through a tunnel (ssh -L)."
    if origin is not None and urlsplit(origin).netloc != asked:
        return f"This viewer answers no page of another site; {origin!r} is not {asked!r}."
    return ""


def own_page(page: str, title: str) -> str:
    """viser's page under our title and without the scripts that count its visitors."""
    kept = SCRIPT.sub(lambda found: "" if "gtag" in found.group() else found.group(), page)
    return re.sub(r"<title>.*?</title>", lambda _: f"<title>{html.escape(title)}</title>", kept, flags=re.DOTALL)


def guarded(handler: Handler, host: str, title: str) -> Handler:
    """A handler of requests that refuses what is not to be answered and hands out our page; None lets a websocket be opened."""
    async def answer(path: str, headers: Any) -> Answer | None:
        refused = refusal(path, headers, host)
        if refused:
            return HTTPStatus.FORBIDDEN, {"Content-Type": "text/plain; charset=utf-8"}, refused.encode()
        answered = await handler(path, headers)
        if answered is None or path.partition("?")[0] not in ("/", "/index.html"):
            return answered
        status, told, body = answered
        is_packed = told.get("Content-Encoding") == "gzip"
        page = own_page((gzip.decompress(body) if is_packed else body).decode(), title).encode()
        return status, told, gzip.compress(page) if is_packed else page

    return answer


@contextlib.contextmanager
def _answering(host: str, title: str) -> Iterator[None]:
    """viser servers that are made meanwhile answer as above; viser leaves no other way to have a say in that."""
    from websockets import server as library

    serve = library.serve

    def serve_guarded(*arguments: Any, process_request: Handler, **options: Any) -> Any:
        return serve(*arguments, process_request=guarded(process_request, host, title), **options)

    library.serve = serve_guarded
    try:
        yield
    finally:
        library.serve = serve

"""A server that treats a folder as GitHub Pages does: under a path, compressed, with 404.html for what is missing."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

COMPRESSED = {".html", ".css", ".js", ".svg", ".xml", ".txt", ".json"}


class Handler(SimpleHTTPRequestHandler):
    def __init__(self, *args: object, prefix: str, **kwargs: object) -> None:
        self.prefix = prefix
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        status = HTTPStatus.OK
        file = Path(self.translate_path(self.path.removeprefix(self.prefix.rstrip("/"))))
        if file.is_dir():
            file /= "index.html"
        if not file.is_file() or not self.path.startswith(self.prefix):
            status, file = HTTPStatus.NOT_FOUND, Path(self.directory, "404.html")
        body = file.read_bytes()
        self.send_response(status)
        self.send_header("Content-Type", self.guess_type(file))
        if file.suffix in COMPRESSED:
            body = gzip.compress(body, compresslevel=6, mtime=0)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):  # the browser may leave before the end
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def served(folder: Path, prefix: str) -> Iterator[str]:
    """Serve a folder at a free local port; yield the address of its top."""
    handler = partial(Handler, directory=str(folder), prefix=prefix)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}{prefix}"
        finally:
            server.shutdown()

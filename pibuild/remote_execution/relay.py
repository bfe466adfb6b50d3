"""Connects a socket in a shared volume with a server: the one part that has a network and a certificate.

relay.py SOCKET URL [CERTIFICATE END]    URL: grpcs://HOST:PORT or grpc://HOST:PORT; CERTIFICATE: a PEM file with the
client's certificate, its key, and the authority of the server; END: when the first one expires, in seconds since 1970.

Beside the socket it writes `status`: empty after a connection to the server, else why there is none.
"""

import asyncio
import contextlib
import os
import ssl
import sys
import time
from urllib.parse import urlsplit

_CONNECT_S = 15
_CHUNK_BYTES = 1 << 16


async def pump(reader, writer, look=None):
    """Copy bytes until one side ends."""
    try:
        while True:
            chunk = await reader.read(_CHUNK_BYTES)
            if not chunk:
                break
            if look:
                look(chunk)
            writer.write(chunk)
            await writer.drain()
    finally:
        writer.close()


async def join(left, right, look=None):
    """Copy bytes both ways between two connections, (reader, writer) each; both are closed when one ends."""
    ways = [asyncio.ensure_future(pump(left[0], right[1])), asyncio.ensure_future(pump(right[0], left[1], look))]
    _, open_ones = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for way in open_ones:
        way.cancel()
    problems = await asyncio.gather(*ways, return_exceptions=True)
    for _, writer in (left, right):
        with contextlib.suppress(Exception):
            writer.close()
    return next((one for one in problems if isinstance(one, OSError)), None)


def reason(error):
    """Return in a few words why there is no connection."""
    if isinstance(error, asyncio.TimeoutError):
        return f"no answer in {_CONNECT_S} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or str(error)).lower().replace('_', ' ')}"
    return error.strerror or str(error)


class Relay:
    """A server's address, and how it is reached."""

    def __init__(self, folder, url, certificate, end_s):
        self._folder, parts = folder, urlsplit(url)
        self._is_secure = parts.scheme in ("grpcs", "https")
        self._host, self._port = parts.hostname, parts.port or (443 if self._is_secure else 80)
        self._certificate, self._end_s = certificate, end_s

    def tls(self):
        """Return the TLS settings, or None; they are read for each connection, so that a certificate can be renewed."""
        if not self._is_secure:
            return None
        settings = ssl.create_default_context(cafile=self._certificate)
        settings.set_alpn_protocols(["h2"])
        if self._certificate:
            settings.load_cert_chain(self._certificate)
        return settings

    def tell(self, text):
        """Write the status, by rename."""
        path = os.path.join(self._folder, "status")
        with open(f"{path}.new", "w") as file:
            file.write(text)
        os.replace(f"{path}.new", path)

    def refuse(self, text, writer):
        """Write to `status` why the server can't be reached, and close the connection of the client."""
        self.tell(text)
        print(text, flush=True)
        writer.close()

    async def serve(self, reader, writer):
        """Serve one connection; the client's side is closed if the server can't be reached."""
        if self._end_s is not None and time.time() > self._end_s:  # servers refuse it without saying why
            end = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self._end_s))
            remedy = "make another one: ci/remote/certificates FOLDER --add client NAME (or worker)"
            self.refuse(f"the certificate of this machine expired at {end}; {remedy}", writer)
            return
        try:
            opened = asyncio.open_connection(self._host, self._port, ssl=self.tls())
            server = await asyncio.wait_for(opened, _CONNECT_S)
        except (OSError, asyncio.TimeoutError) as error:
            self.refuse(reason(error), writer)
            return
        self.tell("")
        problem = await join((reader, writer), server)
        if isinstance(problem, ssl.SSLError):  # TLS 1.3: a client's certificate is refused after the handshake
            self.tell(reason(problem))
            print(reason(problem), flush=True)


async def main(path, url, certificate=None, end_s=None):
    """Listen until the end."""
    relay = Relay(os.path.dirname(path), url, certificate, float(end_s) if end_s else None)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    server = await asyncio.start_unix_server(relay.serve, path)
    os.chmod(path, 0o660)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

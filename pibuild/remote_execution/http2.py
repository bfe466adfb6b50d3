"""HTTP/2 as gRPC uses it: what a server answered, read from the bytes that pass; and one call of one's own.

Runs in containers of toolchain images: Python 3.9, nothing but its library.
"""

import socket
import struct

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GO_AWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _ACK, _END_HEADERS, _PADDED = 1, 1, 4, 8
_MOST_BYTES = 1 << 18
"""Of one message that is looked at: results are small, blobs are not looked at."""
_EXECUTE_RESPONSE = b"build.bazel.remote.execution.v2.ExecuteResponse"
USAGE = b"type.googleapis.com/buildbarn.resourceusage.POSIXResourceUsage"
"""The message with which Buildbarn's workers, and pibuild's, report the CPU time of an action."""


def fields(message):
    """Yield number and value of each field of a message in protobuf's wire format; ValueError if it is none."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(message, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            value, at = bytes(message[at : at + size]), at + size
        elif kind == 2:
            size, at = _varint(message, at)
            value, at = bytes(message[at : at + size]), at + size
        else:
            raise ValueError(f"wire type {kind}")
        if at > len(message):
            raise ValueError("a field is cut off")
        yield number, value


def field(number, value):
    """Return one field in protobuf's wire format: bytes or an int."""
    if isinstance(value, int):
        return _encoded(number << 3) + _encoded(value)
    return _encoded(number << 3 | 2) + _encoded(len(value)) + value


def first(message, number, default=b""):
    """Return the value of the first field with a number."""
    return next((value for found, value in fields(message) if found == number), default)


def _varint(content, at):
    value = shift = 0
    while True:
        if at >= len(content) or shift > 63:
            raise ValueError("a number is cut off")
        byte = content[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def _encoded(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


class ActionResults:
    """Reads what a server sends on one connection, and tells `tally` of each action's result."""

    def __init__(self, tally):
        self._tally, self._rest, self._streams, self._is_lost = tally, bytearray(), {}, False

    def __call__(self, chunk):
        """Take bytes. What can't be read is passed over: the connection itself is not touched."""
        if self._is_lost:
            return
        try:
            self._rest += chunk
            while len(self._rest) >= 9:
                size = int.from_bytes(self._rest[:3], "big")
                if len(self._rest) < 9 + size:
                    break
                kind, flags = self._rest[3], self._rest[4]
                stream = int.from_bytes(self._rest[5:9], "big") & 0x7FFFFFFF
                body = bytes(self._rest[9 : 9 + size])
                del self._rest[: 9 + size]
                self._frame(kind, flags, stream, body)
        except (ValueError, IndexError, struct.error):
            self._is_lost = True

    def close(self):
        """Forget what was asked on this connection."""
        for stream in list(self._streams):
            self._tally.ended((id(self), stream))

    def _frame(self, kind, flags, stream, body):
        if kind == _DATA:
            if flags & _PADDED:
                body = body[1 : len(body) - body[0]]
            held = self._streams.setdefault(stream, bytearray())
            if held is not None:
                held += body
                self._messages(stream, held)
        if kind == _RESET or (flags & _END_STREAM and kind in (_DATA, _HEADERS)):
            self._streams.pop(stream, None)
            self._tally.ended((id(self), stream))

    def _messages(self, stream, held):
        while len(held) >= 5:
            size = int.from_bytes(held[1:5], "big")
            if size > _MOST_BYTES:
                self._streams[stream] = None  # a blob
                return
            if len(held) < 5 + size:
                return
            message, is_packed = bytes(held[5 : 5 + size]), held[0]
            del held[: 5 + size]
            if not is_packed:
                self._message((id(self), stream), message)

    def _message(self, asked, message):
        try:
            parts = list(fields(message))
        except ValueError:
            return
        numbers = {number for number, _ in parts}
        values = dict(parts)
        if _EXECUTE_RESPONSE in message and isinstance(values.get(5), bytes):  # google.longrunning.Operation
            response = first(values[5], 2)
            if not first(first(response, 3), 1, 0):  # a status without an error
                cpu_s = cpu_seconds(first(response, 1))
                self._tally.finished(is_cached=bool(first(response, 2, 0)), cpu_s=cpu_s)
            self._tally.ended(asked)
        elif b"ExecuteOperationMetadata" in message and isinstance(values.get(1), bytes):
            self._tally.waits(asked, values[1].decode(errors="replace"))
        elif isinstance(values.get(9), bytes) and numbers <= set(range(2, 13)):  # ActionResult
            self._tally.finished(is_cached=True, cpu_s=0.0)


def cpu_seconds(result):
    """Return the CPU seconds that a worker reports in an ActionResult; 0 if it reports none."""
    total = 0.0
    for number, value in fields(first(result, 9)):
        if number == 11 and first(value, 1) == USAGE:
            for part, duration in fields(first(value, 2)):
                if part in (1, 2):
                    total += first(duration, 1, 0) + first(duration, 2, 0) / 1e9
    return total


def call(address, path, message, deadline_s):
    """Call a method of a server at (host, port) and return the message that it answers; OSError if it answers none."""
    with socket.create_connection(address, deadline_s) as connection:
        headers = b"".join(
            b"\x00" + _text(name) + _text(value)
            for name, value in (
                (":method", "POST"),
                (":scheme", "http"),
                (":path", path),
                (":authority", "pibuild"),
                ("content-type", "application/grpc"),
                ("te", "trailers"),
            )
        )
        body = b"\x00" + len(message).to_bytes(4, "big") + message
        connection.sendall(
            _PREFACE
            + _packed(_SETTINGS, 0, 0, b"")
            + _packed(_HEADERS, _END_HEADERS, 1, headers)
            + _packed(_DATA, _END_STREAM, 1, body)
        )
        held = bytearray()
        while True:
            kind, flags, stream, content = _read_frame(connection)
            if kind == _SETTINGS and not flags & _ACK:
                connection.sendall(_packed(_SETTINGS, _ACK, 0, b""))
            elif kind == _PING and not flags & _ACK:
                connection.sendall(_packed(_PING, _ACK, 0, content))
            elif kind == _DATA and stream == 1:
                held += content
            is_last = stream == 1 and flags & _END_STREAM and kind in (_DATA, _HEADERS)
            if kind in (_GO_AWAY, _RESET) or is_last:
                break
        if len(held) < 5 or len(held) < 5 + int.from_bytes(held[1:5], "big"):
            raise OSError("the server refuses it")
        return bytes(held[5 : 5 + int.from_bytes(held[1:5], "big")])


def _text(text):
    return bytes([len(text)]) + text.encode()


def _packed(kind, flags, stream, body):
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def _read_frame(connection):
    head = _exactly(connection, 9)
    body = _exactly(connection, int.from_bytes(head[:3], "big"))
    return head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7FFFFFFF, body


def _exactly(connection, size):
    held = bytearray()
    while len(held) < size:
        chunk = connection.recv(size - len(held))
        if not chunk:
            raise OSError("the server closed the connection")
        held += chunk
    return bytes(held)

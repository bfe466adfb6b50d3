"""Prove a grpcio wheel on the device: a server and clients talk over loopback, without encryption and over TLS.

Print what was measured as JSON. Exit with 1 if an answer differs from the expected one, or if the check takes longer
than LIMIT_S. Messages are bytes, so protobuf isn't needed. This file runs on Python 2.7 and 3.4 and later.
"""

from __future__ import absolute_import, division, print_function

import hashlib
import json
import os
import sys
import threading
import time
from concurrent import futures  # novermin: 2.7 has it from PyPI

import grpc

LIMIT_S = 600
CALL_S = 120
"""The time limit of a call: an emulated Pi is slow on a busy machine."""
LATE_S = 5
"""The deadline that the check misses on purpose."""
SERVICE = "proof.Bytes"
SIZES = (0, 1, 1000, 70000, 400000)
PIECE = 16384
CLIENTS = 4

# For this check only: self-signed for localhost, valid from 2015 to 2114. Made by openssl ca -selfsign.
KEY = b"""\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg/+q25dDNF/Ok/uET
6b66EV+I5OJ+3iKkIvZ8xudfG5OhRANCAAQ/NGrpgQ9PDnGTSPdBH3KV2ICjBxoW
WX57EGXeghc6NJ7d09iekC/oqXcyItqP4lw6S5ZlSdo2Pcmm/VxQmJMi
-----END PRIVATE KEY-----
"""
CERTIFICATE = b"""\
-----BEGIN CERTIFICATE-----
MIIBYTCCAQegAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMTUwMTAxMDAwMDAwWhgPMjExNDEyMzEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABD80aumBD08OcZNI
90EfcpXYgKMHGhZZfnsQZd6CFzo0nt3T2J6QL+ipdzIi2o/iXDpLlmVJ2jY9yab9
XFCYkyKjSDBGMBQGA1UdEQQNMAuCCWxvY2FsaG9zdDAPBgNVHRMBAf8EBTADAQH/
MB0GA1UdDgQWBBQvzI/9AAAkN41jx2gblM6FfpM2UTAKBggqhkjOPQQDAgNIADBF
AiBKyPk2L6UKGXuJv9riHvX8YkL0w5Agr3drgQZA7B/ycgIhAOxLNDVxtiC7QFKW
6QspIib9oBP3AwW+Wkxxjmghn3is
-----END CERTIFICATE-----
"""


def content(seed, size):
    """Return bytes that are the same on every machine.

    They repeat a block whose length is prime, so pieces in a wrong order are detected.
    """
    block = b"".join(hashlib.sha256("{} {}".format(seed, number).encode()).digest() for number in range(128))[:4093]
    return (block * (size // len(block) + 1))[:size]


def expect(what, found, expected):
    """Raise AssertionError if a value is not the expected one."""
    if found != expected:
        raise AssertionError("{}: found {:.99}, expected {:.99}".format(what, repr(found), repr(expected)))


class Server(object):
    """A gRPC server that answers calls of each kind in its own threads."""

    def __init__(self, credentials=None):
        """Start the server on a free port of loopback."""
        self.caller_gone = threading.Event()
        """Set when the server sees that the caller of Late is gone."""
        handlers = {
            "Reverse": grpc.unary_unary_rpc_method_handler(self.reverse),
            "Split": grpc.unary_stream_rpc_method_handler(self.split),
            "Join": grpc.stream_unary_rpc_method_handler(self.join),
            "ReverseEach": grpc.stream_stream_rpc_method_handler(self.reverse_each),
            "Late": grpc.unary_unary_rpc_method_handler(self.late),
            "Refuse": grpc.unary_unary_rpc_method_handler(self.refuse),
        }
        handler = grpc.method_handlers_generic_handler(SERVICE, handlers)
        self.server = grpc.server(futures.ThreadPoolExecutor(max_workers=2 * CLIENTS), handlers=(handler,))
        address = "127.0.0.1:0"
        secure = self.server.add_secure_port
        self.port = secure(address, credentials) if credentials else self.server.add_insecure_port(address)
        self.server.start()

    def __enter__(self):
        """Return the server."""
        return self

    def __exit__(self, *_):
        """Stop the server and end all calls."""
        self.server.stop(None).wait(CALL_S)

    def reverse(self, request, context):
        """Return the message backwards, with its length in the metadata; compressed if the caller asks for that."""
        if ("wanted", "compressed") in [(key, value) for key, value in context.invocation_metadata()]:
            context.set_compression(grpc.Compression.Gzip)
        context.set_trailing_metadata((("length", str(len(request))),))
        return request[::-1]

    def split(self, request, _):
        """Yield the message in pieces."""
        for start in range(0, len(request), PIECE):
            yield request[start : start + PIECE]

    def join(self, requests, _):
        """Return all messages as one."""
        return b"".join(requests)

    def reverse_each(self, requests, _):
        """Yield each message backwards, as it arrives."""
        for request in requests:
            yield request[::-1]

    def late(self, _, context):
        """Return only after the caller is gone."""
        if not context.add_callback(self.caller_gone.set):
            self.caller_gone.set()
        self.caller_gone.wait(CALL_S)
        return b""

    def refuse(self, _, context):
        """End the call with an error status."""
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "refused on purpose")


def method(channel, kind, name):
    """Return a method of the service, which takes bytes."""
    return getattr(channel, kind)("/{}/{}".format(SERVICE, name))


def pieces(message):
    """Return the message in pieces."""
    return [message[start : start + PIECE] for start in range(0, len(message), PIECE)]


def talk(channel, seed):
    """Make calls of each kind; return how many bytes were sent and received."""
    moved = 0
    reverse = method(channel, "unary_unary", "Reverse")
    for size in SIZES:
        message = content(seed, size)
        answer, call = reverse.with_call(message, timeout=CALL_S, wait_for_ready=True)
        expect("a message backwards", answer, message[::-1])
        expect("the metadata", dict(call.trailing_metadata()).get("length"), str(size))
        metadata = (("wanted", "compressed"),)
        answer = reverse(message, timeout=CALL_S, metadata=metadata, compression=grpc.Compression.Gzip)
        expect("a compressed message backwards", answer, message[::-1])
        moved += 4 * size
    message = content(seed, SIZES[-1])
    parts = pieces(message)
    answers = list(method(channel, "unary_stream", "Split")(message, timeout=CALL_S))
    expect("a message in pieces", answers, parts)
    answer = method(channel, "stream_unary", "Join")(iter(parts), timeout=CALL_S)
    expect("pieces joined", answer, message)
    answers = list(method(channel, "stream_stream", "ReverseEach")(iter(parts), timeout=CALL_S))
    expect("pieces backwards", answers, [part[::-1] for part in parts])
    return moved + 6 * len(message)


def status(call, *args, **options):
    """Return the code and the details with which a call ends."""
    try:
        call(*args, **options)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def check_statuses(server, channel):
    """Check the status of calls that get no answer; return how many seconds the call with a deadline took."""
    late = method(channel, "unary_unary", "Late")
    began_s = time.time()
    expect("a missed deadline", status(late, b"", timeout=LATE_S)[0], grpc.StatusCode.DEADLINE_EXCEEDED)
    waited_s = time.time() - began_s
    expect("whether the call lasted until its deadline", waited_s > 0.9 * LATE_S, True)
    expect("whether the server saw that the caller is gone", server.caller_gone.wait(CALL_S), True)
    server.caller_gone.clear()
    call = late.future(b"", timeout=CALL_S)
    call.cancel()
    expect("a cancelled call", call.code(), grpc.StatusCode.CANCELLED)
    refused = grpc.StatusCode.FAILED_PRECONDITION, "refused on purpose"
    expect("a refusal", status(method(channel, "unary_unary", "Refuse"), b"", timeout=CALL_S), refused)
    unknown = status(method(channel, "unary_unary", "Nothing"), b"", timeout=CALL_S)
    expect("a method that does not exist", unknown[0], grpc.StatusCode.UNIMPLEMENTED)
    return round(waited_s, 2)


def converse(server, connect):
    """Run several clients at once; return what was measured."""
    began_s = time.time()
    channels = [connect() for _ in range(CLIENTS)]
    with futures.ThreadPoolExecutor(max_workers=CLIENTS) as threads:
        moved = sum(threads.map(talk, channels, range(CLIENTS)))
    spent_s = time.time() - began_s
    waited_s = check_statuses(server, channels[0])
    for channel in channels:
        channel.close()
    return {"clients": CLIENTS, "bytes": moved, "spent_s": round(spent_s, 2), "deadline_seen_s": waited_s}


def check_refusals(port):
    """Check that TLS refuses a server with an unknown certificate, and a server with another name."""
    own_credentials = grpc.ssl_channel_credentials(CERTIFICATE)
    for host, credentials in (("localhost", grpc.ssl_channel_credentials()), ("127.0.0.1", own_credentials)):
        with grpc.secure_channel("{}:{}".format(host, port), credentials) as channel:
            code, _ = status(method(channel, "unary_unary", "Reverse"), b"", timeout=CALL_S)
        expect("a wrong certificate or name", code, grpc.StatusCode.UNAVAILABLE)


def give_up():
    """End the process of a check that hangs, whatever its threads wait for."""
    sys.stderr.write("the check of gRPC did not finish within {} s\n".format(LIMIT_S))
    sys.stderr.flush()
    os._exit(1)  # sys.exit would end this thread only


def main():
    """Run all checks; print what was measured as JSON."""
    watch = threading.Timer(LIMIT_S, give_up)
    watch.daemon = True
    watch.start()
    measured = {"grpcio": grpc.__version__, "python": sys.version.split()[0]}
    with Server() as server:
        address = "localhost:{}".format(server.port)
        measured["in the clear"] = converse(server, lambda: grpc.insecure_channel(address))
    with Server(grpc.ssl_server_credentials([(KEY, CERTIFICATE)])) as server:
        address = "localhost:{}".format(server.port)
        credentials = grpc.ssl_channel_credentials(CERTIFICATE)
        measured["TLS"] = converse(server, lambda: grpc.secure_channel(address, credentials))
        check_refusals(server.port)
    print(json.dumps(measured, sort_keys=True))


if __name__ == "__main__":
    main()

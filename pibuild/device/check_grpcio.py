"""Proves a grpcio wheel on the device: a server and clients of it talk over loopback, in the clear and over TLS.

Prints JSON of what was measured; exits with 1 where an answer is another one than expected, or where it all takes more
than LIMIT_S. Messages are bytes, so no protobuf is needed. Runs on Python 2.7 and 3.4 and later.
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
"""What one call may take: an emulated Pi is slow on a busy machine."""
LATE_S = 5
"""The deadline that is missed."""
SERVICE = "proof.Bytes"
SIZES = (0, 1, 1000, 70000, 400000)
PIECE = 16384
CLIENTS = 4

# Of nobody but this check: self-signed for localhost, valid from 2015 to 2114. Made by openssl ca -selfsign.
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
    """Give bytes that are the same everywhere. The length of what repeats is a prime: pieces in a wrong order show."""
    block = b"".join(hashlib.sha256("{} {}".format(seed, number).encode()).digest() for number in range(128))[:4093]
    return (block * (size // len(block) + 1))[:size]


def expect(what, found, wanted):
    """Say no where an answer is another one than it should be."""
    if found != wanted:
        raise AssertionError("{}: found {:.99}, expected {:.99}".format(what, repr(found), repr(wanted)))


class Server(object):
    """Answers calls of each kind in threads of its own."""

    def __init__(self, credentials=None):
        """Listen on a port of loopback."""
        self.left = threading.Event()
        """Whether the server saw that the caller of Late had gone."""
        handlers = {
            "Reverse": grpc.unary_unary_rpc_method_handler(self.reverse),
            "Split": grpc.unary_stream_rpc_method_handler(self.split),
            "Join": grpc.stream_unary_rpc_method_handler(self.join),
            "Each": grpc.stream_stream_rpc_method_handler(self.each),
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
        """Give itself."""
        return self

    def __exit__(self, *_):
        """End all calls."""
        self.server.stop(None).wait(CALL_S)

    def reverse(self, request, context):
        """Answer a message backwards, compressed and with its length in the metadata if it came so."""
        if ("wanted", "compressed") in [(key, value) for key, value in context.invocation_metadata()]:
            context.set_compression(grpc.Compression.Gzip)
        context.set_trailing_metadata((("length", str(len(request))),))
        return request[::-1]

    def split(self, request, _):
        """Answer a message in pieces."""
        for start in range(0, len(request), PIECE):
            yield request[start : start + PIECE]

    def join(self, requests, _):
        """Answer one message of all that come."""
        return b"".join(requests)

    def each(self, requests, _):
        """Answer each message backwards, as it comes."""
        for request in requests:
            yield request[::-1]

    def late(self, _, context):
        """Answer once nobody waits any longer."""
        if not context.add_callback(self.left.set):
            self.left.set()
        self.left.wait(CALL_S)
        return b""

    def refuse(self, _, context):
        """Answer with a status."""
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as the check wants it")


def method(channel, kind, name):
    """Give a method of the service, to be called with bytes."""
    return getattr(channel, kind)("/{}/{}".format(SERVICE, name))


def pieces(message):
    """Give a message in pieces."""
    return [message[start : start + PIECE] for start in range(0, len(message), PIECE)]


def talk(channel, seed):
    """Make calls of each kind; give how many bytes went out and came back."""
    moved = 0
    reverse = method(channel, "unary_unary", "Reverse")
    for size in SIZES:
        message = content(seed, size)
        answer, call = reverse.with_call(message, timeout=CALL_S, wait_for_ready=True)
        expect("a message backwards", answer, message[::-1])
        expect("the metadata", dict(call.trailing_metadata()).get("length"), str(size))
        wanted = (("wanted", "compressed"),)
        answer = reverse(message, timeout=CALL_S, metadata=wanted, compression=grpc.Compression.Gzip)
        expect("a compressed message backwards", answer, message[::-1])
        moved += 4 * size
    message = content(seed, SIZES[-1])
    parts = pieces(message)
    answers = list(method(channel, "unary_stream", "Split")(message, timeout=CALL_S))
    expect("a message in pieces", answers, parts)
    answer = method(channel, "stream_unary", "Join")(iter(parts), timeout=CALL_S)
    expect("pieces joined", answer, message)
    answers = list(method(channel, "stream_stream", "Each")(iter(parts), timeout=CALL_S))
    expect("pieces backwards", answers, [part[::-1] for part in parts])
    return moved + 6 * len(message)


def status(call, *args, **how):
    """Give the code and the details that a call ends with."""
    try:
        call(*args, **how)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def check_statuses(server, channel):
    """See calls end as they should that get no answer; give how long the one with a deadline took."""
    late = method(channel, "unary_unary", "Late")
    began_s = time.time()
    expect("a missed deadline", status(late, b"", timeout=LATE_S)[0], grpc.StatusCode.DEADLINE_EXCEEDED)
    waited_s = time.time() - began_s
    expect("whether the deadline was waited for", waited_s > 0.9 * LATE_S, True)
    expect("whether the server saw it", server.left.wait(CALL_S), True)
    server.left.clear()
    call = late.future(b"", timeout=CALL_S)
    call.cancel()
    expect("a cancelled call", call.code(), grpc.StatusCode.CANCELLED)
    refused = grpc.StatusCode.FAILED_PRECONDITION, "as the check wants it"
    expect("a refusal", status(method(channel, "unary_unary", "Refuse"), b"", timeout=CALL_S), refused)
    unknown = status(method(channel, "unary_unary", "Nothing"), b"", timeout=CALL_S)
    expect("a method that is not there", unknown[0], grpc.StatusCode.UNIMPLEMENTED)
    return round(waited_s, 2)


def converse(server, connect):
    """Let several clients talk at once; give what that took."""
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
    """See TLS refuse a server that is not known, and one of another name."""
    ours = grpc.ssl_channel_credentials(CERTIFICATE)
    for host, credentials in (("localhost", grpc.ssl_channel_credentials()), ("127.0.0.1", ours)):
        with grpc.secure_channel("{}:{}".format(host, port), credentials) as channel:
            code, _ = status(method(channel, "unary_unary", "Reverse"), b"", timeout=CALL_S)
        expect("a certificate that does not fit", code, grpc.StatusCode.UNAVAILABLE)


def give_up():
    """End a check that hangs, whatever holds its threads."""
    sys.stderr.write("gRPC was not done after {} s\n".format(LIMIT_S))
    sys.stderr.flush()
    os._exit(1)  # sys.exit would end this thread alone


def main():
    """Check all; print what was measured."""
    watch = threading.Timer(LIMIT_S, give_up)
    watch.daemon = True
    watch.start()
    said = {"grpcio": grpc.__version__, "python": sys.version.split()[0]}
    with Server() as server:
        address = "localhost:{}".format(server.port)
        said["in the clear"] = converse(server, lambda: grpc.insecure_channel(address))
    with Server(grpc.ssl_server_credentials([(KEY, CERTIFICATE)])) as server:
        address = "localhost:{}".format(server.port)
        credentials = grpc.ssl_channel_credentials(CERTIFICATE)
        said["TLS"] = converse(server, lambda: grpc.secure_channel(address, credentials))
        check_refusals(server.port)
    print(json.dumps(said, sort_keys=True))


if __name__ == "__main__":
    main()

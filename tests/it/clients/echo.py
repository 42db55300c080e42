"""Speaks to every endpoint named on stdin, one message each, and counts.

A line is `tcp|udp FIRST[-LAST] PORT[-PORT]`. Prints one JSON document: how many
endpoints answered with the same bytes, how many bytes went out, and what failed.
"""

import ipaddress
import json
import socket
import sys


def span(text, parse):
    first, _, last = text.partition("-")
    return range(int(parse(first)), int(parse(last or first)) + 1)


def message(protocol, address, port):
    return f"{protocol} to {address} port {port}".encode()


def tcp(address, port, payload):
    with socket.create_connection((address, port), timeout=60) as stream:
        stream.sendall(payload)
        stream.shutdown(socket.SHUT_WR)
        back = b""
        while part := stream.recv(65536):
            back += part
        return back


def udp(address, port, payload):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.settimeout(60)
        datagrams.connect((address, port))
        datagrams.send(payload)
        return datagrams.recv(65536)


def main():
    counts = {"tcp": 0, "udp": 0, "tcp_bytes": 0, "udp_bytes": 0, "failed": []}
    for line in sys.stdin:
        protocol, addresses, ports = line.split()
        speak = {"tcp": tcp, "udp": udp}[protocol]
        for number in span(addresses, ipaddress.IPv4Address):
            address = str(ipaddress.IPv4Address(number))
            for port in span(ports, int):
                payload = message(protocol, address, port)
                try:
                    back = speak(address, port, payload)
                except OSError as error:
                    counts["failed"].append(f"{protocol}://{address}:{port}: {error}")
                    continue
                if back == payload:
                    counts[protocol] += 1
                    counts[protocol + "_bytes"] += len(payload)
                else:
                    counts["failed"].append(f"{protocol}://{address}:{port}: {back!r}")
    counts["failed"] = counts["failed"][:20]
    print(json.dumps(counts))


main()

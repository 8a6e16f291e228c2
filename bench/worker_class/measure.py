"""Compare worker classes for one bare Falcon application.

    python bench/worker_class/measure.py own|gthread|gevent [--threads N]

Prints one JSON line: CPU time of the server per request at eight kept connections; requests per
second with 200 slow bodies beside it, relative to without; time to have 500 waiting requests open
and the rate of others meanwhile; memory.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

_REQUEST = (
    b"PUT /connect HTTP/1.1\r\nHost: mdm.example.com\r\nUser-Agent: MDM-OSX/1.0 mdmclient/1135\r\n"
    b"Content-Type: application/x-apple-aspen-mdm; charset=UTF-8\r\nMdm-Signature: " + b"A" * 3000 + b"\r\n"
    b"Accept: */*\r\nAccept-Encoding: gzip\r\nContent-Length: 300\r\n\r\n" + b"x" * 300
)
_SLOW = b"PUT /connect HTTP/1.1\r\nHost: mdm.example.com\r\nContent-Length: 100000\r\n\r\n"
_WAIT = b"GET /wait HTTP/1.1\r\nHost: mdm.example.com\r\n\r\n"
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pids: list[int]) -> float:
    """Sum user and system time of processes."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def memory_mb(pids: list[int]) -> float:
    """Sum proportional set sizes."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
    return round(sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024, 1)


def family(pid: int) -> list[int]:
    """List a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def connect(port: int) -> socket.socket:
    """Open a connection."""
    return socket.create_connection(("127.0.0.1", port))


def load(port: int, connections: int, seconds: float) -> int:
    """Send requests one after the other on each connection; return how many were answered."""
    socks = [connect(port) for _ in range(connections)]
    counts = [0] * connections
    end = time.monotonic() + seconds

    def client(index: int) -> None:
        sock = socks[index]
        while time.monotonic() < end:
            sock.sendall(_REQUEST)
            answer = sock.recv(65536)
            while b"\r\n\r\nok" not in answer:
                answer += sock.recv(65536)
            counts[index] += 1

    threads = [threading.Thread(target=client, args=(index,)) for index in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for sock in socks:
        sock.close()
    return sum(counts)


def slow_clients(port: int, count: int, stop: threading.Event) -> threading.Thread:
    """Keep clients that send one byte of their body a second."""
    socks = [connect(port) for _ in range(count)]
    for sock in socks:
        sock.sendall(_SLOW)

    def trickle() -> None:
        while not stop.wait(1.0):
            for sock in socks:
                sock.sendall(b"x")

    thread = threading.Thread(target=trickle)
    thread.start()
    return thread


def measure(port: int, pid: int, seconds: float) -> dict[str, object]:
    """Run the three measurements."""
    pids = family(pid)
    load(port, 8, 1.0)
    result: dict[str, object] = {}
    before = cpu_s(pids)
    count = load(port, 8, seconds)
    result["rps"] = round(count / seconds)
    result["cpu_us"] = round((cpu_s(pids) - before) / count * 1e6, 1)
    stop = threading.Event()
    thread = slow_clients(port, 200, stop)
    time.sleep(2)
    before = cpu_s(pids)
    slow = load(port, 8, seconds)
    result["slow_bodies_share"] = round(slow / count, 2)
    result["slow_bodies_cpu_us"] = round((cpu_s(pids) - before) / max(slow, 1) * 1e6, 1)
    stop.set()
    thread.join()
    waiting = [connect(port) for _ in range(500)]
    for sock in waiting:
        sock.sendall(_WAIT)
    time.sleep(2)
    result["polls_share"] = round(load(port, 8, seconds) / count, 2)
    result["polls_memory_mb"] = memory_mb(pids)
    for _ in range(40):  # often enough to reach each worker
        with connect(port) as trigger:
            trigger.sendall(b"GET /go HTTP/1.1\r\nHost: mdm.example.com\r\n\r\n")
            trigger.recv(65536)
    answered = 0
    for sock in waiting:
        sock.settimeout(10)
        try:
            answered += b"200 OK" in sock.recv(65536)
        except OSError:
            break
    result["polls_answered"] = answered
    return result


def main() -> None:
    """Start the server, measure, stop it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("own", "gthread", "gevent"))
    parser.add_argument("--threads", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(Path(__file__).parent / "serve.py"), options.kind, str(port), folder]
        command += [str(options.workers), str(options.threads)]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while True:
            try:
                connect(port).close()
                break
            except OSError:
                time.sleep(0.05)
        time.sleep(1)
        try:
            result = measure(port, server.pid, options.seconds)
            print(json.dumps({"kind": options.kind, "threads": options.threads, **result}))
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()

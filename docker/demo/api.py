"""A small real API: /orders asks PostgreSQL through psql, /visits counts in Redis, /health answers for itself alone."""
import json
import os
import signal
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def orders():
    """All orders, as psql prints them (PGHOST and the like come from portcullis.toml)."""
    query = "SELECT coalesce(json_agg(o ORDER BY id), '[]') FROM orders o"
    done = subprocess.run(["psql", "-X", "-A", "-t", "-c", query], capture_output=True, text=True, timeout=5, check=True)
    return json.loads(done.stdout)


def visits():
    """Counts one more visit, in the protocol of Redis spoken by hand."""
    address = (os.environ["REDIS_HOST"], int(os.environ.get("REDIS_PORT", "6379")))
    with socket.create_connection(address, timeout=5) as connection:
        replies = connection.makefile("rb")
        for command in (["AUTH", os.environ["REDIS_PASSWORD"]], ["INCR", "visits"]):
            words = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in command)
            connection.sendall(f"*{len(command)}\r\n{words}".encode())
            reply = replies.readline().decode().strip()
            if reply.startswith("-"):
                raise RuntimeError("redis refused the command")
    return int(reply[1:])


class Api(BaseHTTPRequestHandler):
    """Three paths, JSON each."""

    def do_GET(self):
        paths = {"/health": lambda: "ok", "/orders": orders, "/visits": visits}
        code, body = 404, {"error": "no such path"}
        if self.path in paths:
            try:
                code, body = 200, {self.path[1:]: paths[self.path]()}
            except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                code, body = 503, {"error": type(error).__name__}
        text = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
ThreadingHTTPServer((os.environ.get("API_LISTEN_HOST", "127.0.0.1"), int(os.environ.get("API_LISTEN_PORT", "5001"))), Api).serve_forever()

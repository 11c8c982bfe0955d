"""Heartbeats as portcullis sends them: its own script, and enough of Redis' protocol to send it over thousands of connections."""
import hashlib, socket
from measuring import ROOT

SCRIPT = open(f"{ROOT}/src/heartbeat/beat.lua").read()
DIGEST = hashlib.sha1(SCRIPT.encode()).hexdigest()
KEY = "api_service_status"
TAG = "portcullis:{%s}" % KEY

def packed(*words):
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        word = str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)

def beat(number, sequence, state, take, ttl=60):
    """One heartbeat of one instance; the script has to be loaded."""
    name = f"api-7d9f6c8b5-{number:05d}"
    payload = ('{"v":1,"service":"api","instance":"%s","state":"UP","phase":"running","since":1760000000000,"seq":%d,"mode":"api",'
               '"version":"0.1.0","host":"%s","addr":"10.0.0.7","ttl":%d,"interval":20,"reason":null}' % (name, sequence, name, ttl))
    return packed("EVALSHA", DIGEST, 4, KEY, TAG + ":ready", TAG + ":all", f"{TAG}:i:{name}", name, f"{number:016x}", sequence, state,
                  ttl * 1000, payload, take, TAG + ":events", 0)

class Link:
    """A connection, without a buffer of its own so that thousands cost this process little."""

    def __init__(self, kind, address):
        self.socket = socket.socket(kind)
        self.socket.connect(address)
        self.left = b""

    def send(self, told):
        self.socket.sendall(told)

    def line(self):
        while b"\r\n" not in self.left:
            self.left += self.socket.recv(65536)
        line, self.left = self.left.split(b"\r\n", 1)
        return line

    def bytes(self, count):
        while len(self.left) < count:
            self.left += self.socket.recv(65536)
        told, self.left = self.left[:count], self.left[count:]
        return told

    def answer(self):
        line = self.line()
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise SystemExit(rest.decode())
        if kind == b"$":
            return self.bytes(int(rest) + 2)[:-2] if rest != b"-1" else None
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest

    def ask(self, *words):
        self.send(packed(*words))
        return self.answer()

    def info(self, field):
        for line in self.ask("INFO").decode().splitlines():
            if line.startswith(field + ":"):
                return line.split(":", 1)[1]

    def beats(self, batch):
        """Sends these in one go; each has to be applied."""
        self.send(b"".join(batch))
        for _ in batch:
            assert self.answer()[0] == 1

    def fill(self, instances, ttl=60):
        """Records so many ready instances."""
        self.ask("SCRIPT", "LOAD", SCRIPT)
        for first in range(0, instances, 100):
            numbers = range(first, min(first + 100, instances))
            self.beats([beat(number, 1, "UNKNOWN", 1, ttl) for number in numbers])
            self.beats([beat(number, 2, "READY", 0, ttl) for number in numbers])
        assert self.ask("ZCARD", f"{TAG}:ready") == instances

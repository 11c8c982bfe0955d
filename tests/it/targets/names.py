"""A name server for a namespace of a test. Each line of the rules: NAME TYPE ANSWER. ANSWER: addresses with commas, alias=NAME,
NXDOMAIN SERVFAIL NOTIMP REFUSED FORMERR, or drop. What no rule names is NXDOMAIN. Each question is a line of the log."""
import socket, struct, sys, threading

CODES = {"FORMERR": 1, "SERVFAIL": 2, "NXDOMAIN": 3, "NOTIMP": 4, "REFUSED": 5}
rules, log = {}, open(sys.argv[2], "a", buffering=1)
for line in open(sys.argv[1]):
    name, kind, answer = line.split()
    rules[name, kind] = answer


def encoded(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


def records(answer, kind, owner=b"\xc0\x0c"):
    if answer == "NODATA":
        return []
    if answer.startswith("alias="):
        alias = answer[6:]
        further = rules.get((alias, kind), "NODATA")
        return [owner + struct.pack(">HHIH", 5, 1, 5, len(encoded(alias))) + encoded(alias)] + records(further, kind, encoded(alias))
    family, number = (socket.AF_INET, 1) if kind == "A" else (socket.AF_INET6, 28)
    data = [socket.inet_pton(family, address) for address in answer.split(",")]
    return [owner + struct.pack(">HHIH", number, 1, 5, len(each)) + each for each in data]


def answered(question, tcp):
    at, parts = 12, []
    while question[at]:
        parts.append(question[at + 1 : at + 1 + question[at]].decode())
        at += question[at] + 1
    name, kind = ".".join(parts), {1: "A", 28: "AAAA"}[struct.unpack(">H", question[at + 1 : at + 3])[0]]
    answer = rules.get((name, kind), "NXDOMAIN")
    log.write(f"{name} {kind} {'tcp' if tcp else 'udp'}\n")
    if answer == "drop":
        return None
    code = CODES.get(answer, 0)
    found = [] if code else records(answer, kind)
    head = question[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(found), 0, 0)
    reply = head + question[12 : at + 5] + b"".join(found)
    if len(reply) > 512 and not tcp:
        reply = question[:2] + struct.pack(">HHHHH", 0x8380, 1, 0, 0, 0) + question[12 : at + 5]
    return reply


def over_tcp(server):
    while True:
        stream = server.accept()[0]
        length = struct.unpack(">H", stream.recv(2))[0]
        reply = answered(stream.recv(length), True)
        if reply:
            stream.sendall(struct.pack(">H", len(reply)) + reply)
        stream.close()


tcp = socket.create_server(("127.0.0.1", 53))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 53))
# Who listens where the names point to.
listeners = [socket.create_server(("127.0.0.9", 7000)), socket.create_server(("::1", 7001), family=socket.AF_INET6)]
threading.Thread(target=over_tcp, args=(tcp,), daemon=True).start()
print("listening", flush=True)
while True:
    question, peer = udp.recvfrom(4096)
    reply = answered(question, False)
    if reply:
        udp.sendto(reply, peer)

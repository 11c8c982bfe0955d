"""What the parts of scripts/bench share: free ports, private servers, started processes, and what the kernel counts of a process."""
import os, re, resource, shutil, signal, socket, statistics, subprocess, tempfile, threading, time

BIN = os.environ.get("PORTCULLIS_BIN")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
QUIET = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

# Connections and children of a thousand pieces.
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]

def until(what, test, seconds=30, pause=0.0002):
    end = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < end, what
        time.sleep(pause)

def fetch(port, path="/livez"):
    """The whole response, head and body; none where nothing answers."""
    told = b""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n".encode())
            while piece := s.recv(65536):
                told += piece
    except OSError:
        return None
    return told

def answers(port, path="/livez"):
    told = fetch(port, path)
    return told is not None and b" 200 " in told[:20]

def processor(*pids):
    """Seconds of processor time of all threads of these processes; that of a thread that ended is not counted."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            try:
                total += int(open(f"/proc/{pid}/task/{task}/schedstat").read().split()[0])
            except OSError:
                pass
    return total / 1e9

def family(pid):
    children = open(f"/proc/{pid}/task/{pid}/children").read().split()
    return [pid, *map(int, children)]

def memory(*pids):
    """Bytes of these processes together: Rss, Pss, Anonymous."""
    rollups = [open(f"/proc/{pid}/smaps_rollup").read() for pid in pids]
    return {name: sum(int(re.search(rf"^{name}:\s+(\d+)", rollup, re.M)[1]) for rollup in rollups) * 1024 for name in ("Rss", "Pss", "Anonymous")}

def anonymous(*pids):
    return memory(*pids)["Anonymous"]

def highest(pid):
    """The most bytes that were ever resident."""
    return int(re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{pid}/status").read())[1]) * 1024

def read_from_disk(*programs):
    """Their pages are then in the cache as a container's first start leaves them, and not in pieces, as a linker or a package manager wrote them;
    a start differs by a fifth."""
    for program in programs:
        with open(shutil.which(program), "rb", buffering=0) as file:
            os.fsync(file)
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while file.read(1 << 20):
                pass

def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]

def ratio(own, peer):
    """The median quotient of pairs that were measured in turns."""
    return statistics.median(one / other for one, other in zip(own, peer, strict=True))

class Lab:
    """A folder and the processes that were started with it; both are gone at its end."""

    def __init__(self):
        self.work = tempfile.mkdtemp(prefix="portcullis-bench.")
        self.started = []
        os.chmod(self.work, 0o755)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.started):
            self.stop(process)
        shutil.rmtree(self.work, ignore_errors=True)

    def start(self, argv, **options):
        process = subprocess.Popen(argv, **{**QUIET, **options})
        self.started.append(process)
        return process

    def stop(self, process, number=signal.SIGTERM):
        """Ends it; one that was frozen is continued. PostgreSQL ends at once by INT only."""
        for number in (number, signal.SIGCONT):
            process.send_signal(number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.started = [other for other in self.started if other is not process]

    def file(self, name, text):
        path = f"{self.work}/{name}"
        with open(path, "w") as file:
            file.write(text)
        return path

    def run(self, config="", command=("sleep", "600"), port=None, env={}, **options):
        """`portcullis run` with this configuration and a health endpoint on this port."""
        port = port or free_port()
        env = {"PATH": os.environ["PATH"], "PORTCULLIS_HEALTH__LISTEN": f"127.0.0.1:{port}", "PORTCULLIS_HEALTH__SOCKET": f"@bench-{port}", **env}
        path = self.file(f"{port}.toml", config)
        return self.start([BIN, "run", *(["-c", path] if config else []), "--", *command], env=env, cwd=self.work, **options), port

    def redis(self, port=None, *options):
        port = port or free_port()
        server = self.start(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", self.work, *options])
        return server, port

    def postgres(self, port=None):
        """A PostgreSQL that refuses root, so as nobody; the data stay for the next start."""
        home, port, tools = f"{self.work}/postgres", port or free_port(), os.environ["POSTGRES_BIN"]
        unprivileged = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"] if os.getuid() == 0 else []
        if not os.path.exists(home):
            os.mkdir(home)
            if unprivileged:
                os.chown(home, 65534, 65534)
            words = [*unprivileged, f"{tools}/initdb", "-D", f"{home}/data", "-U", "postgres", "-A", "trust", "-N"]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd="/")
        words = [f"{tools}/postgres", "-D", f"{home}/data", "-p", str(port), "-k", home, "-c", "listen_addresses=127.0.0.1"]
        return self.start([*unprivileged, *words], cwd="/"), port

    def listener(self):
        """A port that accepts and closes, in a process of its own."""
        code = ("import socket\ns = socket.create_server(('127.0.0.1', 0), backlog=4096)\nprint(s.getsockname()[1], flush=True)\n"
                "while True: s.accept()[0].close()")
        process = self.start(["python3", "-c", code], stdout=subprocess.PIPE)
        return int(process.stdout.readline())

def most_connections():
    """The key of [health] that sets the number of connections, as docs/reference.md has it; none without one."""
    section = open(f"{ROOT}/docs/reference.md").read().split("\n## `[health]`\n")[1].split("\n## ")[0]
    found = re.search(r"^\| `(\w*connections\w*)` \|", section, re.M)
    return found and found[1]

def in_background(work):
    """Runs `work(over)` on a thread; returns a function that sets the event `over` and waits for it."""
    over = threading.Event()
    thread = threading.Thread(target=work, args=(over,), daemon=True)
    thread.start()

    def end():
        over.set()
        thread.join()
    return end

"""Packs binaries, man pages and completions into what scripts/release publishes. The same input gives the same bytes.

    package.py SOURCE DIST MACHINE...     reads DIST/work/MACHINE/portcullis and sbom.json, and DIST/work/pages
"""

import base64
import datetime
import email.utils
import gzip
import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import textwrap
import time
import tomllib
import zipfile

SOURCE, DIST, MACHINES = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
WORK = DIST / "work"
WHEN = int(os.environ["SOURCE_DATE_EPOCH"])
PACKAGE = tomllib.loads((SOURCE / "Cargo.toml").read_text())["package"]
VERSION, SUMMARY = PACKAGE["version"], PACKAGE["description"]
DEBIAN = {"x86_64": "amd64", "aarch64": "arm64"}
MAINTAINER = "the portcullis authors <portcullis@localhost>"
# It is static on purpose: it runs in images without a libc.
OVERRIDES = b"portcullis: statically-linked-binary [usr/bin/portcullis]\nportcullis: shared-library-lacks-prerequisites [usr/bin/portcullis]\n"
OCI = {"x86_64": "amd64", "aarch64": "arm64"}


def tar(members):
    """A tar of (name, bytes, mode), sorted, of root, all of the commit's time; a name that ends in / is a folder."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data, mode in sorted(members):
            entry = tarfile.TarInfo(name.rstrip("/"))
            entry.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            entry.size, entry.mode, entry.mtime, entry.uname, entry.gname = len(data), mode, WHEN, "root", "root"
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def zipped(data):
    """gzip without a name, of no time."""
    return gzip.compress(data, compresslevel=9, mtime=0)


def folders(members):
    """The members with the folders that they lie in."""
    names = {"/".join(name.split("/")[:depth]) + "/" for name, _, _ in members for depth in range(1, name.count("/") + 1)}
    return members + [(name, b"", 0o755) for name in names - {"./"}]


def binary(machine):
    return (WORK / machine / "portcullis").read_bytes()


def pages():
    """(kind, name, bytes) of man pages and completions."""
    return [(path.parent.name, path.name, path.read_bytes()) for path in sorted((WORK / "pages").glob("*/*"))]


def documents():
    """(name, bytes) of the pages for people, with the schema for editors, the example, and the other files that they link to."""
    top = ("README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
    below = [path for folder in ("docs", "docker/example", "docker/entrypoints") for path in (SOURCE / folder).rglob("*") if path.is_file()]
    below.append(SOURCE / "src/presets/dify.toml")
    return [(name, (SOURCE / name).read_bytes()) for name in (*top, *sorted(str(path.relative_to(SOURCE)) for path in below))]


def tarball(machine):
    top = f"portcullis-{VERSION}-{machine}-linux"
    members = [(f"{top}/portcullis", binary(machine), 0o755)]
    members += [(f"{top}/{kind}/{name}", data, 0o644) for kind, name, data in pages()]
    members += [(f"{top}/{name}", data, 0o644) for name, data in documents()]
    (DIST / f"{top}.tar.gz").write_bytes(zipped(tar(folders(members))))


def deb(machine):
    """A Debian binary package (deb(5)): an ar of the format's version, the control archive and the data archive."""
    where = {"_portcullis": "usr/share/zsh/vendor-completions/_portcullis", "portcullis.bash": "usr/share/bash-completion/completions/portcullis",
             "portcullis.fish": "usr/share/fish/vendor_completions.d/portcullis.fish"}
    about = "usr/share/doc/portcullis"
    members = [("./usr/bin/portcullis", binary(machine), 0o755), (f"./{about}/copyright", copyright_file(), 0o644),
               (f"./{about}/changelog.gz", zipped(debian_changelog()), 0o644), ("./usr/share/lintian/overrides/portcullis", OVERRIDES, 0o644)]
    members += [(f"./{about}/{name}", data, 0o644) for name, data in documents() if name != "LICENSE"]
    for kind, name, data in pages():
        if kind == "man":
            members.append((f"./usr/share/man/man1/{name}.gz", zipped(data), 0o644))
        else:
            members.append((f"./{where[name]}", data, 0o644))
    size = sum(len(data) for _, data, _ in members) // 1024 + 1
    described = "\n".join(" " + line for line in textwrap.wrap(SUMMARY, 78))
    control = (f"Package: portcullis\nVersion: {VERSION}\nArchitecture: {DEBIAN[machine]}\nMaintainer: {MAINTAINER}\n"
               f"Installed-Size: {size}\nSection: admin\nPriority: optional\nDescription: entrypoint, init and health endpoint for containers\n{described}\n")
    sums = "".join(f"{hashlib.md5(data).hexdigest()}  {name[2:]}\n" for name, data, _ in sorted(members))
    inner = [("./control", control.encode(), 0o644), ("./md5sums", sums.encode(), 0o644)]
    parts = [("debian-binary", b"2.0\n"), ("control.tar.gz", zipped(tar(inner))), ("data.tar.gz", zipped(tar(folders(members))))]
    out = b"!<arch>\n"
    for name, data in parts:
        out += f"{name:<16}{WHEN:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    (DIST / f"portcullis_{VERSION}_{DEBIAN[machine]}.deb").write_bytes(out)


def copyright_file():
    year = time.gmtime(WHEN).tm_year
    return (f"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nCopyright: Copyright {year} the portcullis authors\n"
            "License: Apache-2.0\n On Debian systems the whole text is in /usr/share/common-licenses/Apache-2.0.\n").encode()


def debian_changelog():
    when = email.utils.formatdate(WHEN)
    return f"portcullis ({VERSION}) stable; urgency=medium\n\n  * CHANGELOG.md beside this file has what changed.\n\n -- {MAINTAINER}  {when}\n".encode()


def wheel(machine):
    """A wheel (PEP 427) whose one script is the binary: `pip install` puts it in PATH."""
    tags = [f"py3-none-{platform}_{machine}" for platform in ("manylinux2014", "manylinux_2_17", "musllinux_1_1")]
    info = f"portcullis-{VERSION}.dist-info"
    name = f"portcullis-{VERSION}-py3-none-manylinux2014_{machine}.manylinux_2_17_{machine}.musllinux_1_1_{machine}.whl"
    metadata = (f"Metadata-Version: 2.1\nName: portcullis\nVersion: {VERSION}\nSummary: {SUMMARY}\nLicense: Apache-2.0\n"
                f"Requires-Python: >=3\nDescription-Content-Type: text/markdown\n\n") + (SOURCE / "README.md").read_text()
    head = "Wheel-Version: 1.0\nGenerator: scripts/release\nRoot-Is-Purelib: false\n" + "".join(f"Tag: {tag}\n" for tag in tags)
    members = [(f"portcullis-{VERSION}.data/scripts/portcullis", binary(machine), 0o755), (f"{info}/METADATA", metadata.encode(), 0o644),
               (f"{info}/WHEEL", head.encode(), 0o644), (f"{info}/licenses/LICENSE", (SOURCE / "LICENSE").read_bytes(), 0o644)]
    digest = lambda data: base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    record = "".join(f"{path},sha256={digest(data)},{len(data)}\n" for path, data, _ in members) + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(DIST / name, "w") as archive:
        for path, data, mode in members + [(f"{info}/RECORD", record.encode(), 0o644)]:
            entry = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
            entry.external_attr, entry.compress_type, entry.create_system = (0o100000 | mode) << 16, zipfile.ZIP_DEFLATED, 3
            archive.writestr(entry, data, compresslevel=9)


def image():
    """An OCI image layout (image-spec 1.1) as a tar: one layer with the binary for each machine, under one index. `docker load` takes it as
    well: for engines that know no index there is the list of images by their architecture (manifest.json, as `docker save` writes it)."""
    blobs, manifests, loaded = {}, [], []

    def blob(data, kind):
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    written = lambda value: json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    when = datetime.datetime.fromtimestamp(WHEN, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    labels = {"org.opencontainers.image.title": "portcullis", "org.opencontainers.image.version": VERSION,
              "org.opencontainers.image.licenses": PACKAGE["license"], "org.opencontainers.image.description": SUMMARY}
    for machine in MACHINES:
        plain = tar([("portcullis", binary(machine), 0o755)])
        layer = blob(zipped(plain), "application/vnd.oci.image.layer.v1.tar+gzip")
        config = {"created": when, "architecture": OCI[machine], "os": "linux", "config": {"Entrypoint": ["/portcullis", "run", "--"], "Labels": labels},
                  "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(plain).hexdigest()]},
                  "history": [{"created": when, "created_by": "scripts/release"}]}
        manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "config": blob(written(config), "application/vnd.oci.image.config.v1+json"), "layers": [layer]}
        loaded.append({"Config": "blobs/sha256/" + manifest["config"]["digest"][7:], "RepoTags": [f"portcullis:{VERSION}-{OCI[machine]}"],
                       "Layers": ["blobs/sha256/" + layer["digest"][7:]]})
        described = blob(written(manifest), "application/vnd.oci.image.manifest.v1+json")
        manifests.append(described | {"platform": {"architecture": OCI[machine], "os": "linux"}})
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests}
    named = blob(written(index), "application/vnd.oci.image.index.v1+json") | {
        "annotations": {"org.opencontainers.image.ref.name": VERSION, "io.containerd.image.name": f"docker.io/library/portcullis:{VERSION}"}}
    top = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [named]}
    members = [(name, data, 0o644) for name, data in blobs.items()]
    members += [("oci-layout", written({"imageLayoutVersion": "1.0.0"}), 0o644), ("index.json", written(top), 0o644), ("manifest.json", written(loaded), 0o644)]
    (DIST / f"portcullis-{VERSION}-oci.tar").write_bytes(tar(folders(members)))


def sbom():
    """The crates in the binaries, without what differs from run to run: a number, a time and a folder."""
    listed = [json.loads((WORK / machine / "sbom.json").read_text()) for machine in MACHINES]
    bom = listed[0]
    if any(other["components"] != bom["components"] for other in listed):
        sys.exit("the binaries do not hold the same crates, so that one list does not say what is in each of them")
    # Of the same crates some need another one on one machine only.
    needs = {}
    for entry in (entry for each in listed for entry in each["dependencies"]):
        needs.setdefault(entry["ref"], set()).update(entry.get("dependsOn", []))
    bom["dependencies"] = [{"ref": ref, "dependsOn": sorted(needed)} for ref, needed in sorted(needs.items())]
    compiler = subprocess.run(["rustc", "--version"], cwd=SOURCE, check=True, capture_output=True, text=True).stdout.strip()
    bom["metadata"]["properties"] = [{"name": "portcullis:compiler", "value": compiler}]
    bom["metadata"].pop("timestamp", None)
    bom.pop("serialNumber", None)
    text = re.sub(r"path\+file://[^#\"]*", "path+file:///portcullis", json.dumps(bom, indent=1, sort_keys=True))
    (DIST / f"portcullis-{VERSION}-sbom.cdx.json").write_text(text + "\n")


for each in MACHINES:
    tarball(each)
    deb(each)
    wheel(each)
image()
sbom()
files = sorted(path for path in DIST.iterdir() if path.is_file())
(DIST / "SHA256SUMS").write_text("".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files))

//! The packages of `scripts/release` with the binary under test: the same bytes twice, and each is installed with its own tool.

use crate::support::portcullis::binary;
use crate::support::{Dir, left_out};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const MACHINES: [&str; 2] = ["x86_64", "aarch64"];

/// Runs a program of the tests to its end and returns what it wrote.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Stands for a program where only the packing counts.
fn small() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")
}

/// The example that writes man pages and completions, which cargo builds with the tests.
fn pages() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples/pages")
}

/// Packs both machines' packages into a folder: the first around this program, the other around something small.
fn packed(into: &Path, program: &Path) {
    let work = into.join("work");
    for (machine, program) in MACHINES.into_iter().zip([program, &small()]) {
        fs::create_dir_all(work.join(machine)).unwrap();
        fs::copy(program, work.join(machine).join("portcullis")).unwrap();
        let bom = json!({
            "serialNumber": format!("urn:uuid:{machine}"),
            "metadata": { "timestamp": machine, "component": { "bom-ref": format!("path+file:///{machine}#portcullis@1") } },
            "components": [{ "name": "cpufeatures" }],
            "dependencies": [{ "ref": "cpufeatures", "dependsOn": if machine == "aarch64" { vec!["libc"] } else { vec![] } }],
        });
        fs::write(work.join(machine).join("sbom.json"), bom.to_string()).unwrap();
    }
    run(Command::new(pages()).arg(work.join("pages")));
    let root = env!("CARGO_MANIFEST_DIR");
    run(Command::new("python3")
        .arg(Path::new(root).join("scripts/package.py"))
        .arg(root)
        .arg(into)
        .args(MACHINES)
        .env("SOURCE_DATE_EPOCH", "1700000000"));
    fs::remove_dir_all(work).unwrap();
}

fn named(folder: &Path, end: &str) -> PathBuf {
    let mut found = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    found.find(|path| path.to_string_lossy().ends_with(end)).unwrap_or_else(|| panic!("no {end} in {}", folder.display()))
}

#[test]
fn the_packages_are_the_same_twice_and_install() {
    if !pages().exists() {
        return left_out("the packages", "cargo built no examples beside the tests");
    }
    let (one, two, three) = (Dir::new(), Dir::new(), Dir::new());
    packed(two.path(), &small());
    packed(three.path(), &small());
    run(Command::new("diff").arg("-r").args([two.path(), three.path()]));
    packed(one.path(), &binary());
    run(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(one.path()));

    let version = run(Command::new(binary()).arg("--version"));
    let answers = |program: PathBuf| assert_eq!(run(Command::new(program).arg("--version")), version);

    let installed = Dir::new();
    run(Command::new("dpkg-deb").arg("--extract").arg(named(one.path(), "_amd64.deb")).arg(installed.path()));
    answers(installed.path().join("usr/bin/portcullis"));
    for file in ["man/man1/portcullis-run.1.gz", "bash-completion/completions/portcullis", "doc/portcullis/copyright"] {
        assert!(installed.path().join("usr/share").join(file).exists(), "{file}");
    }
    let reported = run(Command::new("dpkg-deb").arg("--info").arg(named(one.path(), "_arm64.deb")));
    assert!(reported.contains("Architecture: arm64") && reported.contains("Package: portcullis"), "{reported}");

    let unpacked = Dir::new();
    run(Command::new("tar").arg("-xzf").arg(named(one.path(), "x86_64-linux.tar.gz")).arg("-C").arg(unpacked.path()));
    let top = fs::read_dir(unpacked.path()).unwrap().next().unwrap().unwrap().path();
    answers(top.join("portcullis"));
    for file in ["LICENSE", "docs/configuration.md", "docs/portcullis.schema.json"] {
        assert!(top.join(file).exists(), "{file}");
    }
    for pages in [&top, &installed.path().join("usr/share/doc/portcullis")] {
        assert_eq!(dead_links(pages), Vec::<String>::new());
    }
    bash_completes(&top.join("completions/portcullis.bash"));
    // It reads its options itself, without the library that describes those of the others.
    let healthcheck = [
        ("man/portcullis-healthcheck.1", "\\-\\-level"),
        ("completions/portcullis.bash", "--level"),
        ("completions/portcullis.fish", "-l level"),
    ];
    for (file, option) in healthcheck {
        let text = fs::read_to_string(top.join(file)).unwrap();
        assert!(text.contains(option), "{file} has {option}: {text}");
    }

    let target = Dir::new();
    run(Command::new("python3")
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-index",
            "--no-deps",
            "--disable-pip-version-check",
            "--root-user-action=ignore",
            "--prefix",
        ])
        .arg(target.path())
        .arg(named(one.path(), "x86_64.whl")));
    answers(target.path().join("bin/portcullis"));

    an_image_is_consistent(&named(one.path(), "-oci.tar"));
    let sbom: Value = serde_json::from_str(&fs::read_to_string(named(one.path(), "-sbom.cdx.json")).unwrap()).unwrap();
    assert!(sbom.get("serialNumber").is_none() && sbom["metadata"].get("timestamp").is_none(), "{sbom}");
    assert_eq!(sbom["dependencies"], json!([{ "ref": "cpufeatures", "dependsOn": ["libc"] }]), "what one machine alone needs is listed");
    assert_eq!(sbom["metadata"]["component"]["bom-ref"], "path+file:///portcullis#portcullis@1");
    assert!(sbom["metadata"]["properties"][0]["value"].as_str().unwrap().starts_with("rustc "), "{sbom}");
}

/// The relative links of the pages in a folder, and in `docs` below it, that lead nowhere.
fn dead_links(top: &Path) -> Vec<String> {
    let mut dead = Vec::new();
    for folder in [top.to_owned(), top.join("docs")] {
        for entry in
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "md"))
        {
            let text = fs::read_to_string(&entry).unwrap();
            let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
            let relative = links.filter(|link| !link.is_empty() && !link.contains(':') && !link.contains(char::is_whitespace));
            let missing = relative.filter(|link| !folder.join(link).exists());
            dead.extend(missing.map(|link| format!("{}: {link}", entry.file_name().unwrap().to_string_lossy())));
        }
    }
    dead
}

/// Asks the completions as bash does when tab is pressed at the end of a command line.
#[track_caller]
fn bash_completes(script: &Path) {
    let folder = Dir::new();
    folder.file("some.toml", "");
    let offered = |line: &str| {
        let ask = "source \"$1\"; compopt() { :; }; COMP_WORDS=(${@:2} ''); COMP_CWORD=$(($# - 1)); _portcullis portcullis '' \"${@: -1}\"; echo \"${COMPREPLY[*]}\"";
        let mut bash = Command::new("bash");
        bash.args(["-c", ask, "bash"]).arg(script).args(line.split(' ')).current_dir(folder.path());
        run(&mut bash).split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(offered("portcullis healthcheck --level"), ["live", "ready", "deep"]);
    assert_eq!(offered("portcullis run --signal-scope"), ["child", "group"]);
    for line in ["portcullis preset", "portcullis run --preset"] {
        let presets = offered(line);
        assert!(["django", "dify"].iter().all(|name| presets.iter().any(|preset| preset == name)), "{line}: {presets:?}");
    }
    assert_eq!(offered("portcullis run --config"), ["some.toml"]);
    for line in ["portcullis run --mode", "portcullis wait --timeout", "portcullis healthcheck --listen"] {
        assert_eq!(offered(line), Vec::<String>::new(), "{line}");
    }
}

/// Follows an OCI layout from its index to the layer of each machine; each blob has the digest that it is named by.
#[track_caller]
fn an_image_is_consistent(archive: &Path) {
    let layout = Dir::new();
    run(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(layout.path()));
    let read = |path: &str| serde_json::from_str::<Value>(&fs::read_to_string(layout.path().join(path)).unwrap()).unwrap();
    let blob = |described: &Value| format!("blobs/sha256/{}", described["digest"].as_str().unwrap().trim_start_matches("sha256:"));
    assert_eq!(read("oci-layout")["imageLayoutVersion"], "1.0.0");
    for loaded in read("manifest.json").as_array().unwrap() {
        let tag = loaded["RepoTags"][0].as_str().unwrap();
        let config = read(loaded["Config"].as_str().unwrap());
        assert!(tag.ends_with(&format!("-{}", config["architecture"].as_str().unwrap())), "{tag} {config}");
        assert!(layout.path().join(loaded["Layers"][0].as_str().unwrap()).exists(), "{loaded}");
    }
    for entry in fs::read_dir(layout.path().join("blobs/sha256")).unwrap() {
        let path = entry.unwrap().path();
        let sum = run(Command::new("sha256sum").arg(&path));
        assert!(sum.starts_with(&*path.file_name().unwrap().to_string_lossy()), "{sum}");
    }
    let index = read(&blob(&read("index.json")["manifests"][0]));
    let machines: Vec<&str> =
        index["manifests"].as_array().unwrap().iter().map(|manifest| manifest["platform"]["architecture"].as_str().unwrap()).collect();
    assert_eq!(machines, ["amd64", "arm64"]);
    for manifest in index["manifests"].as_array().unwrap() {
        let manifest = read(&blob(manifest));
        assert_eq!(read(&blob(&manifest["config"]))["config"]["Entrypoint"][0], "/portcullis");
        let listed = run(Command::new("tar").arg("-tvzf").arg(layout.path().join(blob(&manifest["layers"][0]))));
        assert!(listed.starts_with("-rwxr-xr-x root/root") && listed.trim_end().ends_with(" portcullis"), "{listed}");
    }
}

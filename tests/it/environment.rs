//! The environment of the processes, and its values that come from the machine.

use crate::support::{Dir, Portcullis, Stopwatch, eventually, left_out, root, secs, unique};
use std::path::{Path, PathBuf};

/// A cgroup that grants a part of the processors, gone when dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    /// None if this machine does not permit one.
    fn granting(microseconds: u32) -> Option<Self> {
        let (one, two) = (Path::new("/sys/fs/cgroup/cpu"), Path::new("/sys/fs/cgroup"));
        let name = unique("portcullis-it");
        let made = |at: &Path| std::fs::create_dir(at.join(&name)).is_ok().then(|| Self(at.join(&name)));
        let limited = |cgroup: &Self, file: &str, text: String| std::fs::write(cgroup.0.join(file), text).is_ok();
        made(one)
            .filter(|cgroup| limited(cgroup, "cpu.cfs_quota_us", microseconds.to_string()))
            .or_else(|| made(two).filter(|cgroup| limited(cgroup, "cpu.max", format!("{microseconds} 100000"))))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        drop(std::fs::remove_dir(&self.0));
    }
}

#[test]
fn the_processors_are_those_that_the_cgroup_grants() {
    let test = "the_processors_are_those_that_the_cgroup_grants";
    if !root(test) {
        return;
    }
    let config = "[modes.api]\ncommand = ['echo', '${@cpus} of ${@nproc}']\n";
    let count = std::thread::available_parallelism().unwrap();
    let Some(outer) = Cgroup::granting(50_000) else {
        return left_out(test, "no cgroup with a limit of its processors can be made here");
    };
    // Nested, as a container in a pod: what lies above bounds it.
    let inner = Cgroup(outer.0.join("inner"));
    std::fs::create_dir(&inner.0).unwrap();
    for cgroup in [&inner, &outer] {
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", cgroup.0.display());
        let dir = Dir::new();
        let enter = dir.script("enter", &enter).display().to_string();
        let said = Portcullis::new().config(config).through(&enter).output().exits(0).stdout;
        assert!(said.starts_with("1 of "), "{said}");
    }
    drop(inner);
    let said = Portcullis::new().config(config).output().exits(0).stdout;
    assert!(said.starts_with(&format!("{count} of ")), "{said}");
}

#[test]
fn a_process_finds_what_the_configuration_makes_of_its_environment() {
    let dir = Dir::new();
    let token = dir.file("token", "from the file\n");
    std::fs::write(dir.path().join("libb.so.2"), "").unwrap();
    std::fs::write(dir.path().join("liba.so.2"), "").unwrap();
    let config = format!(
        "[env]\nARCH = {{ command = ['sh', '-c', 'echo \"<$$GIVEN>\"; echo passed-on >&2'] }}\nSEEN = '${{ARCH}}!'\nTOKEN = {{ file = '{}' }}\n\
         LIB = {{ glob = '{}/lib*.so.*' }}\nNO = {{ glob = '/no/such/*' }}\nGONE = {{ unset = true }}\nURL = {{ url = 'x://${{U}}@h/' }}\n\
         [modes.api]\ncommand = ['sh', '-c', 'echo \"$$ARCH|$$SEEN|$$TOKEN|$$LIB|$${{NO-unset}}|$${{GONE-unset}}|$$URL\"']\n",
        token.display(),
        dir.path().display()
    );
    let run = Portcullis::new().config(&config).env("GIVEN", "g").env("GONE", "x").env("NO", "x").env("U", "a@b");
    let said = run.output().exits(0).says(&["passed-on"]);
    assert_eq!(said.stdout, format!("<g>|<g>!|from the file|{}/liba.so.2|unset|unset|x://a%40b@h/\n", dir.path().display()));
    assert!(!said.stderr.contains("from the file"), "{}", said.stderr);
}

#[test]
fn commands_that_run_before_the_start_get_no_secret_of_portcullis() {
    let config = "[conditions.leaks]\ncommand = ['sh', '-c', 'echo \"condition <$$PORTCULLIS_HEALTH__TOKEN>\" >&2; test -n \"$$PORTCULLIS_HEALTH__TOKEN\"']\n\
         [env]\nA = { command = ['sh', '-c', 'echo \"<$$PORTCULLIS_HEALTH__TOKEN$$PORTCULLIS_CHECKS__DB__PASSWORD>\"'] }\n\
         B = [{ value = 'leaks', when = { condition = 'leaks' } }, 'keeps']\n[checks.db]\nurl = 'postgres://u@127.0.0.1:1/d'\nwait = '0s'\n\
         [modes.api]\ncommand = ['sh', '-c', 'echo \"$$A|$$B\"']\n";
    let run =
        Portcullis::new().config(config).env("PORTCULLIS_HEALTH__TOKEN", "bearer-t0ken").env("PORTCULLIS_CHECKS__DB__PASSWORD", "pa55word");
    assert_eq!(run.output().exits(0).says(&["condition <>"]).stdout, "<>|keeps\n");
}

#[test]
fn several_replicas_have_one_generated_key() {
    let dir = Dir::new();
    let keep = dir.path().join("key");
    let config = format!(
        "[env]\nSECRET_KEY = {{ generate = 'hex:32', keep = '{}' }}\n[modes.api]\ncommand = ['sh', '-c', 'echo $$SECRET_KEY']\n",
        keep.display()
    );
    let replicas: Vec<_> = (0..4).map(|_| Portcullis::new().config(&config)).collect();
    let keys: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = replicas.into_iter().map(|run| scope.spawn(move || run.output().exits(0).stdout)).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let kept = std::fs::read_to_string(&keep).unwrap();
    assert_eq!(kept.trim_end().len(), 64);
    assert!(keys.iter().all(|key| *key == kept), "{keys:?} {kept}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&keep).unwrap().permissions()) & 0o777, 0o600);
    std::fs::write(&keep, "").unwrap();
    Portcullis::new().config(&config).output().exits(78).says(&["`keep` in [env.SECRET_KEY] names", "which is empty"]);
    std::fs::write(&keep, "of another tool\n").unwrap();
    let said = Portcullis::new().config(&config).output().exits(0).says(&["SECRET_KEY has 15 characters", "and 64 would be generated"]);
    assert_eq!(said.stdout, "of another tool\n");
}

#[test]
fn a_command_that_fails_hangs_or_writes_too_much_is_78_with_the_reason() {
    for (command, words) in [
        ("command = ['false']", "ended with"),
        ("command = ['no-such-program']", "was not found"),
        ("command = ['sleep', '600'], timeout = '100ms'", "did not end within 100ms"),
        ("command = ['sh', '-c', 'yes | head -c 70000']", "writes more than 64 KiB"),
    ] {
        let config = format!("[env]\nA = {{ {command} }}\n[modes.api]\ncommand = ['true']\n");
        Portcullis::new().config(&config).output().exits(78).says(&["`command` in [env.A]", words]);
    }
}

#[test]
fn the_end_of_a_command_is_noticed_at_once() {
    let mut config = "[env]\n".to_owned();
    for number in 0..30 {
        config += &format!("A{number} = {{ command = ['true'] }}\n");
    }
    // What it leaves behind keeps its pipe open.
    config += "LEFT = { command = ['sh', '-c', 'sleep 600 & echo left'] }\n[modes.api]\ncommand = ['sh', '-c', 'echo $$LEFT']\n";
    let watch = Stopwatch::start();
    assert_eq!(Portcullis::new().config(&config).output().exits(0).stdout, "left\n");
    assert!(watch.elapsed() < secs(20), "{:?} for 31 commands", watch.elapsed());
}

#[test]
fn a_term_while_a_command_runs_ends_the_run() {
    let dir = Dir::new();
    let here = dir.path().join("here");
    let config =
        format!("[env]\nA = {{ command = ['sh', '-c', 'touch {} && exec sleep 600'] }}\n[modes.api]\ncommand = ['true']\n", here.display());
    let mut running = Portcullis::new().config(&config).start();
    eventually("the command runs", secs(20), || here.exists().then_some(()));
    running.signal(libc::SIGTERM);
    running.exits(143);
}

#[test]
fn a_key_is_kept_once_nothing_refuses_the_start() {
    let dir = Dir::new();
    let keep = dir.path().join("key");
    let env = format!("[env]\nSECRET_KEY = {{ generate = 'hex:32', keep = '{}' }}\n", keep.display());
    let refused = format!("{env}[[refuse]]\nwhen = {{ args = false }}\nmessage = 'no'\ncode = 3\n[modes.api]\ncommand = ['true']\n");
    Portcullis::new().config(&refused).output().exits(3).says(&["no"]);
    let wrong = format!("{env}[modes.api]\ncommand = ['true']\nnonsense = 1\n");
    Portcullis::new().config(&wrong).output().exits(78).says(&["nonsense"]);
    Portcullis::new().config(&format!("{env}[modes.api]\ncommand = ['no-such-program']\n")).output().exits(127).says(&["no-such-program"]);
    assert!(!keep.exists(), "a start that is refused has made nothing");
    let nowhere = env.replace("/key", "/none/key");
    Portcullis::new()
        .config(&format!("{nowhere}[modes.api]\ncommand = ['true']\n"))
        .output()
        .exits(78)
        .says(&["its directory has to be there"]);
    let two = format!(
        "{env}OTHER = {{ generate = 'hex:32', keep = '{}' }}\n[modes.api]\ncommand = ['sh', '-c', 'echo $$SECRET_KEY $$OTHER']\n",
        keep.display()
    );
    let said = Portcullis::new().config(&two).output().exits(0).stdout;
    let kept = std::fs::read_to_string(&keep).unwrap();
    assert_eq!(said.trim_end(), format!("{0} {0}", kept.trim_end()), "one file keeps one value");
}

#[test]
fn a_term_while_a_condition_is_evaluated_ends_the_run() {
    let dir = Dir::new();
    let here = dir.path().join("here");
    let config = format!(
        "[conditions]\nslow = {{ command = ['sh', '-c', 'touch {} && exec sleep 600'] }}\n[modes.api]\ncommand = ['true']\n",
        here.display()
    );
    let mut running = Portcullis::new().config(&config).start();
    eventually("the command runs", secs(20), || here.exists().then_some(()));
    running.signal(libc::SIGTERM);
    running.exits(143);
    running.leaves_nothing();
}

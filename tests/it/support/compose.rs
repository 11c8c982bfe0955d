//! docker/example, or Dify's repository, on the engine of one test: their unchanged files, with images that are built here because none can
//! be pulled.

use super::docker::{Container, Engine};
use super::portcullis::binary;
use super::{left_out, variable};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Passwords that a shell, a URL and a template would each read as something else.
const PASSWORDS: [(&str, &str); 2] = [("DB_PASSWORD", "p w:%/@$x#"), ("REDIS_PASSWORD", "r:e/d@%20")];

/// The shop of docker/example, or another project of compose.
pub struct Shop {
    engine: Engine,
    project: &'static str,
    directory: PathBuf,
    variables: &'static [(&'static str, &'static str)],
}

impl Shop {
    /// Makes the images. Nothing where no engine can run here, which is said.
    pub fn open(test: &str) -> Option<Self> {
        let mut shop = Self::with_servers(test, "shop", ["postgres:17", "redis:8"])?;
        shop.directory = repository("docker/example");
        shop.variables = &PASSWORDS;
        shop.build("shop", &shop.directory);
        Some(shop)
    }

    /// A project in an empty directory, with the image of portcullis and of its servers under the names that it gives them.
    pub fn with_servers(test: &str, project: &'static str, [postgres, redis]: [&str; 2]) -> Option<Self> {
        let engine = Engine::networked(test)?;
        let Some(debian) = variable("PORTCULLIS_DEBIAN").map(PathBuf::from) else {
            left_out(test, "no image of Debian; scripts/test --all makes one");
            return None;
        };
        let directory = engine.dir().join(project);
        fs::create_dir(&directory).expect("create the directory of the project");
        let shop = Self { engine, project, directory, variables: &[] };
        shop.engine.succeeds(&["import", debian.to_str().expect("a path of ours"), "debian:bookworm-slim"]);
        shop.build(postgres, &repository("tests/it/docker/images/postgres"));
        shop.build(redis, &repository("tests/it/docker/images/redis"));
        shop.build("portcullis", &shop.portcullis());
        Some(shop)
    }

    /// Where the project is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The last stage of docker/Dockerfile over the binary under test, which stands for the first one: that has no network here.
    fn portcullis(&self) -> PathBuf {
        let context = self.engine.dir().join("portcullis");
        let dockerfile = fs::read_to_string(repository("docker/Dockerfile")).expect("docker/Dockerfile");
        let last = dockerfile.find("\nFROM scratch\n").expect("its last stage");
        fs::create_dir(&context).expect("create the context");
        fs::copy(binary(), context.join("portcullis")).expect("copy portcullis");
        let text = format!("FROM scratch AS build\nCOPY portcullis /portcullis\n{}", &dockerfile[last..]);
        fs::write(context.join("Dockerfile"), text).expect("write the Dockerfile");
        context
    }

    fn build(&self, image: &str, context: &Path) {
        self.engine.succeeds(&["build", "--network", "none", "--tag", image, context.to_str().expect("a path of ours")]);
    }

    /// `docker-compose ARGS` in the directory of the project; hands back what it prints, fails unless it succeeds.
    #[track_caller]
    pub fn compose(&self, args: &[&str]) -> String {
        self.reported("docker-compose", &[&["--project-name", self.project], args].concat())
    }

    /// `docker stack deploy` of docker/example/swarm.yaml, and what has to be otherwise on a kernel that spreads no connections (`ip_vs`).
    pub fn deploy(&self) {
        let otherwise =
            "version: \"3.8\"\nservices:\n  db: { deploy: { endpoint_mode: dnsrr } }\n  redis: { deploy: { endpoint_mode: dnsrr } }\n";
        let file = self.engine.dir().join("otherwise.yaml");
        fs::write(&file, otherwise).expect("write what is otherwise");
        self.reported("docker", &["swarm", "init", "--advertise-addr", "127.0.0.1"]);
        self.reported("docker", &["stack", "deploy", "-c", "swarm.yaml", "-c", file.to_str().expect("a path of ours"), "shop"]);
    }

    /// A client of the engine in the directory of the project, with its passwords in the environment.
    #[track_caller]
    pub fn reported(&self, program: &str, args: &[&str]) -> String {
        let mut command = self.engine.client(program);
        command.current_dir(&self.directory).envs(self.variables.iter().copied()).args(args);
        let done = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{program} {args:?}: {said}\n{}", String::from_utf8_lossy(&done.stderr));
        said
    }

    /// `docker ARGS`; hands back what it prints, fails unless it succeeds.
    #[track_caller]
    pub fn docker(&self, args: &[&str]) -> String {
        self.engine.succeeds(args)
    }

    /// The exit code of `docker ARGS`.
    pub fn code(&self, args: &[&str]) -> Option<i32> {
        self.engine.client("docker").args(args).output().expect("run docker").status.code()
    }

    /// A container by its service and number.
    pub fn container(&self, name: &str) -> Container<'_> {
        self.engine.container(&format!("{}_{name}", self.project))
    }

    /// Asks the api from within one of its containers.
    #[track_caller]
    pub fn ask(&self, api: &str, method: &str, path: &str) -> Value {
        let python = "import sys, urllib.request as u; print(u.urlopen(u.Request('http://127.0.0.1:5001' + sys.argv[2], method=sys.argv[1])).read().decode())";
        let done = self.container(api).exec(&["python3", "-c", python, method, path]);
        serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&done.stderr)))
    }

    /// Ends the engine with all it runs.
    pub fn close(mut self) {
        self.engine.end();
    }
}

/// A path of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

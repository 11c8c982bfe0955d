//! The cases of one script: its image, and each start.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use toml::de::{DeTable, DeValue};

/// A script, its image and its cases: `NAME.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    pub script: Script,
    pub image: Image,
    /// What the configuration does otherwise, on purpose, in every case.
    #[serde(default)]
    pub otherwise: Otherwise,
    #[serde(rename = "cases")]
    pub all: Vec<Case>,
    /// What is waited for, in some of them.
    #[serde(default)]
    pub waits: Vec<Wait>,
}

/// What is waited for in one case, before all calls that follow.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    pub case: String,
    /// The calls by which the script waits, the first of which counts; none: it does not wait, and here all is waited for first.
    #[serde(default)]
    pub calls: Vec<String>,
    /// The checks that are waited for, as they are logged: `db (postgres://app@db:5432/app)`.
    pub checks: Vec<String>,
}

/// Where the script is read, which is nowhere in this repository.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    pub repository: String,
    /// The first is the one that a row of the table names.
    pub paths: Vec<String>,
    pub commit: String,
    /// The lines of all paths together.
    pub lines: usize,
    /// How it is started; `{dir}` is where its files lie.
    pub start: Vec<String>,
    /// A program of ours at /box/driver that calls the script's parts as its supervisor does.
    #[serde(default)]
    pub driver: String,
}

/// What the image has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    pub directory: PathBuf,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// `UID:GID` of the container.
    #[serde(default = "as_root")]
    pub user: String,
    /// Lines of /etc/passwd without shell and words, each with a group of its name: `app:1000:1000:/home/app`.
    #[serde(default)]
    pub accounts: Vec<String>,
    /// Stand-ins: a name (in /usr/local/bin) or a path.
    pub programs: Vec<String>,
    /// Stand-ins whose calls are no facts.
    #[serde(default)]
    pub quiet: Vec<String>,
    #[serde(default)]
    pub files: BTreeMap<PathBuf, Entry>,
    /// Files and directories that are looked at afterwards.
    #[serde(default)]
    pub look: Vec<PathBuf>,
    /// Variables whose value is random.
    #[serde(default)]
    pub random: Vec<String>,
    /// Files whose content is random.
    #[serde(default)]
    pub random_files: Vec<PathBuf>,
    /// Calls that come in no order among themselves, after all others.
    #[serde(default)]
    pub together: Vec<String>,
    #[serde(default)]
    pub does: Vec<Rule>,
    /// Keys of portcullis that a run without servers has otherwise, as `CHECKS__DB__WAIT = "0s"`.
    #[serde(default)]
    pub without_servers: BTreeMap<String, String>,
    /// Without checks, heartbeat and health endpoint; modules need them.
    #[serde(default = "yes")]
    pub bare: bool,
}

/// Something in the file system: a file by its text, or in full detail.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    Text(String),
    Full {
        text: Option<String>,
        link: Option<PathBuf>,
        /// Octal.
        mode: Option<String>,
        /// `UID:GID`.
        owner: Option<String>,
        /// A unix socket without a listener.
        #[serde(default)]
        socket: bool,
    },
}

/// What a stand-in does when it is called so.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The program and its arguments, as a pattern of bash.
    pub call: String,
    #[serde(default)]
    pub exit: u8,
    /// What it prints.
    #[serde(default)]
    pub says: String,
    /// It runs until it is ended.
    #[serde(default)]
    pub stays: bool,
    /// Only the first so many calls; 0: all.
    #[serde(default)]
    pub first: u32,
}

/// What the configuration does otherwise than the script, on purpose; its head comment says why.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Otherwise {
    /// Variables that are left out of the comparison.
    #[serde(default)]
    pub env: Vec<String>,
    /// Variables that are left out of the comparison of certain calls, by a pattern of these.
    #[serde(default)]
    pub env_of: BTreeMap<String, Vec<String>>,
    /// Calls that only the script makes, as by a loop that waits.
    #[serde(default)]
    pub without: Vec<String>,
    /// Calls that only portcullis makes.
    #[serde(default)]
    pub with: Vec<String>,
    /// The exit code; -1: it runs until it is ended.
    pub exit: Option<i32>,
    /// How many of the script's calls come, where a start is refused sooner than the script refuses it.
    pub calls: Option<usize>,
    /// Files that are left out of the comparison.
    #[serde(default)]
    pub files: Vec<PathBuf>,
    /// Files whose mode is left out of it, as where a secret is kept from others.
    #[serde(default)]
    pub modes: Vec<PathBuf>,
    /// In words.
    #[serde(default)]
    pub why: String,
}

/// One start.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    #[serde(default)]
    pub args: Vec<String>,
    /// Those of portcullis where they are others: an image with another entrypoint has another command, too.
    pub here: Option<Vec<String>>,
    /// As that of the image.
    pub bare: Option<bool>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    pub user: Option<String>,
    #[serde(default)]
    pub files: BTreeMap<PathBuf, Entry>,
    /// Stand-ins beside those of the image.
    #[serde(default)]
    pub programs: Vec<String>,
    /// Files and stand-ins of the image that are not there.
    #[serde(default)]
    pub missing: Vec<PathBuf>,
    #[serde(default)]
    pub does: Vec<Rule>,
    #[serde(default)]
    pub otherwise: Otherwise,
}

fn as_root() -> String {
    "0:0".to_owned()
}

fn yes() -> bool {
    true
}

impl Cases {
    /// # Panics
    /// Where the file is not there or says something else than this.
    pub fn read(name: &str) -> Self {
        let path = super::beside(&format!("{name}.toml"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn parse(text: &str) -> Result<Self, String> {
        let table = DeTable::parse(text).map_err(|error| error.to_string())?;
        serde_json::from_value(json(&DeValue::Table(table.into_inner()))).map_err(|error| error.to_string())
    }

    /// The variables that the container is started with.
    pub fn env(&self, case: &Case) -> BTreeMap<String, String> {
        self.image.env.iter().chain(&case.env).map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// TOML as JSON, whose reader is there anyway.
fn json(value: &DeValue<'_>) -> serde_json::Value {
    match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => number.as_str().parse::<i64>().expect("a decimal number").into(),
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref()))).collect(),
        DeValue::Float(_) | DeValue::Datetime(_) => panic!("neither fractions nor dates are known here"),
    }
}

//! `[[files]]`: files, directories and links that are written, copied, created, removed or changed before the process is started.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::condition::Condition;
use crate::config::interpolate::Text;
use crate::config::step::{OnFailure, StepAt};
use crate::config::values::{Deferred, FileMode, Maybe};

/// A file, a directory or a link, and its required state when the process is started: exactly one of `template`, `content`, `copy`, `directory`,
/// `link` and `remove`, or none to change an existing file. What is already correct is not touched, so it need not be writable.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "file", deny_unknown_fields)]
pub struct File {
    /// Its contents.
    #[serde(flatten)]
    pub what: What,
    /// Owner and permissions.
    #[serde(flatten)]
    pub access: FileAccess,
    /// When it is applied.
    #[serde(flatten)]
    pub turn: Turn,
}
crate::union!(File { what: What, access: FileAccess, turn: Turn });

/// The path of a file, and its contents.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct What {
    /// The path. Missing parent directories are created.
    #[schemars(required)]
    pub path: Maybe<Text>,
    /// Write the contents of this file, with variables replaced. It is read when this entry is applied. Without `variables` every `${NAME}` is
    /// replaced as in the configuration, `$${` gives `${`, and any other `$` stays.
    pub template: Maybe<Text>,
    /// Write this text.
    pub content: Deferred<Text>,
    /// Copy this file or directory; links in it are copied as links. What is already the same is not written.
    pub copy: Maybe<Text>,
    /// Create a directory (`true`).
    pub directory: Option<bool>,
    /// Create a symbolic link to this path.
    pub link: Maybe<Text>,
    /// Remove it with everything below it (`true`).
    pub remove: Option<bool>,
    /// The variables that are replaced in `template` or `content`, as `envsubst` replaces them: `$NAME` and `${NAME}`, and the forms with a default;
    /// an unset one becomes empty, everything else stays. `NAME_*` and `*` match variables that are set.
    pub variables: Option<Vec<Text>>,
    /// How an unset variable of `template` without a default is replaced, if no `variables` are listed.
    pub unset_variables: Unset,
    /// Whether the text is appended to the existing file, unless the file contains it already.
    pub append: bool,
    /// Texts that are replaced in `template`, `content` or `copy`, or in the existing file.
    pub replace: Deferred<Vec<Replace>>,
    /// Whether entries that the source does not have are deleted from a copied directory.
    pub delete: bool,
    /// Entries that are neither copied nor deleted: names, or paths below the source that begin with `/`; `*` matches any text.
    pub exclude: Vec<Text>,
}

/// How an unset variable without a default is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Unset {
    /// Not at all: the start ends and reports the variable with its line number.
    #[default]
    Error,
    /// By nothing, as in a shell and with `envsubst`.
    Empty,
}

/// Owner and permissions of a file.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FileAccess {
    /// Its permissions, octal or in the form of `chmod`; by default those of the existing file, else the usual ones of a new file.
    pub mode: Option<FileMode>,
    /// Its owner: `user`, `user:group`, `:group` or numbers, from `/etc/passwd` and `/etc/group` of the image.
    pub owner: Maybe<Text>,
    /// Whether `owner` and `mode` apply to everything below it, too. Links are not followed, and other file systems are not entered.
    pub recursive: bool,
    /// Whether an existing file is left unchanged; in a copied directory, each existing file.
    pub keep: bool,
    /// Whether only its owner may read it (0600); by default if it contains a secret, and it then belongs to the user of the process.
    pub secret: Option<bool>,
}

/// When and whether a file is written.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Turn {
    /// Whether it is applied; by default always. The condition is tested when this entry is reached.
    pub when: Deferred<Condition>,
    /// The modes in which it is applied; by default all.
    pub modes: Option<Vec<Text>>,
    /// The point of the start at which it is applied: `files` is before everything else.
    pub at: Option<StepAt>,
    /// Whether it is also applied before an ad-hoc command.
    pub own: bool,
    /// What a failure means for the start.
    pub on_failure: Option<OnFailure>,
}

/// A text that replaces every occurrence of another one.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "replacement")]
pub struct Replace {
    /// The text to replace, literally.
    #[schemars(required)]
    pub from: Maybe<Text>,
    /// The replacement.
    pub to: Text,
    /// Whether the text may be missing.
    pub optional: bool,
}

//! `[[files]]`: what is written, copied, made, removed or given to somebody before the process is started.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::condition::Condition;
use crate::config::interpolate::Text;
use crate::config::step::{OnFailure, StepAt};
use crate::config::values::{Deferred, FileMode, Maybe};

/// A file, a directory or a link, and how it has to be when the process is started: exactly one of `template`, `content`, `copy`, `directory`, `link`
/// and `remove`, or none, for what is there already. What is right already is not touched, so that nothing has to be writable for it.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "file", deny_unknown_fields)]
pub struct File {
    /// What it is.
    #[serde(flatten)]
    pub what: What,
    /// Whose it is, and who may do what with it.
    #[serde(flatten)]
    pub access: FileAccess,
    /// When it is done.
    #[serde(flatten)]
    pub turn: Turn,
}
crate::union!(File { what: What, access: FileAccess, turn: Turn });

/// Which file is meant, and what becomes of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct What {
    /// Where it is. Directories that are missing on the way are made.
    #[schemars(required)]
    pub path: Maybe<Text>,
    /// It gets the text of this file, with its variables replaced. The file is read when its turn has come. Without `variables` every `${NAME}` is
    /// replaced as in the configuration, `$${` stands for `${`, and any other `$` stays.
    pub template: Maybe<Text>,
    /// It gets this text.
    pub content: Deferred<Text>,
    /// It becomes a copy of this file or directory, links in it being copied as links. What is the same already is not written.
    pub copy: Maybe<Text>,
    /// It is a directory (`true`).
    pub directory: Option<bool>,
    /// It is a symbolic link to this.
    pub link: Maybe<Text>,
    /// It is taken away with everything below it (`true`).
    pub remove: Option<bool>,
    /// The variables that are replaced in `template` or `content`, as `envsubst` replaces them: `$NAME` and `${NAME}`, and the forms with a default; one
    /// that is unset becomes empty, all else stays. `NAME_*` and `*` mean those that are set.
    pub variables: Option<Vec<Text>>,
    /// What a variable of `template` becomes that is unset and has no default, where no `variables` are listed.
    pub unset_variables: Unset,
    /// Whether the text is added at the end of what is there, unless it is in it already.
    pub append: bool,
    /// Texts that are replaced in `template`, `content` or `copy`, or in what is there.
    pub replace: Deferred<Vec<Replace>>,
    /// Whether a copied directory loses what its source has not.
    pub delete: bool,
    /// What is neither copied nor deleted: names, or paths below the source that begin with `/`; `*` stands for any text.
    pub exclude: Vec<Text>,
}

/// What a variable becomes that is unset and has no default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Unset {
    /// The start ends, and names it with the number of its line.
    #[default]
    Error,
    /// Nothing, as with a shell and with `envsubst`.
    Empty,
}

/// Whose a file is, and who may do what with it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FileAccess {
    /// What may be done with it, octal or as `chmod` takes it; by default as with what was there, else as usual for a new file.
    pub mode: Option<FileMode>,
    /// Whose it is: `user`, `user:group`, `:group` or numbers, of `/etc/passwd` and `/etc/group` of the image.
    pub owner: Maybe<Text>,
    /// Whether `owner` and `mode` hold for everything below it, too. Links are not followed, and other file systems are left alone.
    pub recursive: bool,
    /// Whether what is there stays as it is; of a copied directory, each file that is there.
    pub keep: bool,
    /// Whether its owner alone may read it (0600); by default where a secret goes in, and it belongs to the user of the process then.
    pub secret: Option<bool>,
}

/// When a file is made, and whether at all.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Turn {
    /// When it is done at all; by default always. It is tested when its turn has come.
    pub when: Deferred<Condition>,
    /// The modes in which it is done; by default all.
    pub modes: Option<Vec<Text>>,
    /// When its turn is: `files` is before everything else.
    pub at: Option<StepAt>,
    /// Whether it is done before a command of one's own, too.
    pub own: bool,
    /// What it means when it cannot be done.
    pub on_failure: Option<OnFailure>,
}

/// A text that takes the place of another one, wherever that stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "replacement")]
pub struct Replace {
    /// The text that is looked for, character by character.
    #[schemars(required)]
    pub from: Maybe<Text>,
    /// What takes its place.
    pub to: Text,
    /// Whether it may be missing.
    pub optional: bool,
}

//! The keys that name a target: of a check, of a start, of the heartbeat's Redis. Which of them mean something depends on its kind.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::argument::Command;
use crate::config::interpolate::Text;
use crate::config::values::{Maybe, Named, Number, OneOrMore, Port, Scalar, Size};
use crate::secret::Secret;

/// What a PostgreSQL has to be, besides answering (libpq's `target_session_attrs`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum ServerRole {
    /// Anything.
    #[default]
    Any,
    /// Its transactions may write.
    ReadWrite,
    /// Its transactions may not write.
    ReadOnly,
    /// It is no standby.
    Primary,
    /// It is a standby.
    Standby,
    /// A standby where one of several hosts is one, else anything.
    PreferStandby,
}

/// Which proxy an HTTP request goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Proxy {
    /// The one that `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` name.
    Environment,
}

/// What is asked: a `url`, its parts (`kind`, `host`, `port`, ...), or a `url` with parts that stand above it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TargetKeys {
    /// The whole target, as `postgres://user:password@host:5432/database`.
    pub url: Option<Text>,
    /// What it is: `tcp`, `unix`, `file`, `dns`, `disk`, `exec`, `process`, `http`, `https`, `grpc`, `grpcs`, `postgres`, `mysql`, `mariadb`,
    /// `redis`, `rediss`, `redis+unix`, `redis+sentinel`, `redis+cluster`, `redis+ready`, `amqp`, `amqps`, `mongodb` or `kafka`.
    pub kind: Option<Text>,
    /// The prefix of the variables that name a Redis: with `REDIS` those are `REDIS_HOST`, `REDIS_USE_SENTINEL` and their kin.
    pub variables: Maybe<Text>,
    /// A name, an IPv4 or an IPv6 address.
    pub host: Maybe<Text>,
    /// The TCP port; by default that of the kind.
    pub port: Maybe<Port>,
    /// Who logs in.
    pub user: Maybe<Text>,
    /// The same as `user`.
    pub username: Maybe<Text>,
    /// The password of the login.
    pub password: Maybe<Secret>,
    /// The database's name; the number of a Redis database; the virtual host of RabbitMQ.
    pub database: Maybe<Scalar>,
    /// The path of a file, a socket or an HTTP request.
    pub path: Maybe<Text>,
    /// Further parameters of a database's URL, as they are: `sslmode=require&options=...`.
    pub query: Maybe<Text>,
    /// TLS of a database in libpq's words: `disable`, `allow`, `prefer`, `require`, `verify-ca`, `verify-full`. By default `prefer`.
    pub sslmode: Maybe<Text>,
    /// Whether TLS is spoken where the kind does not say it.
    pub tls: Option<bool>,
    /// The file of the authorities that may have signed the server's certificate; by default those of the system.
    pub ca: Maybe<Text>,
    /// The file of the certificate that is shown to the server; it may hold the key, too.
    pub client_certificate: Maybe<Text>,
    /// The file of that certificate's key.
    pub client_key: Maybe<Text>,
    /// Whether the server's certificate is not verified.
    pub insecure: bool,
    /// The headers of an HTTP request.
    #[schemars(extend("propertyNames" = { "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$" }))]
    pub headers: Named<Text>,
    /// The method of an HTTP request; by default `GET`.
    #[schemars(extend("pattern" = "^[A-Z]*$"))]
    pub method: Maybe<Text>,
    /// What an HTTP answer has to be.
    pub expect: Option<Expect>,
    /// How many redirects are followed, to other hosts without headers and credentials; `0`: none. By default up to 5 within the scheme, host
    /// and port of the URL, and none where `expect.status` names a status from 300 to 399.
    pub redirects: Option<Number<0, 20>>,
    /// Which proxy an HTTP request goes through; by default none.
    pub proxy: Option<Proxy>,
    /// The token of an HTTP request's header `Authorization: Bearer`.
    pub bearer: Maybe<Secret>,
    /// Which of the `headers` of an HTTP request holds a key. It is kept secret; `/status` shows it to the authorized, masked to its last five
    /// characters where it has at least 20, as it does with `bearer`.
    pub key_header: Maybe<Text>,
    /// The service that a gRPC server is asked for, whose instances are counted in the registry, or the master that Sentinels watch.
    pub service: Maybe<Text>,
    /// The registry's key; by default `SERVICE_service_status`.
    pub key: Maybe<Text>,
    /// How many instances of the service have to be ready; by default 1.
    pub min: Option<Number<1, 1_000_000>>,
    /// How much of the file system has to be free for users who are not root.
    pub free: Maybe<Size>,
    /// The command that has to end with status 0: its program and its arguments.
    pub command: Command,
    /// What a PostgreSQL has to be.
    pub role: ServerRole,
}

/// What an HTTP answer has to be.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "expect")]
pub struct Expect {
    /// The status, or a list of those that are accepted; by default 200 to 299.
    pub status: OneOrMore<Number<100, 599>>,
    /// A text that the body holds.
    pub body: Maybe<Text>,
    /// JSON pointers (RFC 6901), each with the value that has to stand there, or a list of those that may.
    #[schemars(extend("propertyNames" = { "pattern": "^(/|$)" }))]
    pub json: Named<OneOrMore<Value>>,
}

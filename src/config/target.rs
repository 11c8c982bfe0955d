//! The keys of a target: of a check, of a startup check, of the heartbeat's Redis. Which keys are allowed depends on its kind.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::argument::Command;
use crate::config::interpolate::Text;
use crate::config::values::{Maybe, Named, Number, OneOrMore, Port, Scalar, Size};
use crate::secret::Secret;

/// The required role of a PostgreSQL server (libpq's `target_session_attrs`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum ServerRole {
    /// Any server.
    #[default]
    Any,
    /// Its transactions may write.
    ReadWrite,
    /// Its transactions may not write.
    ReadOnly,
    /// It is not a standby.
    Primary,
    /// It is a standby.
    Standby,
    /// A standby if one of several hosts is one, else any server.
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

/// A target: a `url`, its parts (`kind`, `host`, `port`, ...), or a `url` with parts that override it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TargetKeys {
    /// The whole target, for example `postgres://user:password@host:5432/database`.
    pub url: Option<Text>,
    /// The kind of target: `tcp`, `unix`, `file`, `dns`, `disk`, `exec`, `process`, `http`, `https`, `grpc`, `grpcs`, `postgres`, `mysql`, `mariadb`,
    /// `redis`, `rediss`, `redis+unix`, `redis+sentinel`, `redis+cluster`, `redis+ready`, `amqp`, `amqps`, `mongodb` or `kafka`.
    pub kind: Option<Text>,
    /// The prefix of the variables that name a Redis: with `REDIS` these are `REDIS_HOST`, `REDIS_USE_SENTINEL` and so on.
    pub variables: Maybe<Text>,
    /// A host name, an IPv4 or an IPv6 address.
    pub host: Maybe<Text>,
    /// The TCP port; by default that of the kind.
    pub port: Maybe<Port>,
    /// The user of the login.
    pub user: Maybe<Text>,
    /// The same as `user`.
    pub username: Maybe<Text>,
    /// The password of the login.
    pub password: Maybe<Secret>,
    /// The database's name; the number of a Redis database; the virtual host of RabbitMQ.
    pub database: Maybe<Scalar>,
    /// The path of a file, a socket or an HTTP request.
    pub path: Maybe<Text>,
    /// Further parameters for a database's URL, appended unchanged: `sslmode=require&options=...`.
    pub query: Maybe<Text>,
    /// TLS of a database, with libpq's values: `disable`, `allow`, `prefer`, `require`, `verify-ca`, `verify-full`. By default `prefer`.
    pub sslmode: Maybe<Text>,
    /// Whether TLS is used if the kind does not imply it.
    pub tls: Option<bool>,
    /// The file of the certificate authorities to trust; by default those of the system.
    pub ca: Maybe<Text>,
    /// The file of the client certificate; it may also contain the key.
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
    /// The required HTTP response.
    pub expect: Option<Expect>,
    /// How many redirects are followed, to other hosts without headers and credentials; `0` for none. By default up to 5 if scheme, host and port
    /// stay the same, and none if `expect.status` names a status from 300 to 399.
    pub redirects: Option<Number<0, 20>>,
    /// Which proxy an HTTP request goes through; by default none.
    pub proxy: Option<Proxy>,
    /// The token of an HTTP request's header `Authorization: Bearer`.
    pub bearer: Maybe<Secret>,
    /// Which of the `headers` of an HTTP request contains an API key. It is kept secret; `/status` shows it to authorized clients, masked except for
    /// its last five characters if it has at least 20, like `bearer`.
    pub key_header: Maybe<Text>,
    /// The service in a gRPC health check, the service whose instances are counted in the registry, or the master that Sentinels monitor.
    pub service: Maybe<Text>,
    /// The registry's key; by default `SERVICE_service_status`.
    pub key: Maybe<Text>,
    /// How many instances of the service have to be ready; by default 1.
    pub min: Option<Number<1, 1_000_000>>,
    /// How much space has to be free for users other than root.
    pub free: Maybe<Size>,
    /// The command that has to exit with status 0: program and arguments.
    pub command: Command,
    /// The required role of a PostgreSQL server.
    pub role: ServerRole,
}

/// The required HTTP response.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "expect")]
pub struct Expect {
    /// The status, or a list of those that are accepted; by default 200 to 299.
    pub status: OneOrMore<Number<100, 599>>,
    /// A text that the body has to contain.
    pub body: Maybe<Text>,
    /// JSON pointers (RFC 6901), each with the required value, or a list of accepted values.
    #[schemars(extend("propertyNames" = { "pattern": "^(/|$)" }))]
    pub json: Named<OneOrMore<Value>>,
}

//! Targets without a server: files, sockets, free space on a disk; and gRPC, whose server is small.

use super::{fails, passes};
use crate::support::{Grpc, Portcullis};
use std::os::unix::net::UnixListener;

#[test]
fn files_sockets_and_disks_are_looked_at() {
    let dir = Portcullis::new();
    let socket = dir.dir().join("s");
    let file = dir.file("there", "");
    let redis = format!("redis+unix://{}?db=1", socket.display());
    for url in [format!("unix://{}", socket.display()), redis.clone()] {
        fails(&url, &[&url, "no such socket", "No such file", "check the path"]);
    }
    let listener = UnixListener::bind(&socket).unwrap();
    passes(&format!("unix://{}", socket.display()));
    drop(listener);
    fails(&format!("unix://{}", socket.display()), &["connection refused", "listens on this socket"]);
    fails(&redis, &["listens on this socket"]);
    passes(&format!("file://{}", file.display()));
    passes("disk:///?free=1KiB");
    fails("disk:///?free=9999TiB", &["too little free space", " free on /, 9999TiB required", "free some space"]);
    passes("dns://localhost");
    fails("dns://nonexistent.invalid", &["name resolution failed"]);
}

#[test]
fn grpc_is_ready_when_it_reports_serving() {
    let server = Grpc::saying(1);
    let url = format!("grpc://127.0.0.1:{}", server.port);
    passes(&url);
    passes(&format!("{url}/api.v1.Api"));
    for (status, words) in [(2, "NOT_SERVING"), (3, "SERVICE_UNKNOWN"), (105, "NOT_FOUND"), (112, "UNIMPLEMENTED"), (116, "authentication")]
    {
        server.set(status);
        fails(&url, &[words]);
    }
}

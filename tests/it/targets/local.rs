//! What needs no server: files, sockets, room on a disk; and gRPC, whose server is small.

use super::{fails, passes};
use crate::support::{Grpc, Portcullis};
use std::os::unix::net::UnixListener;

#[test]
fn files_sockets_and_disks_are_looked_at() {
    let dir = Portcullis::new();
    let socket = dir.dir().join("s");
    let file = dir.file("there", "");
    fails(&format!("unix://{}", socket.display()), &["No such file"]);
    let listener = UnixListener::bind(&socket).unwrap();
    passes(&format!("unix://{}", socket.display()));
    drop(listener);
    fails(&format!("unix://{}", socket.display()), &["connection refused"]);
    passes(&format!("file://{}", file.display()));
    passes("disk:///?free=1KiB");
    fails("disk:///?free=9999TiB", &["bytes are free"]);
    passes("dns://localhost");
    fails("dns://nonexistent.invalid", &["name resolution failed"]);
}

#[test]
fn grpc_is_ready_when_it_says_serving() {
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

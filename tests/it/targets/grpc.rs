//! The health service of gRPC's own library, probed without and with TLS, by service, and while it shuts down.

use super::{fails, wait_with};
use crate::support::process::{self, Tool};
use crate::support::{Certificates, Exit, eventually, free_port, secs, slow, variable};
use std::path::PathBuf;
use std::process::Command;

/// Python's grpcio-health-checking; USR1 has it say that it takes no more calls.
const SERVER: &str = "\
import signal, sys, grpc
from concurrent import futures
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
port, tls, cert, key = sys.argv[1:]
servicer = health.HealthServicer()
servicer.set('api.v1.Api', health_pb2.HealthCheckResponse.SERVING)
servicer.set('down', health_pb2.HealthCheckResponse.NOT_SERVING)
server = grpc.server(futures.ThreadPoolExecutor(4))
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
assert server.add_insecure_port('127.0.0.1:' + port)
pair = (open(key, 'rb').read(), open(cert, 'rb').read())
assert server.add_secure_port('127.0.0.1:' + tls, grpc.ssl_server_credentials([pair]))
signal.signal(signal.SIGUSR1, lambda *_: servicer.enter_graceful_shutdown())
server.start()
server.wait_for_termination()
";

#[test]
fn a_server_of_grpcs_own_is_understood() {
    if !slow("a_server_of_grpcs_own_is_understood") {
        return;
    }
    let python =
        PathBuf::from(variable("PORTCULLIS_CLIENTS").expect("scripts/test --all says where the clients are")).join("venv/bin/python");
    let certificates = Certificates::make();
    let (port, tls) = (free_port(), free_port());
    let mut command = Command::new(python);
    command.args(["-c", SERVER, &port.to_string(), &tls.to_string()]).arg(certificates.pem("server")).arg(certificates.key("server"));
    let server = Tool::start(&mut command);
    let (plain, secure) = (format!("grpc://127.0.0.1:{port}"), format!("grpcs://127.0.0.1:{tls}"));
    wait_with(&["--timeout", "60s", &plain, &format!("{plain}/api.v1.Api")]).exits(0);
    let ca = certificates.pem("ca").display().to_string();
    for options in [["--ca", &ca].as_slice(), &["--insecure"]] {
        wait_with(&[&["--timeout", "20s"], options, &[&secure, &format!("{secure}/api.v1.Api")]].concat()).exits(0);
    }
    fails(&secure, &["tls handshake failed", "UnknownIssuer"]);
    fails(&format!("{plain}/down"), &["peer not ready", "down is NOT_SERVING"]);
    fails(&format!("{plain}/nobody"), &["peer not ready", "NOT_FOUND"]);
    process::send(server.pid(), 10);
    eventually("it takes no more calls", secs(20), || (wait_with(&["--timeout", "0s", &plain]).exit == Exit::Code(69)).then_some(()));
    fails(&plain, &["the server is NOT_SERVING"]);
    fails(&format!("{plain}/api.v1.Api"), &["api.v1.Api is NOT_SERVING"]);
    drop(server);
    fails(&plain, &["connection refused"]);
}

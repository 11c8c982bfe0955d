//! Message brokers and MongoDB: a real RabbitMQ, and responses from the manuals of the others.

use super::wait_with;
use crate::support::rabbitmq::RabbitMq;
use crate::support::{Portcullis, free_port};
use std::io::{Read, Write};
use std::net::TcpListener;

/// A server that answers each question, which is one packet, with the next of these.
fn answering(answers: Vec<Vec<u8>>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            for answer in &answers {
                if stream.read(&mut [0; 1024]).is_ok() {
                    let _ = stream.write_all(answer);
                }
            }
            let _ = stream.read(&mut [0; 1]);
        }
    });
    port
}

/// An OP_MSG with this document, as MongoDB's manual has it, in answer to the question of that number.
fn op_msg(number: i32, fields: &[u8]) -> Vec<u8> {
    let length = 16 + 5 + 4 + fields.len() as i32 + 1;
    let head = [length, 7, number, 2013].map(i32::to_le_bytes).concat();
    [&head, &[0; 5][..], &(fields.len() as i32 + 5).to_le_bytes(), fields, &[0]].concat()
}

/// The `hello` of MongoDB 7, shortened: a primary or not, with the kinds of fields that it has.
fn hello(primary: bool) -> Vec<u8> {
    let fields = [
        b"\x08isWritablePrimary\0".as_slice(),
        &[u8::from(primary)],
        b"\x03topologyVersion\0\x2d\0\0\0\x07processId\0\x65\0\0\0\0\0\0\0\0\0\0\x01\x12counter\0\0\0\0\0\0\0\0\0\0",
        b"\x10maxBsonObjectSize\0\0\0\0\x01\x09localTime\0\0\0\0\0\x8a\x01\0\0\x10connectionId\0\x2a\0\0\0\x01ok\0\0\0\0\0\0\0\xf0\x3f",
    ];
    op_msg(1, &fields.concat())
}

#[test]
fn a_mongodb_is_ready_once_it_is_a_primary_or_a_secondary() {
    let pong = op_msg(2, b"\x01ok\0\0\0\0\0\0\0\xf0\x3f");
    let ready = answering(vec![hello(true), pong.clone()]);
    wait_with(&["--timeout", "5s", &format!("mongodb://127.0.0.1:{ready}/app?replicaSet=rs0")]).exits(0).says(&["mongodb://127.0.0.1:"]);
    let starting = answering(vec![hello(false), pong]);
    wait_with(&["--timeout", "0s", &format!("mongodb://127.0.0.1:{starting}")]).exits(69).says(&["neither a primary nor a secondary"]);
    let refusing = answering(vec![op_msg(1, b"\x01ok\0\0\0\0\0\0\0\0\0\x02errmsg\0\x05\0\0\0down\0\x10code\0\x5b\0\0\0")]);
    wait_with(&["--timeout", "0s", &format!("mongodb://127.0.0.1:{refusing}")]).exits(69).says(&["hello: down", "starting or recovering"]);
    let several = format!("mongodb://127.0.0.1:{},127.0.0.1:{ready}", free_port());
    wait_with(&["--timeout", "5s", &several]).exits(0);
    wait_with(&["--timeout", "5s", &format!("mongodb://me:secret@127.0.0.1:{ready}/")]).exits(0).says(&["no login is attempted"]);
}

#[test]
fn a_kafka_is_ready_once_it_lists_its_apis() {
    // Kafka's protocol guide: length, correlation id, error, and for each question its number with the versions from and to.
    let answer = |keys: &[u8]| {
        let keys: Vec<u8> = keys.iter().flat_map(|key| [0, *key, 0, 0, 0, 9]).collect();
        let body = [b"port\0\0".as_slice(), &((keys.len() / 6) as u32).to_be_bytes(), &keys].concat();
        [&(body.len() as u32).to_be_bytes(), body.as_slice()].concat()
    };
    let broker = answering(vec![answer(&[0, 1, 3, 18])]);
    wait_with(&["--timeout", "5s", &format!("kafka://127.0.0.1:{},127.0.0.1:{broker}", free_port())]).exits(0);
    let controller = answering(vec![answer(&[18, 62])]);
    wait_with(&["--timeout", "0s", &format!("kafka://127.0.0.1:{controller}")]).exits(69).says(&["a Kafka controller"]);
}

#[test]
fn a_rabbitmq_reports_a_wrong_password_and_a_wrong_virtual_host() {
    let Some(broker) = RabbitMq::start("a_rabbitmq_reports_a_wrong_password_and_a_wrong_virtual_host", "pass word/1") else { return };
    let url = |login: &str, vhost: &str| format!("amqp://{login}@127.0.0.1:{}/{vhost}", broker.port);
    wait_with(&["--timeout", "60s", &url("app:pass%20word%2F1", "tasks")]).exits(0).says(&["/tasks is ready"]);
    let said = wait_with(&["--timeout", "0s", "--try-timeout", "10s", &url("app:hunter2hunter2", "tasks")]).exits(69);
    assert!(said.stderr.contains("authentication failed (403 ACCESS_REFUSED") && !said.stderr.contains("hunter2"), "{}", said.stderr);
    wait_with(&["--timeout", "0s", &url("app:pass%20word%2F1", "nosuch")]).exits(69).says(&["530 NOT_ALLOWED - vhost nosuch not found"]);
    wait_with(&["--timeout", "0s", &url("app:pass%20word%2F1", "")]).exits(69).says(&["530 NOT_ALLOWED - access to vhost '/' refused"]);
    // Celery's preset waits for it, and does not take it for the heartbeat's Redis.
    let run = Portcullis::new().env("CELERY_APP", "app").env("CELERY_BROKER_URL", url("app:pass%20word%2F1", "tasks"));
    let plan = run.args(["plan", "--preset", "celery"]).output().exits(0);
    assert!(
        plan.stdout.contains("wait for broker up to 1m: amqp://app@127.0.0.1") && !plan.stdout.contains("write the heartbeat"),
        "{}",
        plan.stdout
    );
}

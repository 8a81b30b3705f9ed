//! Metrics of a running program.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::call_command::{call, listen};
use crate::program::{ALONE, SOON, run};

/// Answer of the endpoint to a request for a path.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: blink\r\n\r\n").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_call_is_in_the_metrics_for_prometheus() {
    let directory = tempfile::tempdir().unwrap();
    // Free when the program starts, unless another one takes it within milliseconds.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let setting = format!("metrics.listen=\"{address}\"");
    let arguments = ["--answer", "--set", &setting, "--set", "microphone=speech"];
    let (mut listener, target) = listen(directory.path(), &arguments);
    let caller = call(directory.path(), &[&target, "--seconds", "1", "--set", "microphone=speech"]);
    let ended = caller.end();
    assert_eq!(ended.status, 0, "{ended:?}");
    listener.event("call_ended");
    let expected = [
        "blink_calls_incoming_total 1\n",
        "blink_calls_ended_total{reason=\"remote_left\"} 1\n",
        "blink_call_setup_seconds_bucket{le=\"30\"} 1\n",
        "# HELP blink_calls Calls that this device is in.\n",
        "blink_calls 0\n",
        "blink_packets_total{direction=\"received\"} ",
    ];
    let end = Instant::now() + SOON;
    // The last sample of a session comes when it is closed.
    loop {
        let text = get(address, "/metrics");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        match expected.iter().find(|part| !text.contains(**part)) {
            None => break,
            Some(missing) => assert!(Instant::now() < end, "no {missing} in\n{text}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(get(address, "/").starts_with("HTTP/1.1 404"));
    listener.interrupt();
    assert_eq!(listener.end().status, 130);
}

#[test]
fn an_endpoint_that_cannot_be_opened_is_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let setting = format!("metrics.listen=\"{}\"", taken.local_addr().unwrap());
    let refused = run(directory.path(), &[&["listen", "--set", &setting][..], &ALONE].concat());
    assert_eq!((refused.status, refused.lines.len()), (2, 0), "{refused:?}");
    assert!(refused.errors.contains("port is in use") && refused.errors.contains("metrics.listen"), "{refused:?}");
    let malformed = run(directory.path(), &[&["listen", "--set", "metrics.listen=9464"][..], &ALONE].concat());
    assert!(malformed.status == 2 && malformed.errors.contains("metrics.listen"), "{malformed:?}");
}

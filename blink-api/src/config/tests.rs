//! Accepted configurations, and the errors for rejected ones.

use std::path::Path;

use super::*;
use crate::{ErrorKind, Registry};

fn build(toml: &str) -> Result<Configuration> {
    let directory = std::env::temp_dir().join(format!("blink-config-{}-{:p}", std::process::id(), toml));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("blink.toml");
    std::fs::write(&path, toml).unwrap();
    let result = Configuration::builder(&Registry::empty()).file(&path).build();
    std::fs::remove_dir_all(&directory).unwrap();
    result
}

#[test]
fn later_layers_win_and_every_value_names_its_source() {
    let configuration = Configuration::builder(&Registry::empty())
        .environment_of([
            ("BLINK_CALL__RING_TIME".to_owned(), "20s".to_owned()),
            ("BLINK_MICROPHONE".to_owned(), "none".to_owned()),
            ("HOME".to_owned(), "/".to_owned()),
        ])
        .set_argument("--set", "call.ring_time=10s")
        .build()
        .unwrap();
    assert_eq!(configuration.settings().call.ring_time.as_secs(), 10);
    let effective = configuration.effective();
    let source = |key: &str| effective.iter().find(|value| value.key == key).unwrap().source.clone();
    assert_eq!(source("call.ring_time"), "--set call.ring_time");
    assert_eq!(source("microphone"), "environment variable BLINK_MICROPHONE");
    assert_eq!(source("speaker"), "default");
}

#[test]
fn unknown_keys_are_refused_with_file_and_key() {
    for (toml, key) in
        [("microfone = 'x'", "microfone"), ("[call]\nring = 3", "call.ring"), ("[ice]\nserver = []", "ice.server")]
    {
        let error = build(toml).expect_err(toml).to_string();
        assert!(error.contains(&format!("key={key}")) && error.contains("blink.toml"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn alternatives_are_quoted_once() {
    for (toml, expected) in [
        ("[quality]\nprefer = 'speech'", "unknown variant: found `speech`, expected `latency` or `quality`"),
        ("[[ice.servers]]\nuri = 'stun:x'", "unknown field: found `uri`, expected one of `url`, "),
    ] {
        let error = build(toml).expect_err(toml).to_string();
        assert!(error.contains(expected) && !error.contains("``"), "{error}");
    }
}

#[test]
fn wrong_types_and_nonsense_are_refused_with_file_and_key() {
    for (toml, words) in [
        ("microphone = 3", "key=microphone"),
        ("[call]\nring_time = 'soon'", "ring_time"),
        ("[call]\nring_time = '0s'", "call.ring_time"),
        ("[call]\nhistory = 100001", "call.history"),
        ("[call.audio]\nchannels = 3", "call.audio.channels"),
        ("[call.timers]\nsuspect = '1ms'", "call.timers.suspect"),
        ("[quality]\nround_trip = '11s'", "quality.round_trip"),
        ("[quality]\nround_trip = 300", "quality.round_trip"),
        ("[quality]\njitter = '0s'", "quality.jitter"),
        ("[quality]\nloss = 5", "above 0 and up to 1"),
        ("[quality]\nloss = 0", "quality.loss"),
        ("[quality]\nconcealment = nan", "quality.concealment"),
        ("[quality]\nframes_dropped = -0.1", "quality.frames_dropped"),
        ("[quality]\ndegraded_after = '1s'", "quality.degraded_after"),
        ("[quality]\nrecovered_after = '11min'", "quality.recovered_after"),
        ("[quality]\nloses = 0.1", "quality.loses"),
        ("[ice]\nservers = [{ url = 'http://x' }]", "http://x"),
        ("[[ice.servers]]\nuri = 'stun:x'", "uri"),
        ("[ice]\nservers = [{ url = 'turn:x' }]", "username"),
        ("[ice]\nservers = [{ url = 'stun:x?transport=sctp' }]", "transport=udp"),
        ("[ice]\nrelay_only = true", "ice.relay_only"),
        ("[ice]\nhost_candidates = 'hidden'", "host_candidates"),
        ("data_dir = ''", "data_dir"),
        ("data_dir = '~ada'", "data_dir"),
        ("[ice]\nservers = [{ url = 'stun:2001:db8::1' }]", "stun:[2001:db8::1]"),
        ("microphone = ", "not TOML"),
        ("call = 3", "call"),
    ] {
        let error = build(toml).expect_err(toml);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(words) && !error.to_string().contains('\n'), "{error}");
        assert!(error.to_string().contains("blink.toml"), "the error names the source: {error}");
    }
}

#[test]
fn values_out_of_range_name_the_variable_or_argument_they_were_set_by() {
    let variable = [("BLINK_CALL__RING_TIME", "0s")];
    let error = Configuration::builder(&Registry::empty()).environment_of(variable).build().err().unwrap();
    assert!(error.to_string().contains("set in=environment variable BLINK_CALL__RING_TIME"), "{error}");
    let error = Configuration::builder(&Registry::empty())
        .set_argument("--set", "ice.servers=[{url=\"stun:\"}]")
        .build()
        .err()
        .unwrap();
    assert!(error.to_string().contains("set in=--set ice.servers"), "{error}");
}

/// A data directory that is silently ignored would mean a new identity at the next start.
#[cfg(unix)]
#[test]
fn an_environment_that_is_not_utf_8_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let text = |bytes: &'static [u8]| std::ffi::OsStr::from_bytes(bytes).to_owned();
    let build =
        |name, value| Configuration::builder(&Registry::empty()).environment_of([(text(name), text(value))]).build();
    let error = build(b"BLINK_DATA_DIR", b"/home/\xe9").err().unwrap();
    assert!(error.to_string().contains("BLINK_DATA_DIR") && error.to_string().contains("UTF-8"), "{error}");
    let error = build(b"BLINK_\xff", b"").err().unwrap();
    assert!(error.to_string().contains("UTF-8"), "{error}");
    build(b"OTHER_\xff", b"\xff").expect("other programs' variables are theirs");
}

#[test]
fn a_data_directory_is_a_path_and_may_begin_at_home() {
    let build = |value| Configuration::builder(&Registry::empty()).environment_of([("BLINK_DATA_DIR", value)]).build();
    let error = build("").expect_err("the working directory is no place for a secret key").to_string();
    assert!(error.contains("empty") && error.contains("environment variable BLINK_DATA_DIR"), "{error}");
    let home = std::env::home_dir().expect("tests run with a home directory");
    assert_eq!(build("~/.blink").unwrap().settings().data_dir, Some(home.join(".blink")));
    assert_eq!(build("a/~").unwrap().settings().data_dir, Some("a/~".into()));
}

#[test]
fn a_file_without_an_end_and_one_that_is_no_text_are_refused() {
    let build = |path: &Path| Configuration::builder(&Registry::empty()).file(path).build().err().unwrap();
    #[cfg(target_os = "linux")]
    assert!(build(Path::new("/dev/zero")).to_string().contains("1 MiB"));
    let path = std::env::temp_dir().join(format!("blink-config-{}-latin-1.toml", std::process::id()));
    std::fs::write(&path, b"microphone = '\xe9'").unwrap();
    let error = build(&path).to_string();
    std::fs::remove_file(&path).unwrap();
    assert!(error.contains("UTF-8") && error.contains("latin-1.toml"), "{error}");
}

#[test]
fn a_file_that_is_no_toml_is_refused_by_line_and_column() {
    let error = build("microphone = 'x'\n[ice]\n  servers = é").err().unwrap().to_string();
    assert!(error.contains("line=3") && error.contains("column=13"), "{error}");
}

#[test]
fn every_timer_has_an_upper_bound() {
    let timers = serde_json::to_value(crate::CallTimers::default()).unwrap();
    let keys: Vec<_> = timers.as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 19);
    for key in keys {
        for value in ["1day 1s", "18446744073709551615s"] {
            let error = build(&format!("[call.timers]\n{key} = '{value}'")).expect_err(key).to_string();
            assert!(error.contains(&format!("call.timers.{key}")) && error.contains("at most a day"), "{error}");
        }
    }
    let error = build("[call]\nring_time = '18446744073709551615s'").err().unwrap().to_string();
    assert!(error.contains("call.ring_time"), "{error}");
}

#[test]
fn servers_over_tcp_and_tls_are_unsupported() {
    for url in ["turns:x.example", "stuns:x.example:5349", "turn:x.example?transport=tcp"] {
        let error =
            build(&format!("[ice]\nservers = [{{ url = '{url}', username = 'u', credential = 'p' }}]")).expect_err(url);
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains(url), "{error}");
    }
    let relays = "[ice]\nrelay_only = true\nhost_candidates = 'mdns'\nservers = [{ url = 'turn:x?transport=udp', username = 'u', credential = 'p' }]";
    assert!(build(relays).expect("a relay is configured").settings().ice.relay_only);
}

#[test]
fn passwords_are_shown_neither_as_values_nor_in_errors() {
    let servers = |key: &str| format!("ice.servers=[{{url=\"turn:x.example\",username=\"u\",{key}=\"hunter2\"}}]");
    let build = |argument: &str| Configuration::builder(&Registry::empty()).set_argument("--set", argument).build();
    let configuration = build(&servers("credential")).unwrap();
    assert_eq!(configuration.settings().ice.servers[0].credential, "hunter2");
    let shown = format!("{:?} {:?}", configuration.effective(), configuration.settings());
    assert!(shown.contains("turn:x.example") && !shown.contains("hunter2"), "{shown}");
    let error = build(&servers("password")).err().unwrap().to_string();
    assert!(error.contains("password") && !error.contains("hunter2"), "{error}");
}

/// Errors of syntax, type, range and arguments do not quote the value.
#[test]
fn no_error_shows_a_password() {
    let server =
        |rest: &str| format!("[ice]\nservers = [\n {{ url = \"turn:192.0.2.1\", username = \"u\", {rest} }},\n]\n");
    for toml in [
        server("credential = hunter2x"),
        server("credential = \"hunter2x"),
        server("credential = 'hunter2x' 'hunter2x'"),
        server("credential = 222222"),
        server("credential = true, url = 'hunter2x'"),
        server("credential = ['hunter2x']"),
        "[ice]\nservers = 'turn:u:hunter2x@192.0.2.1'".to_owned(),
        "[ice]\nservers = ['turn:u:hunter2x@192.0.2.1']".to_owned(),
        "ice = 'turn:u:hunter2x@192.0.2.1'".to_owned(),
        "[[ice.servers]]\nurl = 'turn:u:hunter2x@192.0.2.1'\nusername = 'u'\ncredential = 'hunter2x'".to_owned(),
    ] {
        let error = build(&toml).expect_err(&toml).to_string();
        assert!(!error.contains("hunter2x") && !error.contains("222222"), "{error}");
    }
    let argument = |argument: &str| Configuration::builder(&Registry::empty()).set_argument("--set", argument).build();
    for text in ["ice.servers:[{credential: hunter2x}]", "=hunter2x", "ice.servers=hunter2x", "ice.servers=222222"] {
        let error = argument(text).expect_err(text).to_string();
        assert!(!error.contains("hunter2x") && !error.contains("222222"), "{error}");
    }
    let environment = [("BLINK_ICE__SERVERS", "[{url=\"turn:192.0.2.1\",credential=\"hunter2x\"")];
    let error = Configuration::builder(&Registry::empty()).environment_of(environment).build().err().unwrap();
    assert!(!error.to_string().contains("hunter2x"), "{error}");
}

/// The list of a kind and the table with the sections of its backends have different keys.
#[test]
fn lists_of_processors_and_recorders_stand_beside_their_sections() {
    let configuration = build("processor = []\nrecorder = []\n[processors]\n[recorders]").unwrap();
    assert!(configuration.settings().processors.is_empty() && configuration.settings().recorders.is_empty());
    for (toml, key) in [("processor = ['x']", "processor"), ("recorder = ['x']", "recorder")] {
        let error = build(toml).expect_err(toml).to_string();
        assert!(error.contains(&format!("key={key}")), "{error}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error =
        Configuration::builder(&Registry::empty()).file(Path::new("/nowhere/blink.toml")).build().err().unwrap();
    assert!(error.to_string().contains("/nowhere/blink.toml"), "{error}");
}

#[test]
fn an_unknown_backend_is_refused_with_what_there_is() {
    let error = Configuration::builder(&Registry::empty())
        .set_argument("--a", "transport=x")
        .build()
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("no transport `x`") && error.contains("--a transport"), "{error}");
}

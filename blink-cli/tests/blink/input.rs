//! Invalid input: status 2, and one line that names it.

use std::net::TcpListener;
use std::path::Path;

use crate::program::{Program, run};

const DID: &str = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";

/// Runs the arguments with and without `--json`: status 2, one error line that contains all of
/// `named`, and nothing on stdout but the same error as JSON.
fn refused(directory: &Path, arguments: &[&str], named: &[&str]) {
    let plain = run(directory, arguments);
    assert_eq!((plain.status, plain.lines.len()), (2, 0), "{arguments:?}: {plain:?}");
    assert_eq!(plain.errors.lines().count(), 1, "{arguments:?}: {}", plain.errors);
    for name in named {
        assert!(plain.errors.contains(name), "{arguments:?}: no {name} in {}", plain.errors);
    }
    let json = run(directory, &[arguments, &["--json"]].concat());
    assert_eq!(json.status, 2);
    assert_eq!(json.last()["ok"], false);
    assert_eq!(plain.errors.trim_end(), format!("blink: {}", json.last()["error"].as_str().unwrap()));
}

#[test]
fn invalid_settings_are_named_with_their_source() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("odd.toml");
    std::fs::write(&file, "[call]\nring_tine = \"20s\"\n").unwrap();
    let odd = file.to_str().unwrap();
    for command in ["config", "id", "demo", "listen"] {
        refused(
            directory.path(),
            &[command, "--set", "transport=carrier-pigeon"],
            &["carrier-pigeon", "str0m", "--set"],
        );
        refused(directory.path(), &[command, "--config", odd], &["ring_tine", "odd.toml"]);
    }
    refused(directory.path(), &["config", "--config", "nothing.toml"], &["nothing.toml"]);
    refused(directory.path(), &["config", "--set", "transport"], &["KEY=VALUE", "transport"]);
    refused(directory.path(), &["config", "--set", "call.ring_time=soon"], &["call.ring_time", "--set"]);
    refused(directory.path(), &["config", "--set", "codecs.opus.complexity=eleven"], &["codecs.opus.complexity"]);
    refused(directory.path(), &["demo", "--signaling", "telegraph"], &["telegraph", "libp2p, memory", "--signaling"]);
    refused(directory.path(), &["demo", "--b", "call.ring_time=20"], &["call.ring_time", "--b"]);
}

#[test]
fn blink_toml_in_the_working_directory_is_read_and_its_errors_are_named() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("blink.toml"), "transport = \"nope\"\n").unwrap();
    refused(directory.path(), &["config"], &["nope", "blink.toml"]);
    std::fs::write(directory.path().join("blink.toml"), "transport = ").unwrap();
    refused(directory.path(), &["listen"], &["not TOML", "blink.toml"]);
}

/// The file is used for the log and for the command, but a pipe can be read only once.
#[cfg(unix)]
#[test]
fn a_configuration_may_come_from_a_pipe() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = Program::start(directory.path(), &["config", "--json", "--config", "/dev/stdin"]);
    program.type_line("transport = 'memory'");
    program.type_nothing();
    let ended = program.end();
    assert_eq!(ended.status, 0, "{ended:?}");
    let expected = serde_json::json!({ "key": "transport", "value": "memory", "source": "/dev/stdin" });
    assert!(ended.objects().as_array().unwrap().contains(&expected), "{ended:?}");
}

#[cfg(unix)]
#[test]
fn blink_toml_writable_by_others_is_refused_unless_named() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("blink.toml");
    std::fs::write(&file, "transport = 'memory'\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    refused(directory.path(), &["config"], &["blink.toml", "chmod go-w", "--config"]);
    assert_eq!(run(directory.path(), &["config", "--config", "blink.toml"]).status, 0);
}

#[test]
fn invalid_environment_variables_are_named_and_nothing_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let id = |name, value| Program::start_in(directory.path(), &["id"], &[(name, value)]).end();
    let empty = id("BLINK_DATA_DIR", "");
    assert!(empty.status == 2 && empty.errors.contains("BLINK_DATA_DIR"), "{empty:?}");
    let server = id("BLINK_ICE__SERVERS", "[{url=\"turn:192.0.2.1\",username=\"u\",credential=\"hunter2\"");
    assert!(server.status == 2 && !server.errors.contains("hunter2"), "{server:?}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "no file was made");
}

#[test]
fn unreadable_speech_files_are_named_before_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("text.wav");
    std::fs::write(&text, "not audio").unwrap();
    let short = directory.path().join("short.wav");
    write_wav(&short, 48_000, 4_800);
    let strange = directory.path().join("strange.wav");
    write_wav(&strange, 4_000, 40_000);
    let [text, short, strange] = [&text, &short, &strange].map(|path| path.to_str().unwrap());
    for flag in ["--speech-a", "--speech-b"] {
        refused(directory.path(), &["demo", flag, "nothing.wav"], &["no such file", "nothing.wav"]);
        refused(directory.path(), &["demo", flag, text], &["text.wav"]);
        refused(directory.path(), &["demo", flag, strange], &["8 to 192 kHz", "strange.wav"]);
        refused(directory.path(), &["demo", flag, short], &["short.wav", "0.1 s"]);
    }
    refused(directory.path(), &["listen", "--in", "nothing.wav"], &["no such file", "nothing.wav"]);
    refused(directory.path(), &["call", DID, "--in", strange], &["8 to 192 kHz", "strange.wav"]);
    assert!(!directory.path().join("blink-out/alice-heard.wav").exists());
}

fn write_wav(path: &Path, sample_rate: u32, samples: usize) {
    let spec =
        hound::WavSpec { channels: 1, sample_rate, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    (0..samples).for_each(|n| writer.write_sample((n % 100) as i16).unwrap());
    writer.finalize().unwrap();
}

#[test]
fn unwritable_directories_are_named() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    for arguments in [&["demo"][..], &["listen"], &["call", DID]] {
        refused(directory.path(), &[arguments, &["--out", "file"]].concat(), &["file"]);
    }
}

#[test]
fn invalid_targets_and_numbers_are_named() {
    let directory = tempfile::tempdir().unwrap();
    refused(directory.path(), &["call", "bob"], &["bob", "DID@ADDRESS"]);
    refused(directory.path(), &["call", "did:key:z6Mkbroken@/ip4/127.0.0.1/tcp/1"], &["z6Mkbroken"]);
    refused(directory.path(), &["call", DID, "--seconds", "0"], &["--seconds 0"]);
    refused(directory.path(), &["call", DID, "--seconds", "NaN"], &["--seconds NaN"]);
    refused(directory.path(), &["call", DID, "--seconds", "1e18"], &["--seconds", "2592000"]);
    refused(directory.path(), &["call", DID, "--seconds", "1e300"], &["--seconds", "2592000"]);
    let longest = "call.timers.ping=18446744073709551615s";
    refused(directory.path(), &["listen", "--set", longest], &["call.timers.ping", "at most a day"]);
    for seconds in ["0.5", "2.9", "301", "NaN"] {
        let reasons = [&format!("--seconds {seconds}") as &str, "3 to 300", "cannot be rated"];
        refused(directory.path(), &["demo", "--seconds", seconds], &reasons);
    }
    refused(directory.path(), &["demo", "--repeat", "0"], &["--repeat 0"]);
}

#[test]
fn incompatible_sides_are_refused_before_the_start() {
    let directory = tempfile::tempdir().unwrap();
    refused(directory.path(), &["demo", "--a", "transport=memory"], &["`memory`", "`str0m`"]);
    refused(directory.path(), &["demo", "--b", "signaling=memory"], &["`libp2p`", "`memory`"]);
    refused(directory.path(), &["demo", "--a", "speaker=null"], &["Alice", "`null`"]);
    refused(directory.path(), &["demo", "--a", "speaker=wav:blink-out/bob-heard.wav"], &["bob-heard.wav"]);
}

#[test]
fn settings_that_cannot_work_are_refused_at_the_start_with_what_was_meant() {
    let directory = tempfile::tempdir().unwrap();
    for (setting, words) in [
        ("transport=memory", &["`memory`", "no call could come or go", "str0m", "key=transport"][..]),
        ("signaling=memory", &["`memory`", "no call could come or go", "libp2p", "key=signaling"]),
        ("transport=strom", &["did you mean `str0m`?"]),
        ("transports.strom.dtls=1.3", &["did you mean `str0m`?", "key=transports.strom"]),
        ("transports.str0m.dtls=1.4", &["`1.2`, `1.3` or `auto`", "key=transports.str0m.dtls"]),
        ("call.fron=known", &["did you mean `from`?", "key=call.fron"]),
        ("call.from=knwon", &["did you mean `known`?", "key=call.from"]),
        ("call.from=known", &["no call would ever ring"]),
        ("call.ring_time=5", &["a duration", "key=call.ring_time"]),
        ("ice.relay_only=maybe", &["a boolean", "key=ice.relay_only"]),
        ("ice.relay_only=true", &["turn:", "key=ice.relay_only"]),
        ("ice.interfaces=[eth99]", &["eth99", "none of the configured interfaces exists", "key=ice.interfaces"]),
    ] {
        for command in [&["listen"][..], &["call", DID]] {
            // Only those who are called need people whom they know.
            if setting != "call.from=known" || command[0] == "listen" {
                refused(directory.path(), &[command, &["--ephemeral", "--set", setting]].concat(), words);
            }
        }
    }
}

/// The documented value is a number on a command line.
#[test]
fn dtls_versions_are_taken_as_documented() {
    let directory = tempfile::tempdir().unwrap();
    for version in ["1.2", "1.3", "auto"] {
        let ended = run(directory.path(), &["config", "--json", "--set", &format!("transports.str0m.dtls={version}")]);
        assert_eq!(ended.status, 0, "{ended:?}");
    }
}

#[test]
fn invalid_addresses_are_named() {
    let directory = tempfile::tempdir().unwrap();
    refused(directory.path(), &["call", &format!("{DID}@somewhere")], &["somewhere"]);
}

#[test]
fn an_occupied_port_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = occupied.local_addr().unwrap().port().to_string();
    let set = format!(r#"signalings.libp2p.listen=["/ip4/127.0.0.1/tcp/{port}"]"#);
    refused(directory.path(), &["listen", "--set", &set], &[&port]);
    refused(directory.path(), &["demo", "--b", &set], &[&port, "Bob"]);
}

#[test]
fn a_data_directory_in_use_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let arguments =
        ["--set", "data_dir=kept", "--set", "signalings.libp2p.listen=[]", "--set", "signalings.libp2p.mdns=false"];
    let mut first = Program::start(directory.path(), &[&["listen", "--json"][..], &arguments].concat());
    first.event("listening");
    refused(directory.path(), &[&["listen"][..], &arguments].concat(), &["kept"]);
    // Commands that need no engine of their own use the first process.
    let id = run(directory.path(), &["id", "--set", "data_dir=kept"]);
    assert_eq!((id.status, id.lines.len()), (0, 3), "{id:?}");
    first.interrupt();
    assert_eq!(first.end().status, 130);
}

#[test]
fn unknown_options_are_named_in_text_and_json() {
    let directory = tempfile::tempdir().unwrap();
    let ended = run(directory.path(), &["demo", "--loud", "--json"]);
    assert_eq!(ended.status, 2);
    assert!(ended.errors.contains("--loud") && ended.errors.contains("--help"), "{}", ended.errors);
    assert_eq!((ended.last()["ok"].as_bool(), ended.lines.len()), (Some(false), 1));
    let nothing = run(directory.path(), &[]);
    assert!(nothing.status == 2 && nothing.errors.contains("Usage: blink COMMAND"), "{nothing:?}");
    let help = run(directory.path(), &["--help"]);
    assert!(help.status == 0 && help.lines.iter().any(|line| line.contains("Exit status:")), "{help:?}");
}

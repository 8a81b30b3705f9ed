use super::*;

fn parsed(line: &str) -> Command {
    Request::parse(line).unwrap().unwrap().command
}

#[test]
fn every_word_is_understood_with_its_other_words() {
    for word in &VOCABULARY {
        let arguments = match word.arguments {
            "" => "",
            text if text.contains("50%") => " Ada Lovelace 50%",
            _ => " x",
        };
        for name in [&[word.name], word.others].concat() {
            let command = parsed(&format!("{name}{arguments}"));
            assert_eq!(command.name(), word.name, "{name}");
            // The JSON form says the same.
            let json = serde_json::to_string(&command).unwrap();
            assert_eq!(parsed(&json), command, "{json}");
        }
    }
}

#[test]
fn names_keep_their_case_and_may_have_spaces() {
    assert_eq!(parsed("VOLUME Ada Lovelace 0.5"), Command::Volume { who: "Ada Lovelace".to_owned(), volume: 0.5 });
    assert_eq!(parsed("volume Ada 50%"), Command::Volume { who: "Ada".to_owned(), volume: 0.5 });
    assert_eq!(parsed("mic cpal/USB Headset"), Command::Microphone { name: "cpal/USB Headset".to_owned() });
    let people = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(parsed(r#"add Bob "Ada Lovelace""#), Command::Add { people: people(&["Bob", "Ada Lovelace"]) });
    let message = Command::Message { message: "Hello, Ada!  \"Bye\"".to_owned(), who: None };
    assert_eq!(parsed(r#"say Hello, Ada!  "Bye""#), message);
    assert_eq!(parsed("Hang Up"), Command::Leave { call: None });
    assert_eq!(parsed("record wav,mp4"), Command::Record { recorders: people(&["wav", "mp4"]), directory: None });
    assert_eq!(
        parsed("offer clip:vp8 my screen"),
        Command::OfferStream { source: "clip:vp8".to_owned(), name: Some("my screen".to_owned()) }
    );
}

#[test]
fn json_lines_carry_an_id_back_even_if_they_are_refused() {
    let request = Request::parse(r#"{"id":[7],"command":"volume","who":"Ada","volume":2}"#).unwrap().unwrap();
    assert_eq!(request.id, Some(serde_json::json!([7])));
    assert_eq!(request.command, Command::Volume { who: "Ada".to_owned(), volume: 2.0 });
    let invalid = Request::parse(r#"{"id":7,"command":"mute","really":true}"#).unwrap_err();
    assert_eq!(invalid.id, Some(serde_json::json!(7)));
    assert!(invalid.reason.contains("really"), "{invalid}");
    let invalid = Request::parse(r#"{"command":"dance"}"#).unwrap_err();
    assert!(invalid.reason.contains("dance") && invalid.reason.contains("stop-recording"), "{invalid}");
    assert!(Request::parse("{").unwrap_err().reason.contains("not JSON"));
}

#[test]
fn wrong_lines_say_what_was_expected() {
    let reason = |line: &str| Request::parse(line).unwrap_err().reason;
    assert!(reason("mutee").contains("did you mean mute?"));
    assert!(reason("xyzzy").contains("help lists the commands"));
    assert_eq!(reason("volume Ada"), "expected: volume NAME|DID 50%");
    assert_eq!(reason("volume Ada NaN"), "expected: volume NAME|DID 50%");
    assert_eq!(reason("mute now"), "expected: mute");
    assert!(reason(&"x".repeat(LONGEST + 1)).contains("at most"));
    assert_eq!(Request::parse("  "), Ok(None));
}

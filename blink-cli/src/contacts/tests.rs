use super::*;

const ALICE: &str = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";
const BOB: &str = "did:key:z6MknGc3ocHs3zdPiJbnaaqDi58NGb4pk1Sp9WxWufuXSdxf";

fn person(did: &str) -> Invite {
    Invite { did: Some(did.parse().unwrap()), addresses: vec!["memory:1".to_owned()], ..Invite::default() }
}

fn names(contacts: &Contacts) -> Vec<&str> {
    contacts.iter().map(|contact| contact.name.as_str()).collect()
}

#[test]
fn contacts_are_kept_sorted_and_found_without_regard_to_case() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("new/blink");
    assert_eq!(Contacts::load(&data_dir).unwrap(), Contacts::default());
    Contacts::update(&data_dir, |contacts| contacts.add(" Zoë ", person(BOB)).map(drop)).unwrap();
    Contacts::update(&data_dir, |contacts| contacts.add("Ada", person(ALICE)).map(drop)).unwrap();
    let contacts = Contacts::load(&data_dir).unwrap();
    assert_eq!(names(&contacts), ["Ada", "Zoë"]);
    assert_eq!(contacts.require("zoË").unwrap().invite(), person(BOB));
    assert_eq!(contacts.with_did(&ALICE.parse().unwrap()).unwrap().name, "Ada");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(path(&data_dir)).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn names_and_people_are_unique_and_refusals_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let update = |change: &dyn Fn(&mut Contacts) -> Result<()>| Contacts::update(directory.path(), change);
    update(&|contacts| contacts.add("Ada", person(ALICE)).map(drop)).unwrap();
    let before = std::fs::read(path(directory.path())).unwrap();
    let refused = |change: &dyn Fn(&mut Contacts) -> Result<()>| update(change).unwrap_err().to_string();
    assert!(refused(&|contacts| contacts.add("ADA", person(BOB)).map(drop)).contains("another contact has this name"));
    assert!(refused(&|contacts| contacts.add("Bob", person(ALICE)).map(drop)).contains("name=Ada"));
    assert!(refused(&|contacts| contacts.add("Node", Invite::default()).map(drop)).contains("no person"));
    assert!(refused(&|contacts| contacts.remove("Adq").map(drop)).contains("similar=Ada"));
    assert!(refused(&|contacts| contacts.rename("Ada", "did:x")).contains("did:"));
    assert_eq!(std::fs::read(path(directory.path())).unwrap(), before);
    update(&|contacts| contacts.set_verified("ada", true)).unwrap();
    update(&|contacts| contacts.rename("ada", "ADA")).unwrap();
    update(&|contacts| contacts.add("Ada", Invite { addresses: Vec::new(), ..person(ALICE) }).map(drop)).unwrap();
    let contacts = Contacts::load(directory.path()).unwrap();
    let ada = contacts.require("Ada").unwrap();
    assert!(ada.verified && ada.addresses.is_empty(), "newer hints replace older ones, and the verification stays");
    update(&|contacts| contacts.remove("ada").map(drop)).unwrap();
    assert_eq!(Contacts::load(directory.path()).unwrap(), Contacts::default());
}

#[test]
fn names_that_deceive_are_refused() {
    for name in
        ["", "  ", "-x", "a@b", "a/b", "did:key:z6", "BLINK:abc", "a\u{1b}[2J", "a\nb", "a\u{202e}b", "a  b", "a\"b"]
    {
        assert!(checked_name(name).is_err(), "{name:?}");
    }
    assert!(checked_name(&"x".repeat(65)).is_err());
    for name in ["Zoë", "東京", "Ann-Marie O'Neil", "עברית", "🎥"] {
        assert_eq!(checked_name(name).unwrap(), name);
    }
}

#[test]
fn damaged_files_and_newer_ones_are_named_and_stay() {
    let directory = tempfile::tempdir().unwrap();
    let file = path(directory.path());
    let twice = format!(r#"{{"version":1,"contacts":[{{"name":"A","did":"{ALICE}"}},{{"name":"a","did":"{BOB}"}}]}}"#);
    let control = format!(r#"{{"version":1,"contacts":[{{"name":"A\u001b","did":"{ALICE}"}}]}}"#);
    let newer = r#"{"version":2,"people":{}}"#;
    for (content, why) in [
        ("", "left as they are"),
        ("{\"vers", "left as they are"),
        (&twice, "has this name"),
        (&control, "control"),
        (newer, "newer"),
    ] {
        std::fs::write(&file, content).unwrap();
        for result in [
            Contacts::load(directory.path()).map(drop),
            Contacts::update(directory.path(), |contacts| contacts.add("Bob", person(BOB)).map(drop)),
        ] {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("contacts.json"), "{content}: {error}");
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), content);
    }
}

#[test]
fn concurrent_changes_are_all_kept() {
    let directory = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for n in 0..8_u8 {
            let data_dir = directory.path();
            scope.spawn(move || {
                let did = Did::from_public_key([n; 32]);
                let invite = Invite { did: Some(did), ..Invite::default() };
                Contacts::update(data_dir, |contacts| contacts.add(&format!("person {n}"), invite).map(drop)).unwrap();
            });
        }
    });
    assert_eq!(Contacts::load(directory.path()).unwrap().iter().count(), 8);
}

use super::*;

const ALICE: &str = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";
const NODE: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

fn full() -> Invite {
    let address = |start: &str| format!("{start}/p2p/{NODE}");
    Invite {
        did: Some(ALICE.parse().unwrap()),
        addresses: vec![
            address("/ip4/203.0.113.7/tcp/4001"),
            address("/ip4/203.0.113.7/udp/4001/quic-v1"),
            "memory:7".to_owned(),
        ],
        nodes: vec![address("/dns/node.example.org/tcp/443/wss")],
        servers: vec![IceServer {
            url: "turn:node.example.org".to_owned(),
            username: "1764500000".to_owned(),
            credential: "secret".to_owned(),
        }],
        expires: Some(1_764_500_000),
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn invites_survive_chats_and_qr_codes() {
    for invite in [Invite::default(), full(), Invite { did: full().did, ..Invite::default() }] {
        let text = invite.to_string();
        assert_eq!(text.parse(), Ok(invite.clone()), "{text}");
        assert_eq!(text.to_uppercase().parse(), Ok(invite.clone()));
        let wrapped = text.as_bytes().chunks(40).map(String::from_utf8_lossy).collect::<Vec<_>>();
        assert_eq!(format!("  {} \n", wrapped.join("\r\n")).parse(), Ok(invite));
    }
}

#[test]
fn an_invite_with_three_addresses_fits_a_chat_line() {
    let Invite { did, addresses, expires, .. } = full();
    let text = Invite { did, addresses, expires, ..Invite::default() }.to_string();
    assert!(text.len() < 240, "{} letters: {text}", text.len());
}

/// An invite of a person behind a router: each address leads through the relay of one node, whose
/// addresses and TURN servers are in it, too.
#[test]
fn an_invite_with_a_node_has_a_qr_code_of_80_columns() {
    let at = ["/ip4/203.0.113.7/tcp/4001", "/ip4/203.0.113.7/udp/4001/quic-v1", "/ip4/203.0.113.7/tcp/4002/ws"];
    let relay = "12D3KooWFELnxC7Sj3FBZLSvyrH4VbuCVxPX7AzJCPnxuJbm2wJ7";
    let nodes: Vec<_> = at.iter().map(|at| format!("{at}/p2p/{relay}")).collect();
    let addresses = nodes.iter().map(|node| format!("{node}/p2p-circuit/p2p/{NODE}")).collect();
    let server = |url: &str| IceServer {
        url: url.to_owned(),
        username: "1800000000:group".to_owned(),
        credential: "wjwSXO2ch1B6VaLTLMy2Avn5O9o=".to_owned(),
    };
    let invite = Invite { did: full().did, addresses, nodes, ..Invite::default() };
    let text = invite.to_string();
    assert_eq!(text.parse(), Ok(invite.clone()));
    assert!(text.len() < 400, "{} letters: {text}", text.len());
    let invite = Invite { servers: vec![server("turn:203.0.113.7:3478")], ..invite };
    let text = invite.to_string();
    assert_eq!(text.parse(), Ok(invite));
    assert!(crate::qr::code(&text.to_uppercase()).is_some(), "{} letters: {text}", text.len());
}

#[test]
fn invites_of_version_1_are_read() {
    // Addresses in binary form, without the peer that all end in.
    let peer = NODE.parse::<multiaddr::PeerId>().unwrap();
    let binary = |address: &str| address.parse::<multiaddr::Multiaddr>().unwrap().to_vec();
    let mut encoder = minicbor::Encoder::new(Vec::new());
    let did = full().did.unwrap();
    encoder.map(4).unwrap().u8(0).unwrap().bytes(did.public_key()).unwrap();
    encoder.u8(2).unwrap().array(2).unwrap().bytes(&binary("/ip4/203.0.113.7/tcp/4001")).unwrap();
    encoder.str("memory:7").unwrap();
    encoder.u8(3).unwrap().bytes(&binary(&format!("/p2p/{peer}"))).unwrap();
    encoder.u8(4).unwrap().array(1).unwrap().bytes(&binary(&format!("/ip4/203.0.113.8/tcp/1/p2p/{peer}"))).unwrap();
    let expected = Invite {
        did: Some(did),
        addresses: vec![format!("/ip4/203.0.113.7/tcp/4001/p2p/{NODE}"), "memory:7".to_owned()],
        nodes: vec![format!("/ip4/203.0.113.8/tcp/1/p2p/{NODE}")],
        ..Invite::default()
    };
    assert_eq!(sealed(1, &encoder.into_writer()).parse(), Ok(expected));
}

#[test]
fn every_single_mistyped_letter_is_found() {
    let text = full().to_string();
    for position in 0..text.len() - SCHEME.len() {
        let mut mistyped = text.clone().into_bytes();
        let letter = &mut mistyped[SCHEME.len() + position];
        *letter = if *letter == b'q' { b'w' } else { b'q' };
        let error = String::from_utf8(mistyped).unwrap().parse::<Invite>().unwrap_err();
        match error {
            InviteError::Mistyped(Some(found)) => assert_eq!(found, position + 1),
            // The length is in the first letters.
            InviteError::CutOff(..) | InviteError::Extended(..) => assert!(position < 4, "{position}: {error}"),
            other => panic!("{position}: {other}"),
        }
    }
}

#[test]
fn errors_say_what_is_wrong_and_what_was_expected() {
    let text = full().to_string();
    let letters = text.len() - SCHEME.len();
    let said = |text: &str| text.parse::<Invite>().unwrap_err().to_string();
    for cut in 0..letters {
        let error = said(&text[..SCHEME.len() + cut]);
        assert!(error.contains("cut off"), "{cut}: {error}");
    }
    assert!(said(&text[..text.len() - 2]).contains(&format!("{} of {letters} letters", letters - 2)));
    assert!(said(&format!("{text}aa")).contains("copy it alone"));
    assert!(said(&format!("{}0{}", &text[..20], &text[21..])).contains("`0` at letter 15"));
    assert!(said(&format!("{}\u{1b}{}", &text[..20], &text[21..])).contains(r"`\u{1b}` at letter 15"));
    assert!(said("mailto:x").contains("begins with blink:"));
    assert!(said(&"blink:a".repeat(10_000)).contains("at most"));
    let mut two = text.clone().into_bytes();
    two.swap(30, 90);
    two.swap(31, 95);
    assert!(said(&String::from_utf8(two).unwrap()).contains("several letters"));
}

#[test]
fn expired_invites_and_those_of_newer_programs_are_refused() {
    let invite = Invite { did: full().did, ..Invite::default() }.expiring(at(1_000), Some(Duration::from_secs(60)));
    let text = invite.to_string();
    assert_eq!(Invite::parse(&text, at(1_059)), Ok(invite));
    let error = Invite::parse(&text, at(1_060)).unwrap_err();
    assert!(error.to_string().contains("expired at 1970-01-01 00:17:40Z"), "{error}");
    let error = sealed(9, &[0xA0]).parse::<Invite>().unwrap_err();
    assert_eq!(error, InviteError::Newer(9));
}

/// Text of a map with a right checksum.
fn sealed(version: u8, body: &[u8]) -> String {
    let mut bytes = u16::try_from(HEADER + body.len() + CHECKSUM).unwrap().to_be_bytes().to_vec();
    bytes.push(version);
    bytes.extend(body);
    bytes.extend(checksum(&bytes));
    format!("{SCHEME}{}", BASE32_NOPAD.encode(&bytes))
}

#[test]
fn hostile_content_is_refused_and_unknown_keys_are_ignored() {
    assert_eq!(sealed(2, &[0xA1, 0x18, 0x63, 0x01]).parse(), Ok(Invite::default()));
    let hostile: [(&[u8], &str); 13] = [
        (&[0xA1, 0x00, 0x41, 0x01], "32 bytes"),
        (&[0xA1, 0x02, 0x9B, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], "too many"),
        (&[0xA1, 0x02, 0x89], "too many"),
        (&[0xA1, 0x02, 0x81, 0x62, b'a', 0x1B], "readable"),
        (&[0xA1, 0x02, 0x81, 0x42, 0xFF, 0xFF], "readable"),
        (&[0xA1, 0x02, 0x81, 0x81, 0x00], "readable"),
        (&[0xA2, 0x02, 0x81, 0x81, 0x1B, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x03, 0x80], "readable"),
        (&[0xA1, 0x03, 0x81, 0x41, 0x01], "readable"),
        (&[0xA1, 0x03, 0x98, 0x40], "too many"),
        (&[0xA1, 0x05, 0x81, 0x83, 0x61, b'x', 0x60, 0x60], "stun:HOST"),
        (&[0xA2, 0x01, 0x01, 0x01, 0x01], "twice"),
        (&[0xA0, 0x00], "after its end"),
        (&[0xBF, 0xFF], "form of an invite"),
    ];
    for (body, why) in hostile {
        let error = sealed(2, body).parse::<Invite>().unwrap_err().to_string();
        assert!(error.contains(why), "{body:x?}: {error}");
    }
}

#[test]
fn random_bytes_with_a_right_checksum_never_panic() {
    use rand::{RngExt, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(21);
    let valid = wire::encode(&full());
    for _ in 0..20_000 {
        let mut body = valid.clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..body.len());
            body[at] = random.random();
        }
        body.truncate(random.random_range(1..=body.len()));
        if let Ok(invite) = sealed(2, &body).parse::<Invite>() {
            assert_eq!(invite.to_string().parse(), Ok(invite));
        }
    }
}

//! CBOR of invites (RFC 8949): a map, whose unknown keys are ignored.
//!
//! | key | value |
//! |---|---|
//! | 0 | DID: the 32 bytes of the Ed25519 key |
//! | 1 | expiry in Unix seconds |
//! | 2 | addresses of the person |
//! | 3 | peers that addresses contain, each said once ([`addresses`]) |
//! | 4 | addresses of nodes |
//! | 5 | servers, each an array of URL, user name and credential |
//!
//! In version 1, an address is text or bytes, and key 3 is the end of each address of the person
//! that is bytes. The two versions are told apart by their types.

mod addresses;

use blink_api::{Did, IceServer, ServerUri};
use minicbor::decode::Error;
use minicbor::{Decoder, Encoder};

use self::addresses::{Peers, Written};
use super::{Invite, InviteError, LONGEST_TEXT, MOST_ADDRESSES, MOST_SERVERS};

/// Encodes an invite.
pub(super) fn encode(invite: &Invite) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    write(invite, &mut encoder).expect("writing to a Vec does not fail");
    encoder.into_writer()
}

fn write(
    invite: &Invite,
    encoder: &mut Encoder<Vec<u8>>,
) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
    let mut peers = Peers::default();
    let [addresses, nodes] = [&invite.addresses, &invite.nodes]
        .map(|addresses| addresses.iter().map(|address| peers.write(address)).collect::<Vec<_>>());
    let keys = [
        invite.did.is_some(),
        invite.expires.is_some(),
        !addresses.is_empty(),
        !peers.is_empty(),
        !nodes.is_empty(),
        !invite.servers.is_empty(),
    ];
    encoder.map(keys.iter().filter(|is| **is).count() as u64)?;
    if let Some(did) = &invite.did {
        encoder.u8(0)?.bytes(did.public_key())?;
    }
    if let Some(expires) = invite.expires {
        encoder.u8(1)?.u64(expires)?;
    }
    if !addresses.is_empty() {
        encoder.u8(2)?.encode(&addresses)?;
    }
    if !peers.is_empty() {
        encoder.u8(3)?.encode(&peers)?;
    }
    if !nodes.is_empty() {
        encoder.u8(4)?.encode(&nodes)?;
    }
    if !invite.servers.is_empty() {
        encoder.u8(5)?.array(invite.servers.len() as u64)?;
        for server in &invite.servers {
            encoder.array(3)?.str(&server.url)?.str(&server.username)?.str(&server.credential)?;
        }
    }
    Ok(())
}

/// Decodes an invite with a right checksum, which may still be hostile.
pub(super) fn decode(bytes: &[u8]) -> Result<Invite, InviteError> {
    let mut decoder = Decoder::new(bytes);
    let invite = read(&mut decoder).map_err(|error| InviteError::Content(reason(&error)))?;
    if decoder.position() != bytes.len() {
        return Err(InviteError::Content("there are bytes after its end"));
    }
    Ok(invite)
}

/// Reason of an own error; others are about the form.
fn reason(error: &Error) -> &'static str {
    let text = error.to_string();
    let own = [BAD_DID, BAD_ADDRESS, BAD_SERVER, TOO_MANY, TWICE];
    own.into_iter().find(|own| text.contains(own)).unwrap_or("its content is not in the form of an invite")
}

const BAD_DID: &str = "its DID is not a key of 32 bytes";
const BAD_ADDRESS: &str = "an address is not readable text of at most 512 characters";
const BAD_SERVER: &str = "a STUN or TURN server is not written stun:HOST[:PORT] or turn:HOST[:PORT]";
const TOO_MANY: &str = "it has too many addresses or servers";
const TWICE: &str = "a part occurs twice";

fn read(decoder: &mut Decoder<'_>) -> Result<Invite, Error> {
    let entries = decoder.map()?.ok_or_else(|| Error::message("a map of unknown length"))?;
    let mut invite = Invite::default();
    let (mut addresses, mut nodes, mut peers) = (Vec::new(), Vec::new(), Peers::default());
    let mut seen = 0_u8;
    for _ in 0..entries {
        let key = decoder.u64()?;
        let flag = u32::try_from(key).ok().and_then(|key| 1_u8.checked_shl(key)).unwrap_or(0);
        if seen & flag != 0 {
            return Err(Error::message(TWICE));
        }
        seen |= flag;
        match key {
            0 => {
                let key = decoder.bytes()?.try_into().map_err(|_| Error::message(BAD_DID))?;
                invite.did = Some(Did::from_public_key(key));
            }
            1 => invite.expires = Some(decoder.u64()?),
            2 => addresses = read_addresses(decoder)?,
            3 => peers = decoder.decode()?,
            4 => nodes = read_addresses(decoder)?,
            5 => invite.servers = read_servers(decoder)?,
            _ => decoder.skip()?,
        }
    }
    invite.addresses = texts(addresses, &peers)?;
    // In version 1, the peer at the end was left out of the person's addresses only.
    invite.nodes = texts(nodes, &peers.without_end())?;
    Ok(invite)
}

fn read_addresses(decoder: &mut Decoder<'_>) -> Result<Vec<Written>, Error> {
    (0..count(decoder, MOST_ADDRESSES)?).map(|_| decoder.decode()).collect()
}

fn texts(addresses: Vec<Written>, peers: &Peers) -> Result<Vec<String>, Error> {
    let checked = |written| peers.read(written).filter(|text| is_address(text));
    addresses.into_iter().map(|written| checked(written).ok_or_else(|| Error::message(BAD_ADDRESS))).collect()
}

fn read_servers(decoder: &mut Decoder<'_>) -> Result<Vec<IceServer>, Error> {
    (0..count(decoder, MOST_SERVERS)?)
        .map(|_| {
            if decoder.array()? != Some(3) {
                return Err(Error::message(BAD_SERVER));
            }
            let mut text = || decoder.str().map(str::to_owned);
            let server = IceServer { url: text()?, username: text()?, credential: text()? };
            let is_short = [&server.url, &server.username, &server.credential].iter().all(|text| is_short(text));
            let is_server = is_short && ServerUri::parse(&server.url).is_ok();
            if is_server { Ok(server) } else { Err(Error::message(BAD_SERVER)) }
        })
        .collect()
}

fn count(decoder: &mut Decoder<'_>, most: usize) -> Result<usize, Error> {
    let count = decoder.array()?.and_then(|count| usize::try_from(count).ok());
    count.filter(|count| *count <= most).ok_or_else(|| Error::message(TOO_MANY))
}

/// Whether a text can be an address: visible ASCII without spaces.
pub(super) fn is_address(text: &str) -> bool {
    !text.is_empty() && is_short(text) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_short(text: &str) -> bool {
    text.len() <= LONGEST_TEXT && !text.contains(char::is_control)
}

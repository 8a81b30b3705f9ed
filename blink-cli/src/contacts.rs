//! Contacts: names of people, with the hints that reach them, in one file of the data directory.
//!
//! The file is JSON, readable by its owner only, and replaced as a whole. Changes of several
//! processes follow one another under a lock. A file that cannot be read is never replaced.

mod safety_words;

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use blink_api::{Did, Error, ErrorKind, IceServer, Result, private};
use serde::{Deserialize, Serialize};

pub(crate) use self::safety_words::safety_words;
use crate::invite::Invite;
use crate::terminal_text::{escape, is_plain};

/// File in the data directory.
const FILE: &str = "contacts.json";
/// File whose lock is held while contacts change. A lock of the file itself would not survive its
/// replacement.
const LOCK: &str = "contacts.lock";
/// Version of the format.
const VERSION: u32 = 1;
/// Most contacts of a file.
const MOST: usize = 10_000;
/// Largest file in bytes.
const LARGEST: u64 = 32 * 1024 * 1024;
/// Longest name in characters.
const LONGEST_NAME: usize = 64;

/// A person, with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contact {
    /// Name, unique without regard to case.
    pub(crate) name: String,
    /// The identity.
    pub(crate) did: Did,
    /// Signaling addresses of the person's node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) addresses: Vec<String>,
    /// Signaling addresses of nodes through which the person is found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) nodes: Vec<String>,
    /// STUN and TURN servers for calls with the person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) servers: Vec<IceServer>,
    /// Whether the safety words were compared.
    #[serde(default)]
    pub(crate) verified: bool,
}

/// All contacts, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Contacts(Vec<Contact>);

/// Content of the file.
#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    contacts: Vec<Contact>,
}

/// Version of a file, read before anything else.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Contacts {
    /// Reads the contacts of a data directory; empty where there are none yet.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a damaged file or one of a newer program, with its path;
    /// [`Io`](ErrorKind::Io) for one that cannot be read.
    pub(crate) fn load(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join(FILE);
        let at = |error: Error| error.with("file", path.display());
        let mut text = Vec::new();
        match private::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            opened => {
                let file = opened.map_err(|error| at(error.into()))?;
                file.take(LARGEST + 1).read_to_end(&mut text).map_err(|error| at(error.into()))?;
            }
        }
        if text.len() as u64 > LARGEST {
            return Err(at(damaged("larger than 32 MiB")));
        }
        Self::parse(&text).map_err(at)
    }

    fn parse(text: &[u8]) -> Result<Self> {
        let version: Version = serde_json::from_slice(text).map_err(|error| damaged(&error.to_string()))?;
        if version.version > VERSION {
            let why = "the contacts were written by a newer version of this program: update it";
            return Err(Error::new(ErrorKind::Invalid, why).with("version", version.version));
        }
        let content: Content = serde_json::from_slice(text).map_err(|error| damaged(&error.to_string()))?;
        let mut contacts = Self::default();
        for contact in content.contacts {
            let name = checked_name(&contact.name).map_err(|error| damaged(error.message()))?;
            contacts.insert(Contact { name, ..contact }).map_err(|error| damaged(error.message()))?;
        }
        Ok(contacts)
    }

    /// Changes the contacts of a data directory, which is created where there is none, and returns
    /// the result of the change. Nothing is written if it fails. Waits while another process does
    /// the same.
    ///
    /// # Errors
    /// As [`load`](Self::load), those of `change`, and [`Io`](ErrorKind::Io) for a directory that
    /// cannot be written.
    pub(crate) fn update<T>(data_dir: &Path, change: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let in_directory = |error: std::io::Error| Error::from(error).with("data_dir", data_dir.display());
        private::create_directory(data_dir).map_err(in_directory)?;
        let lock = private::open_or_create(&data_dir.join(LOCK)).map_err(in_directory)?;
        // Released when the file is closed, also by a crash.
        lock.lock().map_err(in_directory)?;
        let mut contacts = Self::load(data_dir)?;
        let before = contacts.clone();
        let result = change(&mut contacts)?;
        if contacts != before {
            contacts.store(data_dir).map_err(in_directory)?;
        }
        Ok(result)
    }

    fn store(&self, data_dir: &Path) -> std::io::Result<()> {
        let content = Content { version: VERSION, contacts: self.0.clone() };
        // Created with the permissions 0600.
        let mut file = tempfile::NamedTempFile::new_in(data_dir)?;
        serde_json::to_writer_pretty(&mut file, &content)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(data_dir.join(FILE))?;
        // The replacement survives a power failure once the directory is written.
        #[cfg(unix)]
        File::open(data_dir)?.sync_all()?;
        Ok(())
    }

    /// All contacts, sorted by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Contact> {
        self.0.iter()
    }

    /// Contact of this name, without regard to case.
    pub(crate) fn named(&self, name: &str) -> Option<&Contact> {
        self.0.iter().find(|contact| is_same(&contact.name, name))
    }

    /// Contact with this DID.
    pub(crate) fn with_did(&self, did: &Did) -> Option<&Contact> {
        self.0.iter().find(|contact| contact.did == *did)
    }

    /// Contact of this name.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) with similar names, or else some that exist.
    pub(crate) fn require(&self, name: &str) -> Result<&Contact> {
        self.named(name).ok_or_else(|| self.unknown(name))
    }

    /// Error of an unknown name.
    pub(crate) fn unknown(&self, name: &str) -> Error {
        let similar = |contact: &&Contact| {
            let (known, name) = (contact.name.to_lowercase(), name.to_lowercase());
            strsim::damerau_levenshtein(&known, &name) <= 2 || (name.len() > 2 && known.starts_with(&name))
        };
        let near: Vec<_> = self.iter().filter(similar).take(3).map(|contact| contact.name.as_str()).collect();
        let error = Error::new(ErrorKind::NotFound, "no contact has this name").with("name", escape(name));
        if near.is_empty() { error } else { error.with("similar", near.join(", ")) }
    }

    /// Adds a person. The same name with the same DID replaces the hints.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for an unusable name, an invite without a DID, a name that
    /// another person has, and a person that has another name.
    pub(crate) fn add(&mut self, name: &str, invite: Invite) -> Result<&Contact> {
        let name = checked_name(name)?;
        let did = invite.did.ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "this invite is to a node and no person: use it with `blink node add`")
        })?;
        let verified = self.with_did(&did).is_some_and(|contact| contact.verified);
        if self.named(&name).is_some_and(|contact| contact.did == did) {
            self.0.retain(|contact| contact.did != did);
        }
        let Invite { addresses, nodes, servers, .. } = invite;
        self.insert(Contact { name: name.clone(), did, addresses, nodes, servers, verified })?;
        self.require(&name)
    }

    /// Removes a contact.
    ///
    /// # Errors
    /// As [`require`](Self::require).
    pub(crate) fn remove(&mut self, name: &str) -> Result<Contact> {
        let removed = self.require(name)?.clone();
        self.0.retain(|contact| contact.did != removed.did);
        Ok(removed)
    }

    /// Gives a contact another name.
    ///
    /// # Errors
    /// As [`require`](Self::require), and [`Invalid`](ErrorKind::Invalid) for a name that is
    /// unusable or that another person has.
    pub(crate) fn rename(&mut self, name: &str, new: &str) -> Result<()> {
        let mut contact = self.require(name)?.clone();
        contact.name = checked_name(new)?;
        let mut others = Self(self.0.iter().filter(|other| other.did != contact.did).cloned().collect());
        others.insert(contact)?;
        *self = others;
        Ok(())
    }

    /// Records whether the safety words of a contact were compared.
    ///
    /// # Errors
    /// As [`require`](Self::require).
    pub(crate) fn set_verified(&mut self, name: &str, verified: bool) -> Result<()> {
        let did = self.require(name)?.did;
        self.0.iter_mut().filter(|contact| contact.did == did).for_each(|contact| contact.verified = verified);
        Ok(())
    }

    fn insert(&mut self, contact: Contact) -> Result<()> {
        let refuse = |why: &'static str, name: &str| Error::new(ErrorKind::Invalid, why).with("name", name);
        if self.named(&contact.name).is_some() {
            return Err(refuse("another contact has this name", &contact.name));
        }
        if let Some(other) = self.with_did(&contact.did) {
            return Err(refuse("this person is a contact already, by this name", &other.name));
        }
        if self.0.len() >= MOST {
            return Err(Error::new(ErrorKind::Invalid, "there are 10,000 contacts, and more are not stored"));
        }
        let at = self.0.partition_point(|other| other.name.to_lowercase() < contact.name.to_lowercase());
        self.0.insert(at, contact);
        Ok(())
    }
}

impl Contact {
    /// The hints as an invite without expiry.
    pub(crate) fn invite(&self) -> Invite {
        Invite {
            did: Some(self.did),
            addresses: self.addresses.clone(),
            nodes: self.nodes.clone(),
            servers: self.servers.clone(),
            expires: None,
        }
    }
}

/// Path of the file.
#[cfg(test)]
fn path(data_dir: &Path) -> std::path::PathBuf {
    data_dir.join(FILE)
}

fn damaged(why: &str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        "the contacts cannot be read, and are left as they are: repair the file, or move it away",
    )
    .with("reason", escape(why))
}

fn is_same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.trim().to_lowercase()
}

/// A name without surrounding space.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) for one that cannot be told from an option, DID, address or
/// invite, that is too long, or that has invisible characters.
pub(crate) fn checked_name(name: &str) -> Result<String> {
    let name = name.trim();
    let invalid = |why: &'static str| Err(Error::new(ErrorKind::Invalid, why).with("name", escape(name)));
    if name.is_empty() {
        return invalid("a name has at least one character");
    }
    if name.chars().count() > LONGEST_NAME {
        return Err(Error::new(ErrorKind::Invalid, "a name has at most 64 characters"));
    }
    if !name.chars().all(is_plain) {
        return invalid("a name has no control characters and no invisible ones");
    }
    if name.starts_with('-') || name.contains(['@', '/', '"']) || name.contains("  ") {
        return invalid("a name has no @, no /, no quotation mark, no two spaces together and no - in front");
    }
    if Invite::is_meant(name) || name.to_lowercase().starts_with("did:") {
        return invalid("a name does not begin with did: or blink:");
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests;

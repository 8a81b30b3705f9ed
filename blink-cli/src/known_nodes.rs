//! Nodes that this user was invited to, in a file of the data directory: their addresses and
//! servers apply wherever the configuration names none.
//!
//! The file is JSON, readable by its owner only because it holds credentials, and replaced as a
//! whole. A file that cannot be read is never replaced.

use std::io::{Read, Write};
use std::path::Path;
use std::time::SystemTime;

use blink_api::{Configuration, ConfigurationBuilder, Error, ErrorKind, IceServer, Result, private};
use figment::value::Value;
use serde::{Deserialize, Serialize};

use crate::invite::{Invite, unix_seconds};
use crate::terminal_text::escape;

/// File in the data directory.
const FILE: &str = "nodes.json";
/// File whose lock is held while the nodes change.
const LOCK: &str = "nodes.lock";
/// Version of the format.
const VERSION: u32 = 1;
/// Largest file in bytes.
const LARGEST: u64 = 1024 * 1024;
/// Most nodes.
const MOST: usize = 16;
/// Source of the values in `blink config`.
const SOURCE: &str = "blink node add";

/// A node of a group of people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KnownNode {
    /// Peer id, by which the node is named.
    pub(crate) peer: String,
    /// Signaling addresses, the best first.
    pub(crate) addresses: Vec<String>,
    /// STUN and TURN servers with their credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) servers: Vec<IceServer>,
    /// Time at which the credentials expire, in Unix seconds; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<u64>,
}

/// All nodes, in the order in which they were added.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct KnownNodes(Vec<KnownNode>);

/// Content of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    nodes: Vec<KnownNode>,
}

impl KnownNode {
    /// Whether the credentials of the servers have expired.
    pub(crate) fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| unix_seconds(now) >= expires)
    }
}

impl KnownNodes {
    /// Reads the nodes of a data directory; empty where there are none yet.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a damaged file or one of a newer program, with its path;
    /// [`Io`](ErrorKind::Io) for one that cannot be read.
    pub(crate) fn load(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join(FILE);
        let at = |error: Error| error.with("file", path.display());
        let file = match private::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            opened => opened.map_err(|error| at(error.into()))?,
        };
        let mut text = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut text).map_err(|error| at(error.into()))?;
        if text.len() as u64 > LARGEST {
            return Err(at(damaged("larger than 1 MiB")));
        }
        let content: Content = serde_json::from_slice(&text).map_err(|error| at(damaged(&error.to_string())))?;
        if content.version != VERSION {
            return Err(at(damaged("it was written by a newer version of this program")));
        }
        Ok(Self(content.nodes))
    }

    /// Changes the nodes of a data directory, which is created where there is none. Nothing is
    /// written if the change fails.
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
        let mut nodes = Self::load(data_dir)?;
        let result = change(&mut nodes)?;
        nodes.store(data_dir).map_err(in_directory)?;
        Ok(result)
    }

    fn store(&self, data_dir: &Path) -> std::io::Result<()> {
        // Created with the permissions 0600.
        let mut file = tempfile::NamedTempFile::new_in(data_dir)?;
        serde_json::to_writer_pretty(&mut file, &Content { version: VERSION, nodes: self.0.clone() })?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(data_dir.join(FILE))?;
        Ok(())
    }

    /// All nodes, in the order in which they were added.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &KnownNode> {
        self.0.iter()
    }

    /// Adds the node of an invite; the same node again replaces its addresses and servers.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for an invite to a person, one without an address of a node,
    /// and beyond 16 nodes.
    pub(crate) fn add(&mut self, invite: Invite) -> Result<KnownNode> {
        let invalid = |why: &'static str| Error::new(ErrorKind::Invalid, why);
        if invite.did.is_some() {
            return Err(invalid(
                "this invite is to a person: use it with `blink call`, or keep it with `blink contacts add NAME`",
            ));
        }
        let Invite { nodes: addresses, servers, expires, .. } = invite;
        let peers: Vec<_> = addresses.iter().map(|address| peer(address)).collect();
        let peer = match &peers[..] {
            [] => {
                return Err(invalid(
                    "this invite names no node: ask its operator for the one that `blink node` prints",
                ));
            }
            [Some(first), others @ ..] if others.iter().all(|other| other.as_ref() == Some(first)) => first.clone(),
            _ => {
                return Err(invalid(
                    "the addresses of this invite are not those of one node, with /p2p/ and its peer id",
                ));
            }
        };
        let node = KnownNode { peer, addresses, servers, expires };
        match self.0.iter().position(|known| known.peer == node.peer) {
            Some(position) => self.0[position] = node.clone(),
            None if self.0.len() < MOST => self.0.push(node.clone()),
            None => return Err(invalid("there are 16 nodes, and more are not kept: remove one")),
        }
        Ok(node)
    }

    /// Removes the node whose peer id begins with `peer`.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) without such a node, [`Invalid`](ErrorKind::Invalid) for
    /// several.
    pub(crate) fn remove(&mut self, peer: &str) -> Result<KnownNode> {
        let matching: Vec<_> = self.0.iter().filter(|node| node.peer.starts_with(peer)).cloned().collect();
        match &matching[..] {
            [node] => {
                self.0.retain(|known| known != node);
                Ok(node.clone())
            }
            [] => Err(Error::new(ErrorKind::NotFound, "no node has this peer id: `blink node list` shows them")
                .with("peer", escape(peer))),
            _ => Err(Error::new(ErrorKind::Invalid, "several nodes have a peer id that begins so")
                .with("peer", escape(peer))),
        }
    }

    /// Servers whose credentials are valid.
    fn servers(&self, now: SystemTime) -> Vec<IceServer> {
        self.iter().filter(|node| !node.is_expired(now)).flat_map(|node| node.servers.clone()).collect()
    }

    /// Adds the addresses and servers to a configuration, for each key that `first`, the same
    /// configuration without them, leaves at its default.
    ///
    /// # Errors
    /// Those of the representation of the values.
    pub(crate) fn apply(
        &self,
        mut builder: ConfigurationBuilder,
        first: &Configuration,
        now: SystemTime,
    ) -> Result<ConfigurationBuilder> {
        let addresses: Vec<_> = self.iter().flat_map(|node| node.addresses.clone()).collect();
        let servers = self.servers(now);
        for value in first.effective().into_iter().filter(|value| value.source == "default") {
            let is_bootstrap = value.key.starts_with("signalings.") && value.key.ends_with(".bootstrap");
            if is_bootstrap && !addresses.is_empty() {
                builder = builder.set(SOURCE, &value.key, addresses.clone());
            } else if value.key == "ice.servers" && !servers.is_empty() {
                let servers = Value::serialize(&servers)
                    .map_err(|error| Error::new(ErrorKind::Invalid, "the servers of a node").source(error))?;
                builder = builder.set(SOURCE, &value.key, servers);
            }
        }
        Ok(builder)
    }
}

/// Peer id at the end of an address.
fn peer(address: &str) -> Option<String> {
    match address.parse::<multiaddr::Multiaddr>().ok()?.pop() {
        Some(multiaddr::Protocol::P2p(peer)) => Some(peer.to_string()),
        _ => None,
    }
}

fn damaged(why: &str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        "the nodes cannot be read, and are left as they are: repair the file, or move it away",
    )
    .with("reason", escape(why))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use blink_api::Registry;

    use super::*;
    use crate::backends;

    const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    const OTHER: &str = "12D3KooWFELnxC7Sj3FBZLSvyrH4VbuCVxPX7AzJCPnxuJbm2wJ7";

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn invite(peer: &str, port: u16) -> Invite {
        let server = IceServer {
            url: format!("turn:192.0.2.1:{port}"),
            username: "2000:group".to_owned(),
            credential: "secret".to_owned(),
        };
        let nodes = vec![format!("/ip4/192.0.2.1/tcp/{port}/p2p/{peer}")];
        Invite { nodes, servers: vec![server], expires: Some(2_000), ..Invite::default() }
    }

    #[test]
    fn nodes_are_kept_for_their_owner_and_named_by_their_peer() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("blink");
        assert_eq!(KnownNodes::load(&data_dir).unwrap(), KnownNodes::default());
        for (peer, port) in [(PEER, 1), (OTHER, 2), (PEER, 3)] {
            KnownNodes::update(&data_dir, |nodes| nodes.add(invite(peer, port))).unwrap();
        }
        let nodes = KnownNodes::load(&data_dir).unwrap();
        let peers: Vec<_> = nodes.iter().map(|node| (node.peer.as_str(), node.servers[0].url.as_str())).collect();
        assert_eq!(peers, [(PEER, "turn:192.0.2.1:3"), (OTHER, "turn:192.0.2.1:2")]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(data_dir.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let remove = |peer: &str| KnownNodes::update(&data_dir, |nodes| nodes.remove(peer));
        assert_eq!(remove("12D3KooW").unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(remove("x").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(remove("12D3KooWF").unwrap().peer, OTHER);
        assert_eq!(KnownNodes::load(&data_dir).unwrap().iter().count(), 1);
    }

    #[test]
    fn a_damaged_file_is_never_replaced() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["", "{", r#"{"version": 2, "nodes": []}"#, r#"{"version": 1, "nodes": [{}]}"#] {
            std::fs::write(directory.path().join(FILE), text).unwrap();
            let error = KnownNodes::update(directory.path(), |nodes| nodes.add(invite(PEER, 1))).unwrap_err();
            assert!(error.to_string().contains("move it away"), "{error}");
            assert_eq!(std::fs::read_to_string(directory.path().join(FILE)).unwrap(), text);
        }
    }

    #[test]
    fn invites_that_name_no_node_are_refused() {
        let mut nodes = KnownNodes::default();
        let did = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp".parse().ok();
        let mut mixed = invite(PEER, 1);
        mixed.nodes.extend(invite(OTHER, 1).nodes);
        let cases = [
            (Invite { did, ..invite(PEER, 1) }, "is to a person"),
            (Invite::default(), "names no node"),
            (Invite { nodes: vec!["memory:1".to_owned()], ..Invite::default() }, "not those of one node"),
            (Invite { nodes: vec!["/ip4/192.0.2.1/tcp/1".to_owned()], ..Invite::default() }, "not those of one node"),
            (mixed, "not those of one node"),
        ];
        for (invite, why) in cases {
            let error = nodes.add(invite).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
        assert_eq!(nodes, KnownNodes::default());
    }

    /// A configured value stays as it is, and expired credentials are not used.
    #[test]
    fn nodes_fill_the_keys_that_are_not_configured() {
        let mut nodes = KnownNodes::default();
        nodes.add(invite(PEER, 1)).unwrap();
        let registry = Registry::discovered().unwrap();
        let applied = |toml: &str, now| {
            let builder = || backends::configuration(&registry).toml("blink.toml", toml);
            nodes.apply(builder(), &builder().build().unwrap(), now).unwrap().build().unwrap()
        };
        let source = |configuration: &Configuration, key: &str| {
            configuration.effective().into_iter().find(|value| value.key == key).unwrap().source
        };
        let configuration = applied("", at(1_999));
        assert_eq!(crate::inviting::bootstrap(&configuration), invite(PEER, 1).nodes);
        assert_eq!(configuration.settings().ice.servers, invite(PEER, 1).servers);
        assert_eq!(source(&configuration, "signalings.libp2p.bootstrap"), SOURCE);
        assert_eq!(source(&configuration, "ice.servers"), SOURCE);
        let configuration = applied("[ice]\nservers = []\n[signalings.libp2p]\nbootstrap = []", at(0));
        assert!(configuration.settings().ice.servers.is_empty());
        assert_eq!(source(&configuration, "signalings.libp2p.bootstrap"), "blink.toml");
        assert!(applied("", at(2_000)).settings().ice.servers.is_empty());
    }
}

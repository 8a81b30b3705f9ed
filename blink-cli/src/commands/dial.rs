//! Connections to the nodes of callees.

use std::time::Duration;

use blink_api::{Did, ErrorKind, Result};
use blink_engine::Blink;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::target::Target;

/// Timeout of the first connection to a node.
const CONNECT: Duration = Duration::from_secs(30);
/// Time for which the other callees wait for a node that does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A callee whose addresses all failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreachable {
    /// The callee.
    pub(crate) did: Did,
    /// Error of the last address.
    pub(crate) reason: String,
}

/// Connects to a node of each callee that has addresses, and returns those that failed so far. A
/// callee without an address is discovered by its DID.
///
/// Slow nodes do not hold up the call of others: 2 s after the first connection, the rest goes on
/// in the background.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) for text that is no address of this signaling backend.
pub(crate) async fn dial(blink: &Blink, callees: &[Target]) -> Result<Vec<Unreachable>> {
    use_servers(blink, callees).await?;
    let mut attempts = JoinSet::new();
    let mut has_connection = false;
    for callee in callees {
        let addresses: Vec<_> = callee.addresses.iter().chain(&callee.nodes).cloned().collect();
        if addresses.is_empty() {
            has_connection = true;
            continue;
        }
        let (blink, did) = (blink.clone(), callee.did);
        attempts.spawn(async move { (did, connect(blink, addresses).await) });
    }
    let mut failed = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let next = match has_connection {
            true => tokio::time::timeout_at(deadline, attempts.join_next()).await,
            false => Ok(attempts.join_next().await),
        };
        match next {
            Ok(Some(Ok((_, Ok(()))))) => has_connection = true,
            Ok(Some(Ok((_, Err(error))))) if error.kind() == ErrorKind::Invalid => return Err(error),
            Ok(Some(Ok((did, Err(error))))) => failed.push(Unreachable { did, reason: error.to_string() }),
            Ok(Some(Err(error))) => tracing::error!(%error, "connecting stopped"),
            Ok(None) => return Ok(failed),
            Err(_) => {
                attempts.detach_all();
                return Ok(failed);
            }
        }
    }
}

/// Makes the STUN and TURN servers of people known to the engine.
pub(crate) async fn use_servers(blink: &Blink, people: &[Target]) -> Result<()> {
    for person in people.iter().filter(|person| !person.servers.is_empty()) {
        blink.set_ice_servers(person.did, person.servers.clone()).await?;
    }
    Ok(())
}

/// Connects to any of these addresses.
async fn connect(blink: Blink, addresses: Vec<String>) -> Result<()> {
    let mut attempts = JoinSet::new();
    for address in addresses {
        let blink = blink.clone();
        attempts.spawn(async move { blink.connect(&address).await });
    }
    drop(blink);
    let timeout = || blink_api::Error::new(ErrorKind::Timeout, "no answer");
    let mut failure = None;
    let limit = Instant::now() + CONNECT;
    while let Ok(Some(attempt)) = tokio::time::timeout_at(limit, attempts.join_next()).await {
        match attempt {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) if error.kind() == ErrorKind::Invalid => return Err(error),
            Ok(Err(error)) => failure = Some(error),
            Err(error) => tracing::error!(%error, "connecting stopped"),
        }
    }
    Err(failure.unwrap_or_else(timeout))
}

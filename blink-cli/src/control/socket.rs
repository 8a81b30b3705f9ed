//! Control socket on Unix: both ends.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, broadcast, mpsc};

use super::accepted;
use crate::commands::{Command, LONGEST};
use crate::failure::Failure;
use crate::output::Output;

/// Name in the data directory.
const SOCKET: &str = "control.sock";
/// Most connections at a time; more wait.
const CONNECTIONS: usize = 32;
/// Commands of all connections that wait to be executed.
const WAITING: usize = 64;
/// Time for a reader to take a line; a slower one is disconnected.
const WRITE: Duration = Duration::from_secs(10);
/// Time for the reply to a command. Calling waits for connections to nodes.
const REPLY: Duration = Duration::from_secs(60);

/// The listening end; its socket is removed on drop.
pub(crate) struct Server {
    path: Option<PathBuf>,
    lines: mpsc::Receiver<String>,
}

impl Server {
    /// Starts to listen in a data directory, which must be locked by this process. Without one, or
    /// if the system refuses, nothing is ever received.
    pub(crate) fn start(data_dir: Option<&Path>, output: &Output) -> Self {
        let (sender, lines) = mpsc::channel(WAITING);
        let bound = data_dir.map(bind).transpose();
        let (path, listener) = match bound {
            Ok(Some((path, listener))) => (Some(path), listener),
            Ok(None) => return Self { path: None, lines },
            Err(error) => {
                tracing::warn!(%error, "no control socket: other commands cannot use the running program");
                return Self { path: None, lines };
            }
        };
        tokio::spawn(accept(listener, sender, output.subscribe()));
        Self { path, lines }
    }

    /// Waits for the next line of any connection.
    pub(crate) async fn line(&mut self) -> String {
        match self.lines.recv().await {
            Some(line) => line,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // A leftover socket refuses connections, which is harmless.
            std::fs::remove_file(path).ok();
        }
    }
}

/// Binds the socket with the permissions 0600 from its first moment: it is made in a directory that
/// only this user enters, and moved.
fn bind(data_dir: &Path) -> io::Result<(PathBuf, UnixListener)> {
    let private = tempfile::Builder::new().prefix(".c").rand_bytes(4).tempdir_in(data_dir)?;
    let made = private.path().join("s");
    let listener = UnixListener::bind(&made)?;
    std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o600))?;
    let path = data_dir.join(SOCKET);
    std::fs::rename(&made, &path)?;
    Ok((path, listener))
}

async fn accept(listener: UnixListener, sender: mpsc::Sender<String>, events: broadcast::Receiver<Arc<str>>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(permit) = connections.clone().acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Too many open files, for example: others may be closed soon.
                tracing::warn!(%error, "the control socket does not accept");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let (reader, writer) = stream.into_split();
        // Subscribed before the first command is read, so that no reply is missed.
        let events = events.resubscribe();
        let sender = sender.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = read(reader, sender) => {}
                () = write(writer, events) => {}
            }
            drop(permit);
        });
    }
}

async fn read(reader: OwnedReadHalf, sender: mpsc::Sender<String>) {
    let mut reader = BufReader::new(reader);
    while let Some(line) = next_line(&mut reader).await {
        if sender.send(line).await.is_err() {
            return;
        }
    }
}

/// The next line; `None` at the end and for one that is too long.
async fn next_line(reader: &mut BufReader<OwnedReadHalf>) -> Option<String> {
    let mut line = Vec::new();
    let limit = LONGEST as u64 + 1;
    reader.take(limit).read_until(b'\n', &mut line).await.ok()?;
    (line.last() == Some(&b'\n')).then(|| String::from_utf8_lossy(&line).trim_end().to_owned())
}

async fn write(mut writer: OwnedWriteHalf, mut events: broadcast::Receiver<Arc<str>>) {
    loop {
        let line: Arc<str> = match events.recv().await {
            Ok(line) => line,
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                json!({ "event": "lagged", "missed": missed }).to_string().into()
            }
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let line = format!("{line}\n");
        match tokio::time::timeout(WRITE, writer.write_all(line.as_bytes())).await {
            Ok(Ok(())) => {}
            // The other end is gone, or does not read.
            _ => return,
        }
    }
}

/// A connection to the process that uses a data directory.
pub(crate) struct Client {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    asked: u64,
    /// Beginning of the next line.
    line: Vec<u8>,
    /// Events before the reply that was waited for.
    pending: VecDeque<Value>,
    is_open: bool,
}

impl Client {
    /// Connects; `None` where no process listens, and where the socket is another user's.
    pub(crate) async fn connect(data_dir: &Path) -> Option<Self> {
        let path = data_dir.join(SOCKET);
        let metadata = std::fs::symlink_metadata(&path).ok()?;
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            tracing::warn!("the control socket belongs to another user and is not used");
            return None;
        }
        let (reader, writer) = UnixStream::connect(&path).await.ok()?.into_split();
        Some(Self {
            reader: BufReader::new(reader),
            writer,
            asked: 0,
            line: Vec::new(),
            pending: VecDeque::new(),
            is_open: true,
        })
    }

    /// Executes a command and waits for its reply; other events stay for [`next`](Self::next).
    ///
    /// # Errors
    /// A failure with the reason of a refusal, or if the process ends or is silent.
    pub(crate) async fn ask(&mut self, command: Command) -> Result<Value, Failure> {
        self.asked += 1;
        let id = json!(format!("{}-{}", std::process::id(), self.asked));
        let mut line = serde_json::to_value(&command).unwrap_or_default();
        line["id"] = id.clone();
        self.send(&line.to_string()).await?;
        let reply = async {
            loop {
                match self.read().await {
                    Some(event) if event["id"] == id => return accepted(event),
                    Some(event) => self.pending.push_back(event),
                    None => return Err(ended()),
                }
            }
        };
        tokio::time::timeout(REPLY, reply)
            .await
            .unwrap_or_else(|_| Err(Failure::call("the running blink does not reply")))
    }

    /// Sends a line.
    ///
    /// # Errors
    /// A failure if the process has ended.
    pub(crate) async fn send(&mut self, line: &str) -> Result<(), Failure> {
        self.writer.write_all(format!("{line}\n").as_bytes()).await.map_err(|_| ended())
    }

    /// Whether the process is not known to have ended.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// The next event; `None` once the process has ended.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        match self.pending.pop_front() {
            Some(event) => Some(event),
            None => self.read().await,
        }
    }

    async fn read(&mut self) -> Option<Value> {
        // Kept over a drop of this future: `read_until` has then appended what it read.
        match self.reader.read_until(b'\n', &mut self.line).await {
            Ok(0) | Err(_) => {
                self.is_open = false;
                None
            }
            Ok(_) => {
                let event = serde_json::from_slice(&self.line).unwrap_or(Value::Null);
                self.line.clear();
                Some(event)
            }
        }
    }
}

fn ended() -> Failure {
    Failure::call("the running blink ended")
}

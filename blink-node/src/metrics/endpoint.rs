//! HTTP endpoint `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use blink_api::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::listen_failure;

/// Limits of a request: size of its head, time, and requests at once.
const LARGEST_HEAD: usize = 8 * 1024;
const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_REQUESTS: usize = 16;
/// Pause after a failed accept, such as for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Texts of metrics, made for each request.
type Text = Arc<dyn Fn() -> String + Send + Sync>;

/// HTTP endpoint that serves metrics at `/metrics`, in the text format of Prometheus. Dropping it
/// stops it.
#[derive(Debug)]
pub struct MetricsEndpoint {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl MetricsEndpoint {
    /// Listens on an address; port 0 takes any free one. `text` makes the text of a reply
    /// (version 0.0.4). Needs a tokio runtime with time and IO enabled.
    ///
    /// # Errors
    /// [`Busy`](blink_api::ErrorKind::Busy) for a port in use,
    /// [`Invalid`](blink_api::ErrorKind::Invalid) for an address that the machine does not have,
    /// [`Io`](blink_api::ErrorKind::Io).
    pub async fn start(address: SocketAddr, text: impl Fn() -> String + Send + Sync + 'static) -> Result<Self> {
        let failed = |source| listen_failure("metrics", address, source);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { address, task: tokio::spawn(serve(listener, Arc::new(text))) })
    }

    /// Address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MetricsEndpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, text: Text) {
    let slots = Arc::new(Semaphore::new(MAX_REQUESTS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "a request for metrics is lost");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let text = Arc::clone(&text);
        tokio::spawn(async move {
            match tokio::time::timeout(TIMEOUT, answer(stream, &*text)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a request for metrics failed"),
                Err(_) => tracing::debug!("a request for metrics took too long"),
            }
            drop(slot);
        });
    }
}

async fn answer(mut stream: TcpStream, text: &(dyn Fn() -> String + Send + Sync)) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= LARGEST_HEAD || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (status, body) = match (words.next(), words.next()) {
        (Some(b"GET"), Some(b"/metrics")) => ("200 OK", text()),
        (Some(b"GET"), _) => ("404 Not Found", "see /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "expected GET\n".to_owned()),
    };
    let length = body.len();
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}

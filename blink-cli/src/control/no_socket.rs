//! Systems without Unix sockets: no process takes commands of others.

use std::path::Path;

use serde_json::Value;

use crate::commands::Command;
use crate::failure::Failure;
use crate::output::Output;

/// No connection.
pub(crate) enum Client {}

/// No server.
pub(crate) struct Server;

impl Client {
    pub(crate) async fn connect(_data_dir: &Path) -> Option<Self> {
        None
    }

    pub(crate) async fn ask(&mut self, _command: Command) -> Result<Value, Failure> {
        match *self {}
    }

    pub(crate) async fn send(&mut self, _line: &str) -> Result<(), Failure> {
        match *self {}
    }

    pub(crate) fn is_open(&self) -> bool {
        match *self {}
    }

    pub(crate) async fn next(&mut self) -> Option<Value> {
        match *self {}
    }
}

impl Server {
    pub(crate) fn start(_data_dir: Option<&Path>, _output: &Output) -> Self {
        Self
    }

    pub(crate) async fn line(&mut self) -> String {
        std::future::pending().await
    }
}

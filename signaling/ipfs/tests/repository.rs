//! Repositories on disk.

#[path = "../../kit/tests/network/nodes.rs"]
mod nodes;
mod own;

use blink_api::Signaling;
use nodes::{TCP, config};
use own::{Config, Node};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_on_disk_belongs_to_one_node_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let on_disk = || Config { repository: Some(directory.path().join("a/repository")), ..config(TCP) };
    let first = Node::start(on_disk()).await.unwrap();
    assert!(directory.path().join("a/repository").is_dir());
    let refused = Node::start(on_disk()).await.err().expect("it is in use");
    assert!(refused.to_string().contains("a/repository"), "{refused}");
    first.shutdown().await;
    Node::start(on_disk()).await.unwrap();
}

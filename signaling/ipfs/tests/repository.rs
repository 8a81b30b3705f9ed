//! IPFS repositories on disk.

#[path = "../../kit/tests/network/nodes.rs"]
mod nodes;
mod own;

use blink_api::Signaling;
use nodes::{TCP, config};
use own::{Config, Node};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_is_locked_by_its_node_until_shutdown() {
    let directory = tempfile::tempdir().unwrap();
    let on_disk = || Config { repository: Some(directory.path().join("a/repository")), ..config(TCP) };
    let first = Node::start(on_disk()).await.unwrap();
    assert!(directory.path().join("a/repository").is_dir());
    let refused = Node::start(on_disk()).await.expect_err("the repository is in use");
    assert!(refused.to_string().contains("a/repository"), "{refused}");
    first.shutdown().await;
    Node::start(on_disk()).await.unwrap();
}

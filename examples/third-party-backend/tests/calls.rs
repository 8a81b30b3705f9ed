//! Whole calls over both backends.

use third_party_backend as _;

blink_conformance::call_tests!(
    calls,
    transport "sealed-udp",
    signaling "tcp",
    [r#"ice.interfaces=["127.0.0.1"]"#]
);

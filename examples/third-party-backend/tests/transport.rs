//! Conformance of the transport, with its own kind.

use third_party_backend::transport::UdpTransport;

blink_conformance::transport_tests!(
    sealed_udp,
    UdpTransport::default(),
    UdpTransport::default(),
    registered as "sealed-udp"
);

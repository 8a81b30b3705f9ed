//! DTLS for str0m: the implementation that it uses itself, which it gives no way to set timers of.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd};
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
};
use str0m::crypto::{CryptoError, CryptoProvider, from_feature_flags};

/// When a flight of the handshake is first repeated, and from then on after twice the time each.
/// RFC 9147 §5.8.2 has 1 s in general, recommends 400 ms for DTLS-SRTP, and allows less: where each
/// tenth packet is lost, every other handshake loses something, and people wait. On a slow path it
/// costs a few datagrams that were not needed.
const FIRST_REPETITION: Duration = Duration::from_millis(100);
/// Repetitions of a flight, those included that the other side asks for by repeating its own. The
/// handshake's own limit comes before their end.
const MOST_REPETITIONS: usize = 20;

/// What str0m encrypts and signs with.
pub(crate) fn crypto() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { dtls_provider: &Provider, ..from_feature_flags() })
}

#[derive(Debug)]
struct Provider;

impl DtlsProvider for Provider {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        self_signed().inspect_err(|error| tracing::error!(%error, "no certificate can be made")).ok()
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let failed = |error: dimpl::Error| CryptoError::Other(error.to_string());
        // ICE has shown that the other side is where it says; cookies would show that once more.
        let mut config = dimpl::Config::builder()
            .use_server_cookie(false)
            .flight_start_rto(FIRST_REPETITION)
            .flight_retries(MOST_REPETITIONS);
        if let Some(mtu) = mtu {
            config = config.mtu(mtu);
        }
        let (config, certificate) = (Arc::new(config.build().map_err(failed)?), certificate.clone());
        let dtls = match version {
            DtlsVersion::Dtls12 => dimpl::Dtls::new_12(config, certificate, now),
            DtlsVersion::Dtls13 => dimpl::Dtls::new_13(config, certificate, now),
            DtlsVersion::Auto => dimpl::Dtls::new_auto(config, certificate, now),
            other => return Err(CryptoError::Other(format!("{other} is not known here"))),
        };
        Ok(Box::new(Dtls(dtls)))
    }
}

/// A fresh certificate. It proves nothing but that its key is the one of the description, so its
/// validity is fixed: peers do not look at it (RFC 8827 §6.5), it must not depend on a clock that
/// may be wrong, and dates before 1970 cannot be read.
fn self_signed() -> Result<DtlsCert, rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, "WebRTC");
    parameters.is_ca = IsCa::NoCa;
    (parameters.not_before, parameters.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2049, 12, 31));
    // The serial number is made from the key: Firefox wants it to be unique.
    let certificate = parameters.self_signed(&key)?;
    Ok(DtlsCert { certificate: certificate.der().to_vec(), private_key: key.serialize_der() })
}

/// One end of a connection.
struct Dtls(dimpl::Dtls);

impl std::fmt::Debug for Dtls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys are in it.
        f.debug_struct("Dtls").finish_non_exhaustive()
    }
}

impl DtlsInstance for Dtls {
    fn set_active(&mut self, active: bool) {
        self.0.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.0.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        self.0.poll_output(buffer)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.0.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.0.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.0.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.0.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.0.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that one end has to send, and whether it became connected.
    fn flight(end: &mut dyn DtlsInstance) -> (Vec<Vec<u8>>, bool) {
        let (mut buffer, mut packets, mut is_connected) = (vec![0; 2048], Vec::new(), false);
        loop {
            match end.poll_output(&mut buffer) {
                DtlsOutput::Packet(packet) => packets.push(packet.to_vec()),
                DtlsOutput::Timeout(_) => return (packets, is_connected),
                DtlsOutput::Connected => is_connected = true,
                _ => {}
            }
        }
    }

    #[test]
    fn flights_that_are_lost_come_again_at_once_and_the_handshake_is_soon_over() {
        for version in [DtlsVersion::Dtls12, DtlsVersion::Dtls13] {
            let certificate = Provider.generate_certificate().expect("a certificate");
            let start = Instant::now();
            let mut ends = [true, false].map(|active| {
                let mut end = Provider.new_dtls(&certificate, start, version, None).expect("an end");
                end.set_active(active);
                end
            });
            let (mut now, mut flights, mut connected) = (start, [0; 2], [false; 2]);
            while connected != [true; 2] {
                assert!(now < start + Duration::from_secs(3), "{version}: not after 3 s");
                for one in [0, 1] {
                    ends[one].handle_timeout(now).expect("time goes on");
                    let (packets, is_connected) = flight(&mut *ends[one]);
                    connected[one] |= is_connected;
                    flights[one] += usize::from(!packets.is_empty());
                    // Of each end, the first two are lost.
                    for packet in packets.iter().filter(|_| flights[one] > 2) {
                        ends[1 - one].handle_packet(packet).expect("a packet of the handshake");
                    }
                }
                now += Duration::from_millis(1);
            }
        }
    }
}

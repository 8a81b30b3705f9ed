//! DTLS provider for str0m: the same implementation that str0m uses by default, but with configured
//! retransmission timers, for which str0m has no setting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd};
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
};
use str0m::crypto::{CryptoError, CryptoProvider, from_feature_flags};

/// Initial retransmission timeout of handshake flights, doubled each time. RFC 9147 §5.8.2 has 1 s
/// in general, recommends 400 ms for DTLS-SRTP, and allows less. At 10 % packet loss every other
/// handshake loses a packet, and the user waits for it. On a slow path the shorter timeout costs a
/// few redundant datagrams.
const INITIAL_RTO: Duration = Duration::from_millis(100);
/// Limit of retransmissions of a flight, including those that the peer triggers by repeating its
/// own. The handshake's own time limit comes first.
const MAX_RETRANSMITS: usize = 20;

/// Crypto provider of the stack, with this DTLS implementation.
pub(crate) fn crypto() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { dtls_provider: &Provider, ..from_feature_flags() })
}

#[derive(Debug)]
struct Provider;

impl DtlsProvider for Provider {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        self_signed().inspect_err(|error| tracing::error!(%error, "the certificate cannot be created")).ok()
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let failed = |error: dimpl::Error| CryptoError::Other(error.to_string());
        // ICE has already verified the return path, which is what DTLS cookies do.
        let mut config = dimpl::Config::builder()
            .use_server_cookie(false)
            .flight_start_rto(INITIAL_RTO)
            .flight_retries(MAX_RETRANSMITS);
        if let Some(mtu) = mtu {
            config = config.mtu(mtu);
        }
        let (config, certificate) = (Arc::new(config.build().map_err(failed)?), certificate.clone());
        let dtls = match version {
            DtlsVersion::Dtls12 => dimpl::Dtls::new_12(config, certificate, now),
            DtlsVersion::Dtls13 => dimpl::Dtls::new_13(config, certificate, now),
            DtlsVersion::Auto => dimpl::Dtls::new_auto(config, certificate, now),
            other => return Err(CryptoError::Other(format!("{other} is not supported"))),
        };
        Ok(Box::new(Dtls(dtls)))
    }
}

/// Creates a self-signed certificate. Only its fingerprint in the description counts (RFC 8827
/// §6.5), so its validity is constant: peers ignore it, it must not depend on a wrong system clock,
/// and dates before 1970 cannot be encoded.
fn self_signed() -> Result<DtlsCert, rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, "WebRTC");
    parameters.is_ca = IsCa::NoCa;
    (parameters.not_before, parameters.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2049, 12, 31));
    // The serial number is derived from the key: Firefox requires it to be unique.
    let certificate = parameters.self_signed(&key)?;
    Ok(DtlsCert { certificate: certificate.der().to_vec(), private_key: key.serialize_der() })
}

/// DTLS endpoint.
struct Dtls(dimpl::Dtls);

impl std::fmt::Debug for Dtls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The fields contain keys.
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

    /// Output of an endpoint, and whether it became connected.
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
    fn lost_flights_are_retransmitted_and_the_handshake_completes_in_time() {
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
                    // The first two flights of each endpoint are lost.
                    for packet in packets.iter().filter(|_| flights[one] > 2) {
                        ends[1 - one].handle_packet(packet).expect("a packet of the handshake");
                    }
                }
                now += Duration::from_millis(1);
            }
        }
    }
}

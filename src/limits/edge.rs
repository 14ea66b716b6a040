//! Bounds of what stands in front: listeners, TLS, the PROXY protocol.

use std::time::Duration;

/// Most certificates of one listener: they are all in memory.
pub const CERTIFICATES_MAX: usize = 1024;
/// Names of a certificate that are looked at: those of large hosters have some hundreds.
pub const CERTIFICATE_NAMES_MAX: usize = 1024;
/// For a TLS handshake, `server.timeouts.tlsHandshake`: two round trips of a bad link take one
/// second. nginx's is 60 s, which is a long time to hold 20 KiB for nothing.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// What a worker spends on handshakes at a stretch, before it looks who else waits. A full one is
/// 150 us with an EC key, 700 with RSA: so a request waits for one of them, never for a row.
pub const HANDSHAKES_STRETCH: Duration = Duration::from_micros(250);
/// Steps of handshakes that wait for their turn on one worker: with EC keys these are 0.3 s, so
/// that who comes on top would wait in vain for most of its patience.
pub const HANDSHAKES_WAITING_MAX: usize = 2048;
/// For how long a key makes TLS tickets; for as long again it reads them. What nginx's operators do
/// by hand, and rustls by itself.
pub const TICKET_KEY_TIME: Duration = Duration::from_secs(6 * 60 * 60);
/// TLS 1.2 sessions that can be resumed by their ids, of clients without tickets: 1 KiB each.
pub const TLS_SESSIONS_MAX: usize = 10_240;
/// How long the client of a handshake that has failed may be silent before it is closed: it has
/// been told why, and what it has sent on must not reset that away.
pub const HANDSHAKE_LINGER: Duration = Duration::from_millis(200);
/// How often it may send on all the same.
pub const HANDSHAKE_LINGER_STEPS: usize = 8;
/// How much it may send each time.
pub const HANDSHAKE_LINGER_BYTES: usize = 64 * 1024;
/// For the words that end a TLS connection (`close_notify`) to be written: they fit any buffer that
/// is not full.
pub const CLOSE_NOTIFY_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest header of the PROXY protocol: version 2 has 16 bytes, 216 of addresses at most, and
/// extensions, of which a client's certificate names are the longest in use.
pub const PROXY_HEADER_BYTES_MAX: usize = 2048;
/// Between two looks whether the rest of a header has come: most come whole.
pub const PROXY_HEADER_PAUSE: Duration = Duration::from_millis(5);
/// Places for clients whose connections are counted: half a megabyte for each of two tables, in use
/// where `server.limits` bounds clients.
pub const CLIENT_SLOTS: usize = 64 * 1024;
/// Places that one client may have.
pub const CLIENT_SLOTS_TRIED: usize = 16;
/// Networks that `server.trustedProxies` may name: each is compared with each client.
pub const TRUSTED_PROXIES_MAX: usize = 256;

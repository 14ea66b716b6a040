//! Bounds of plugin modules that are fetched from other machines.

use std::time::Duration;

use crate::throttle::Backoff;

/// Longest URL of a module: what servers and proxies take, signatures of object stores included.
pub const MODULE_URL_BYTES_MAX: usize = 4 * 1024;
/// Longest reference to a registry: 255 bytes of registry and repository, a tag and a digest, as
/// registries bound them.
pub const MODULE_REFERENCE_BYTES_MAX: usize = 512;
/// For the modules that one change lacks, all of them together. `modules.timeout`. One of Go's
/// comes in a second where a data centre has its own registry, 64 MiB by a slow line in a minute.
pub const MODULE_FETCH_TIMEOUT: Duration = Duration::from_secs(60);
/// For a connection to a server of modules, its name and TLS included: one that is away must not
/// keep a start from serving what needs no module for longer.
pub const MODULE_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long such a server may be silent.
pub const MODULE_SILENCE_MAX: Duration = Duration::from_secs(10);
/// Modules that are fetched at once: enough to fill a line, few enough not to be taken for an
/// attack on a registry when a fleet starts.
pub const MODULE_FETCHES_AT_ONCE: usize = 4;
/// Redirects of one answer: registries send on to where blobs are stored, once or twice.
pub const MODULE_REDIRECTS_MAX: usize = 5;
/// Pieces of a module that wait to be written; a disk that is slow slows its server.
pub const MODULE_PIECES_WAITING_MAX: usize = 16;
/// Most of an answer that is read beside modules: a token, a manifest, a registry's error.
pub const MODULE_ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Bytes of fetched modules on disk. `modules.cacheBytesMax`. A hundred of Go's; what the
/// configuration names is kept whatever it comes to.
pub const MODULE_CACHE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Least value of `modules.cacheBytesMax`: the largest module.
pub const MODULE_CACHE_BYTES_FLOOR: u64 = super::PLUGIN_MODULE_BYTES_MAX as u64;
/// Largest value of `modules.cacheBytesMax`: beyond it the disk is the bound.
pub const MODULE_CACHE_BYTES_CEILING: u64 = 1024 * 1024 * 1024 * 1024;
/// What a process that was killed left half-written is removed when it is so old: no fetch lasts as
/// long, so it is nobody's.
pub const MODULE_LEFTOVER_AGE: Duration = Duration::from_secs(60 * 60);
/// Entries of `modules.auth`, `modules.plainHttp` and `modules.signedBy`: a handful in practice.
pub const MODULE_HOSTS_MAX: usize = 64;
/// Largest file of a certificate, a key or logins that `modules` names.
pub const MODULE_FILE_BYTES_MAX: usize = 1024 * 1024;
/// Signatures of one module that are read: of a build machine, of who has reviewed it, of the keys
/// that take their place. With 64 keys they are 25 ms of work.
pub const MODULE_SIGNATURES_MAX: usize = 8;
/// Most bytes of a file of them.
pub const MODULE_SIGNATURES_BYTES_MAX: usize = 4 * 1024;
/// Pauses before modules that a start lacked are asked for again.
pub(crate) const MODULE_RETRY: Backoff =
    Backoff { min: Duration::from_secs(1), max: Duration::from_secs(60) };

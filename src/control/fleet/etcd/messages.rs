//! The messages of etcd's API (version 3) that a fleet needs, written out: field numbers are those
//! of etcd's `rpc.proto` and `kv.proto`. What is left out here is skipped where it is received.

use prost::{Enumeration, Message, Oneof};

/// A key with its value.
#[derive(Clone, PartialEq, Message)]
pub struct KeyValue {
    /// The key.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// The revision that made it.
    #[prost(int64, tag = "2")]
    pub create_revision: i64,
    /// The revision that changed it last.
    #[prost(int64, tag = "3")]
    pub mod_revision: i64,
    /// The value.
    #[prost(bytes = "vec", tag = "5")]
    pub value: Vec<u8>,
    /// The lease that it goes with; 0: none.
    #[prost(int64, tag = "6")]
    pub lease: i64,
}

/// In front of every answer.
#[derive(Clone, PartialEq, Message)]
pub struct Header {
    /// The revision of the whole store when it was asked.
    #[prost(int64, tag = "3")]
    pub revision: i64,
}

/// Which order, by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Order {
    /// As it comes.
    None = 0,
    /// The least first.
    Ascend = 1,
    /// The greatest first.
    Descend = 2,
}

/// `KV.Range`.
#[derive(Clone, PartialEq, Message)]
pub struct RangeRequest {
    /// The first key.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// The first that is not meant; empty: the one key.
    #[prost(bytes = "vec", tag = "2")]
    pub range_end: Vec<u8>,
    /// Most keys; 0: all.
    #[prost(int64, tag = "3")]
    pub limit: i64,
    /// As of this revision; 0: now.
    #[prost(int64, tag = "4")]
    pub revision: i64,
    /// In which order.
    #[prost(enumeration = "Order", tag = "5")]
    pub order: i32,
    /// As the member that is asked has it, which may be behind the others: it asks none of them.
    #[prost(bool, tag = "7")]
    pub serializable: bool,
    /// Keys without values.
    #[prost(bool, tag = "8")]
    pub keys_only: bool,
}

/// The answer to [`RangeRequest`].
#[derive(Clone, PartialEq, Message)]
pub struct RangeResponse {
    /// Its header.
    #[prost(message, optional, tag = "1")]
    pub header: Option<Header>,
    /// What was found.
    #[prost(message, repeated, tag = "2")]
    pub kvs: Vec<KeyValue>,
}

/// `KV.Put`.
#[derive(Clone, PartialEq, Message)]
pub struct PutRequest {
    /// The key.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// The value.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
    /// The lease that it goes with; 0: none.
    #[prost(int64, tag = "3")]
    pub lease: i64,
}

/// An answer of which nothing but its coming counts.
#[derive(Clone, PartialEq, Message)]
pub struct Done {
    /// Its header.
    #[prost(message, optional, tag = "1")]
    pub header: Option<Header>,
}

/// `KV.DeleteRange`.
#[derive(Clone, PartialEq, Message)]
pub struct DeleteRequest {
    /// The first key.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// The first that is not meant; empty: the one key.
    #[prost(bytes = "vec", tag = "2")]
    pub range_end: Vec<u8>,
}

/// One step of a transaction.
#[derive(Clone, PartialEq, Message)]
pub struct Step {
    /// What it does.
    #[prost(oneof = "StepKind", tags = "2, 3")]
    pub kind: Option<StepKind>,
}

/// What a step of a transaction does.
#[derive(Clone, PartialEq, Oneof)]
pub enum StepKind {
    /// Writes.
    #[prost(message, tag = "2")]
    Put(PutRequest),
    /// Deletes.
    #[prost(message, tag = "3")]
    Delete(DeleteRequest),
}

/// What must hold for a transaction: the key's value of [`CompareTo`] equals the one given.
#[derive(Clone, PartialEq, Message)]
pub struct Compare {
    /// 0: equal.
    #[prost(int32, tag = "1")]
    pub result: i32,
    /// 1: the revision that made the key; 2: the one that changed it last.
    #[prost(int32, tag = "2")]
    pub target: i32,
    /// The key.
    #[prost(bytes = "vec", tag = "3")]
    pub key: Vec<u8>,
    /// What it is compared with.
    #[prost(oneof = "CompareTo", tags = "5, 6")]
    pub to: Option<CompareTo>,
}

/// What a key is compared with; 0: there is no such key.
#[derive(Clone, Copy, PartialEq, Eq, Oneof)]
pub enum CompareTo {
    /// The revision that made it.
    #[prost(int64, tag = "5")]
    Created(i64),
    /// The revision that changed it last.
    #[prost(int64, tag = "6")]
    Changed(i64),
}

/// `KV.Txn`.
#[derive(Clone, PartialEq, Message)]
pub struct TxnRequest {
    /// All of it must hold.
    #[prost(message, repeated, tag = "1")]
    pub compare: Vec<Compare>,
    /// What is done then.
    #[prost(message, repeated, tag = "2")]
    pub success: Vec<Step>,
}

/// The answer to [`TxnRequest`].
#[derive(Clone, PartialEq, Message)]
pub struct TxnResponse {
    /// Its header.
    #[prost(message, optional, tag = "1")]
    pub header: Option<Header>,
    /// Whether all of it held.
    #[prost(bool, tag = "2")]
    pub succeeded: bool,
}

/// What a watch is told by its client.
#[derive(Clone, PartialEq, Message)]
pub struct WatchRequest {
    /// What to watch.
    #[prost(message, optional, tag = "1")]
    pub create: Option<WatchCreate>,
}

/// What to watch.
#[derive(Clone, PartialEq, Message)]
pub struct WatchCreate {
    /// The first key.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// The first that is not meant.
    #[prost(bytes = "vec", tag = "2")]
    pub range_end: Vec<u8>,
    /// From this revision on.
    #[prost(int64, tag = "3")]
    pub start_revision: i64,
}

/// What a watch tells.
#[derive(Clone, PartialEq, Message)]
pub struct WatchResponse {
    /// Its header.
    #[prost(message, optional, tag = "1")]
    pub header: Option<Header>,
    /// The watch was made.
    #[prost(bool, tag = "3")]
    pub created: bool,
    /// The watch has ended.
    #[prost(bool, tag = "4")]
    pub canceled: bool,
    /// What was asked for is gone: the least revision that is there.
    #[prost(int64, tag = "5")]
    pub compact_revision: i64,
    /// Why it has ended.
    #[prost(string, tag = "6")]
    pub cancel_reason: String,
    /// What has happened.
    #[prost(message, repeated, tag = "11")]
    pub events: Vec<Event>,
}

/// One thing that has happened.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// 0: the key was written; 1: it was deleted.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    /// The key, with its value.
    #[prost(message, optional, tag = "2")]
    pub kv: Option<KeyValue>,
}

/// `Lease.LeaseGrant`.
#[derive(Clone, PartialEq, Message)]
pub struct LeaseGrantRequest {
    /// Seconds that it lives without being renewed.
    #[prost(int64, tag = "1")]
    pub ttl: i64,
}

/// The answer to [`LeaseGrantRequest`].
#[derive(Clone, PartialEq, Message)]
pub struct LeaseGrantResponse {
    /// The lease.
    #[prost(int64, tag = "2")]
    pub id: i64,
}

/// `Lease.LeaseKeepAlive` and `Lease.LeaseRevoke`.
#[derive(Clone, PartialEq, Message)]
pub struct LeaseRequest {
    /// The lease.
    #[prost(int64, tag = "1")]
    pub id: i64,
}

/// The answer to a renewal.
#[derive(Clone, PartialEq, Message)]
pub struct LeaseRenewed {
    /// Seconds that it lives from now on; 0: it has ended.
    #[prost(int64, tag = "3")]
    pub ttl: i64,
}

/// `Auth.Authenticate`.
#[derive(Clone, PartialEq, Message)]
pub struct AuthenticateRequest {
    /// The user.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The password.
    #[prost(string, tag = "2")]
    pub password: String,
}

/// The answer to [`AuthenticateRequest`].
#[derive(Clone, PartialEq, Message)]
pub struct AuthenticateResponse {
    /// What the following calls show.
    #[prost(string, tag = "2")]
    pub token: String,
}

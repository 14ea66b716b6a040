//! Streams: the watch of a node, the renewal of a lease.

use tonic::Streaming;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::AsciiMetadataValue;

use super::messages as m;
use super::{Connection, Failure, chain, grpc, ready};

/// A watch. Dropped, it ends.
pub struct Watch {
    answers: Streaming<m::WatchResponse>,
    /// As long as it lives, the stream of what we ask does.
    _asking: tokio::sync::mpsc::Sender<m::WatchRequest>,
    member: String,
}

/// What a watch tells.
#[derive(Debug)]
pub enum Told {
    /// This has happened, up to a revision.
    Events(Vec<m::Event>, i64),
    /// What was asked for is gone by compaction: all is to be read anew.
    Compacted,
}

impl Watch {
    pub(super) async fn open(
        connection: &Connection,
        create: m::WatchCreate,
    ) -> Result<Self, tonic::Status> {
        let (asking, asked) = tokio::sync::mpsc::channel(1);
        let _has_room = asking.try_send(m::WatchRequest { create: Some(create) });
        let requests = futures_util::stream::unfold(asked, |mut asked| async move {
            asked.recv().await.map(|request| (request, asked))
        });
        let mut grpc = grpc(connection);
        ready(&mut grpc).await?;
        let codec = tonic_prost::ProstCodec::<m::WatchRequest, m::WatchResponse>::default();
        let mut request = connection.shown(tonic::Request::new(requests));
        // A member that has lost the others would be silent for good: it ends the watch.
        let leader = AsciiMetadataValue::from_static("true");
        request.metadata_mut().insert("hasleader", leader);
        let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
        let answers = grpc.streaming(request, path, codec).await?.into_inner();
        Ok(Self { answers, _asking: asking, member: String::new() })
    }

    pub(super) fn of(self, member: String) -> Self {
        Self { member, ..self }
    }

    /// Waits for what happens next. May be dropped: nothing is lost.
    ///
    /// # Errors
    /// The connection is lost, or etcd has ended the watch.
    pub async fn next(&mut self) -> Result<Told, Failure> {
        let away = |why: String| Failure::Away(format!("{}: {why}", self.member));
        loop {
            let answer = self.answers.message().await;
            let answer = answer.map_err(|status| away(chain(&status)))?;
            let answer = answer.ok_or_else(|| away("the watch has ended".to_owned()))?;
            if answer.compact_revision > 0 {
                return Ok(Told::Compacted);
            }
            if answer.canceled {
                let why = answer.cancel_reason;
                return Err(away(format!("the watch was ended: {why}")));
            }
            if !answer.events.is_empty() {
                let revision = answer.header.map_or(0, |header| header.revision);
                return Ok(Told::Events(answer.events, revision));
            }
        }
    }
}

/// Renews a lease once: the stream has one question and one answer.
pub(super) async fn one_renewal(
    connection: &Connection,
    id: i64,
) -> Result<Option<m::LeaseRenewed>, tonic::Status> {
    let mut grpc = grpc(connection);
    ready(&mut grpc).await?;
    let codec = tonic_prost::ProstCodec::<m::LeaseRequest, m::LeaseRenewed>::default();
    let asked = futures_util::stream::iter([m::LeaseRequest { id }]);
    let request = connection.shown(tonic::Request::new(asked));
    let path = PathAndQuery::from_static("/etcdserverpb.Lease/LeaseKeepAlive");
    grpc.streaming(request, path, codec).await?.into_inner().message().await
}

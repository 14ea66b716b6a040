//! The first round trip of a connection to Redis: who we are, which database, is it well, and which
//! scripts we will call.
//!
//! Inline, before the reader and the writer begin: nobody shares the stream yet. A server that
//! refuses AUTH, SELECT or PING is no connection; one that refuses to load scripts is, it is sent
//! their text with every call.

use crate::io::runtime::{AsyncReadRent, AsyncWriteRentExt};

use super::redis::{Loaded, Script, Target};
use super::resp::{Command, Replies, Reply};
use crate::upstream::connect::UpstreamStream;

/// Authenticates, selects the database, sees that the server answers, and loads the scripts, in one
/// round trip. The caller bounds its time; a stream on which it was given up is dropped.
pub(super) async fn shake_hands(
    stream: &mut UpstreamStream,
    target: &Target,
) -> Result<Loaded, String> {
    let config = target.config();
    let mut out = Vec::new();
    let mut steps = Vec::new();
    if let Some(password) = &config.password {
        let mut command = Command::new(&mut out, 2 + usize::from(config.username.is_some()));
        command.arg(b"AUTH");
        if let Some(username) = &config.username {
            command.arg(username.as_bytes());
        }
        command.arg(password.as_bytes());
        steps.push("AUTH");
    }
    if config.db != 0 {
        Command::new(&mut out, 2).arg(b"SELECT").number(i64::from(config.db));
        steps.push("SELECT");
    }
    Command::new(&mut out, 1).arg(b"PING");
    steps.push("PING");
    for script in Script::ALL {
        Command::new(&mut out, 3).arg(b"SCRIPT").arg(b"LOAD").arg(script.text().as_bytes());
    }
    stream.write_all(out).await.0.map_err(|error| error.to_string())?;

    let replies = read_replies(stream, steps.len() + Script::ALL.len()).await?;
    let (answers, hashes) = replies.split_at(steps.len());
    for (step, answer) in steps.iter().zip(answers) {
        if let Reply::Error(words) = answer {
            return Err(format!("{step} was refused: {words}"));
        }
    }
    let mut loaded = Loaded::default();
    for (place, hash) in loaded.0.iter_mut().zip(hashes) {
        if let Reply::Bulk(hash) = hash {
            *place = Some(hash.clone());
        }
    }
    Ok(loaded)
}

/// Exactly `count` replies.
async fn read_replies(stream: &mut UpstreamStream, count: usize) -> Result<Vec<Reply>, String> {
    let mut replies = Replies::default();
    let mut got = Vec::with_capacity(count);
    let mut buffer = Vec::with_capacity(1024);
    while got.len() < count {
        let (read, filled) = stream.read(buffer).await;
        match read {
            Ok(0) => return Err(ended("the server closed the connection", stream, &got)),
            // A TLS alert, in the clear.
            Ok(_) if filled.starts_with(b"\x15\x03") => {
                return Err("the server speaks TLS on this port; write tls: true".to_owned());
            }
            Ok(read) => replies.push(&filled[..read]),
            Err(error) => return Err(ended(&error.to_string(), stream, &got)),
        }
        buffer = filled;
        while let Some(reply) = replies.next_reply().map_err(|error| error.to_string())? {
            got.push(reply);
        }
    }
    if got.len() > count || !replies.is_empty() {
        return Err("the server sent more replies than it was asked for".to_owned());
    }
    Ok(got)
}

/// What ended the connection; a server that wants TLS ends one in the clear before it says
/// anything.
fn ended(why: &str, stream: &UpstreamStream, got: &[Reply]) -> String {
    match stream {
        UpstreamStream::Tls(_) => why.to_owned(),
        _ if !got.is_empty() => why.to_owned(),
        _ => format!("{why}; if it speaks TLS, write tls: true"),
    }
}

//! The first round trip of a connection to Redis: who we are, which database, is it well, and which
//! scripts we will call.
//!
//! Before anything else is written or read. A server that
//! refuses AUTH, SELECT or PING is no connection; one that refuses to load scripts is, it is sent
//! their text with every call.

use super::redis::{Loaded, Script, Target};
use super::resp::{Command, Replies, Reply};
use crate::io::stream::{ReadHalf, WriteHalf};
use crate::upstream::connect::UpstreamStream;

/// Authenticates, selects the database, sees that the server answers, and loads the scripts, in one
/// round trip. The caller bounds its time; a stream on which it was given up is dropped.
pub(super) async fn shake_hands(
    reader: &mut ReadHalf<UpstreamStream>,
    writer: &mut WriteHalf<UpstreamStream>,
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
    let end = out.len();
    writer.write_all(out, 0, end, || ()).await.0.map_err(|error| error.to_string())?;

    let count = steps.len() + Script::ALL.len();
    let replies = read_replies(reader, count, target.tls().is_some()).await?;
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
async fn read_replies(
    reader: &mut ReadHalf<UpstreamStream>,
    count: usize,
    is_tls: bool,
) -> Result<Vec<Reply>, String> {
    let mut replies = Replies::default();
    let mut got = Vec::with_capacity(count);
    let mut buffer = Vec::with_capacity(1024);
    while got.len() < count {
        let (read, mut filled) = reader.read(buffer).await;
        match read {
            Ok(0) => return Err(ended("the server closed the connection", is_tls, &got)),
            // A TLS alert, in the clear.
            Ok(_) if filled.starts_with(b"\x15\x03") => {
                return Err("the server speaks TLS on this port; write tls: true".to_owned());
            }
            Ok(_) => replies.push(&filled),
            Err(error) => return Err(ended(&error.to_string(), is_tls, &got)),
        }
        filled.clear();
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
fn ended(why: &str, is_tls: bool, got: &[Reply]) -> String {
    if is_tls || !got.is_empty() {
        why.to_owned()
    } else {
        format!("{why}; if it speaks TLS, write tls: true")
    }
}

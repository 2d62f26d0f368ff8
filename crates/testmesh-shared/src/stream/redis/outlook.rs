//! What a topic still holds for its readers, seen by somebody who does not read it.

use ::redis::aio::ConnectionLike;
use ::redis::{Pipeline, RedisError, Value, cmd};

use super::reply::{self, NO_ENTRY};
use super::{Names, PIPELINE};
use crate::stream::TRUST;

/// Messages that were not read yet, and those of consumers that may be trusted to be at work on them.
///
/// What stands before the group's place in the stream and is with no consumer is nobody's: it was acknowledged by others,
/// or its consumer was removed.
pub(super) async fn under_way(
    connection: &mut impl ConnectionLike,
    names: &Names,
    max: usize,
) -> Result<Vec<String>, RedisError> {
    let groups = cmd("XINFO").arg("GROUPS").arg(&names.key).query_async::<Value>(connection).await;
    let groups = match groups {
        // There is no such key: it was never made, or the server was emptied.
        Err(error) if error.code() == Some("ERR") => return Ok(Vec::new()),
        groups => groups?,
    };
    let (mut place, read) = match reply::last_delivered(&groups, names.group) {
        // Nobody has read yet.
        None => (NO_ENTRY.to_owned(), Vec::new()),
        Some(place) => {
            let mut pending = cmd("XPENDING");
            pending.arg(&names.key).arg(names.group).arg("-").arg("+").arg(max);
            (place, reply::pending_within(&pending.query_async(connection).await?, TRUST))
        }
    };
    let mut payloads = Vec::new();
    while payloads.len() < max {
        let mut range = cmd("XRANGE");
        range.arg(&names.key).arg(format!("({place}")).arg("+").arg("COUNT").arg(PIPELINE.min(max - payloads.len()));
        let reply: Value = range.query_async(connection).await?;
        let Some(last) = reply::last_id(&reply) else { break };
        place = last;
        payloads.extend(reply::range(&reply));
    }
    for ids in read.chunks(PIPELINE) {
        let mut pipeline = Pipeline::with_capacity(ids.len());
        for id in ids {
            pipeline.cmd("XRANGE").arg(&names.key).arg(id).arg(id);
        }
        let replies: Vec<Value> = pipeline.query_async(connection).await?;
        payloads.extend(replies.iter().flat_map(reply::range));
    }
    Ok(payloads)
}

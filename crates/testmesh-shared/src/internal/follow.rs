//! Files that may change while the process runs, such as mounted secrets.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How often the files are read. A mounted Kubernetes secret itself takes up to a minute.
const INTERVAL: Duration = Duration::from_secs(5);

/// Reads `files` every five seconds and hands their contents to `apply`, which says whether that changed anything,
/// until `stop` fires. The contents are compared, not the times: a mounted secret is a link that moves.
pub(super) async fn follow(
    what: &'static str,
    files: &[PathBuf],
    stop: &CancellationToken,
    apply: impl Fn(&[Vec<u8>]) -> Result<bool, String>,
) {
    let mut complained = None;
    let mut tick = tokio::time::interval(INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // Cancel-safe: waiting for a cancellation keeps no state.
            () = stop.cancelled() => return,
            // Cancel-safe per docs on `tick()`.
            _ = tick.tick() => {}
        }
        match read(files).await.and_then(|contents| apply(&contents)) {
            Ok(changed) => {
                complained = None;
                if changed {
                    tracing::info!("{what} changed and was read again");
                }
            }
            Err(error) if complained.as_ref() == Some(&error) => {}
            Err(error) => {
                tracing::error!(error, "{what} cannot be read again; the one known before stays");
                complained = Some(error);
            }
        }
    }
}

async fn read(files: &[PathBuf]) -> Result<Vec<Vec<u8>>, String> {
    let mut contents = Vec::with_capacity(files.len());
    for file in files {
        let content = tokio::fs::read(file).await;
        contents.push(content.map_err(|error| format!("cannot read `{}`: {error}", file.display()))?);
    }
    Ok(contents)
}

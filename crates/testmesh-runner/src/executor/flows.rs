//! Flows, read together and compiled once: for runs, and for `run_flow` on a server.

use std::sync::Arc;

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use testmesh_shared::ids::FlowId;
use testmesh_storage::{FlowRepository, StorageError, StoredFlow};

use crate::diagnostic::{Diagnostic, Severity};
use crate::engine::FlowSource;
use crate::executor::admission::Text;
use crate::executor::reads::SharedReads;
use crate::executor::recorder::chain;
use crate::files::Files;
use crate::flow::{Flow, ParseOptions};
use crate::plugins::Plugins;

/// Bytes of flow text whose compiled form is kept.
const CACHED: u64 = 32 << 20;

/// The stored flows and a cache of compiled ones, by what they were compiled from.
pub(crate) struct Flows {
    repository: Arc<dyn FlowRepository>,
    compiled: moka::sync::Cache<[u8; 32], Compiled>,
    reads: SharedReads<FlowId, Option<Text>>,
    plugins: Plugins,
}

#[derive(Clone)]
struct Compiled {
    flow: Arc<Flow>,
    bytes: u32,
}

impl Flows {
    pub(crate) fn new(repository: Arc<dyn FlowRepository>, plugins: Plugins) -> Self {
        let compiled =
            moka::sync::Cache::builder().weigher(|_, compiled: &Compiled| compiled.bytes).max_capacity(CACHED).build();
        Self { repository, compiled, reads: SharedReads::default(), plugins }
    }

    /// The newest version of a flow, as it is from now on.
    pub(crate) async fn newest(&self, id: FlowId) -> Result<Option<Text>, StorageError> {
        let read = async {
            let found = self.repository.find(id).await?;
            Ok(found.map(|flow| {
                let version = Some(flow.summary.version);
                Text { flow_id: Some(id), version, yaml: flow.yaml.into() }
            }))
        };
        self.reads.get(id, read).await
    }

    pub(crate) fn repository(&self) -> &dyn FlowRepository {
        &*self.repository
    }

    /// The one flow of `text`. `known_names` are defined when it runs; `strict` makes warnings errors. Where there are
    /// plugins this is done by a thread that may wait for them, unless it was done before.
    pub(crate) async fn compile(
        &self,
        text: &str,
        strict: bool,
        mut known_names: Vec<String>,
    ) -> Result<Arc<Flow>, Vec<Diagnostic>> {
        known_names.sort_unstable();
        let key = key(text, strict, &known_names);
        if let Some(compiled) = self.compiled.get(&key) {
            return Ok(compiled.flow);
        }
        let options = ParseOptions { strict, known_names, plugins: self.plugins.clone(), ..ParseOptions::default() };
        let flow = if self.plugins.may_wait() {
            let text = text.to_owned();
            let parsing = tokio::task::spawn_blocking(move || parse(&text, &options)).await;
            parsing.expect("a text is read to its end, whatever is in it")?
        } else {
            parse(text, &options)?
        };
        let flow = Arc::new(flow);
        let bytes = u32::try_from(text.len()).unwrap_or(u32::MAX).saturating_add(4096);
        self.compiled.insert(key, Compiled { flow: Arc::clone(&flow), bytes });
        Ok(flow)
    }

    async fn stored(&self, reference: &str) -> Result<StoredFlow, String> {
        let read = |error| format!("cannot read flow `{reference}`: {}", chain(&error));
        if let Ok(id) = reference.parse::<FlowId>()
            && let Some(flow) = self.repository.find(id).await.map_err(read)?
        {
            return Ok(flow);
        }
        let named = self.repository.find_by_name(reference).await.map_err(read)?;
        named.ok_or_else(|| format!("no flow has the id or name `{reference}`"))
    }
}

#[async_trait]
impl FlowSource for Flows {
    async fn find(&self, reference: &str, _files: &Files) -> Result<Arc<Flow>, String> {
        let stored = self.stored(reference).await?;
        self.compile(&stored.yaml, false, Vec::new()).await.map_err(|diagnostics| {
            let first = diagnostics.iter().find(|finding| finding.severity == Severity::Error);
            let first = first.map(|finding| format!(": line {}: {}", finding.line, finding.message));
            format!("flow `{reference}` has mistakes{}", first.unwrap_or_default())
        })
    }
}

fn parse(text: &str, options: &ParseOptions) -> Result<Flow, Vec<Diagnostic>> {
    let parsed = Flow::parse(text, options);
    if !parsed.is_valid() {
        return Err(parsed.diagnostics);
    }
    let mut flows = parsed.flows.into_iter();
    match (flows.next(), flows.next()) {
        (Some(flow), None) => Ok(flow),
        _ => Err(vec![not_one_flow()]),
    }
}

fn key(text: &str, strict: bool, known_names: &[String]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update([u8::from(strict)]);
    for name in known_names {
        hash.update(name.len().to_le_bytes());
        hash.update(name);
    }
    hash.update([0xff]);
    hash.update(text);
    hash.finalize().into()
}

fn not_one_flow() -> Diagnostic {
    Diagnostic {
        code: "not_one_flow".to_owned(),
        severity: Severity::Error,
        message: "the text holds several flows, or none".to_owned(),
        help: Some("submit each flow of the file alone".to_owned()),
        line: 1,
        column: 1,
        end_line: 1,
        end_column: 1,
        snippet: String::new(),
    }
}

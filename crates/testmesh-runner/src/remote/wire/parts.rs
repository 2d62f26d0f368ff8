//! What can be large, in parts: an execution with its steps, a page, events.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use serde::Serialize;
use testmesh_shared::page::{Page, PageKey};
use tonic::{Status, Streaming};

use super::{document, proto, record};
use crate::event::RunEvent;
use crate::record::{Execution, StepRecord};

/// Bytes of documents in a part, unless one alone is larger.
const PART: usize = 1 << 20;
/// Events in a part.
pub(crate) const EVENTS: usize = 64;

/// The parts of an execution, each written out when it is asked for.
pub(crate) struct ExecutionParts {
    head: Option<Execution>,
    steps: std::vec::IntoIter<Arc<StepRecord>>,
}

impl ExecutionParts {
    /// All parts of `execution`; none of nothing.
    pub(crate) fn stream(execution: Option<Execution>) -> BoxStream<'static, Result<proto::ExecutionPart, Status>> {
        let Some(mut execution) = execution else { return stream::empty().boxed() };
        let steps = execution.steps.as_mut().map(std::mem::take).unwrap_or_default();
        stream::iter(Self { head: Some(execution), steps: steps.into_iter() }).boxed()
    }
}

impl Iterator for ExecutionParts {
    type Item = Result<proto::ExecutionPart, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        let head = self.head.take();
        if head.is_none() && self.steps.len() == 0 {
            return None;
        }
        let execution = match head.map(|head| document(&head)).transpose() {
            Ok(execution) => execution,
            Err(error) => return Some(Err(error)),
        };
        let filled = execution.as_ref().map_or(0, Bytes::len);
        Some(fill(&mut self.steps, filled).map(|steps| proto::ExecutionPart { execution, steps }))
    }
}

/// The execution whose parts these are.
pub(crate) async fn collect_execution(mut parts: Streaming<proto::ExecutionPart>) -> Result<Option<Execution>, Status> {
    let mut whole: Option<Execution> = None;
    while let Some(part) = parts.message().await? {
        if let Some(head) = &part.execution {
            whole = Some(record(head)?);
        }
        let Some(execution) = &mut whole else { return Err(Status::data_loss("an execution without its first part")) };
        for step in &part.steps {
            let step: StepRecord = record(step)?;
            execution.steps.get_or_insert_default().push(Arc::new(step));
        }
    }
    Ok(whole)
}

/// The parts of a page, each written out when it is asked for.
pub(crate) struct ListParts {
    executions: std::vec::IntoIter<Execution>,
    next: Option<PageKey>,
}

impl ListParts {
    /// All parts of `page`.
    pub(crate) fn stream(page: Page<Execution>) -> BoxStream<'static, Result<proto::ExecutionList, Status>> {
        stream::iter(Self { executions: page.items.into_iter(), next: page.next }).boxed()
    }
}

impl Iterator for ListParts {
    type Item = Result<proto::ExecutionList, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.executions.len() == 0 {
            return None;
        }
        let executions = fill(&mut self.executions, 0);
        let next = if self.executions.len() == 0 { self.next.take() } else { None };
        Some(executions.map(|executions| proto::ExecutionList { executions, next: next.map(Into::into) }))
    }
}

/// The page whose parts these are.
pub(crate) async fn collect_list(mut parts: Streaming<proto::ExecutionList>) -> Result<Page<Execution>, Status> {
    let mut page = Page { items: Vec::new(), next: None };
    while let Some(part) = parts.message().await? {
        for execution in &part.executions {
            page.items.push(record(execution)?);
        }
        page.next = part.next.map(PageKey::try_from).transpose()?;
    }
    Ok(page)
}

/// Takes records for a part that holds `filled` bytes already: at least one, if there is one.
fn fill<T: Serialize>(records: &mut impl Iterator<Item = T>, mut filled: usize) -> Result<Vec<Bytes>, Status> {
    let mut documents = Vec::new();
    while filled < PART {
        let Some(record) = records.next() else { break };
        let document = document(&record)?;
        filled += document.len();
        documents.push(document);
    }
    Ok(documents)
}

/// The parts of some events.
pub(crate) struct EventParts(std::vec::IntoIter<RunEvent>);

impl EventParts {
    pub(crate) fn new(events: Vec<RunEvent>) -> Self {
        Self(events.into_iter())
    }
}

impl Iterator for EventParts {
    type Item = Result<proto::Events, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut events = Vec::new();
        let mut filled = 0;
        while filled < PART && events.len() < EVENTS {
            let Some(event) = self.0.next() else { break };
            let document = match document(&event) {
                Ok(document) => document,
                Err(error) => return Some(Err(error)),
            };
            filled += document.len();
            events.push(proto::Event { seq: event.seq, document });
        }
        if events.is_empty() { None } else { Some(Ok(proto::Events { events })) }
    }
}

/// The events of a part. One that this release does not know is left out: whoever needs to know it reads it with the
/// next release.
pub(crate) fn read_events(part: &proto::Events) -> impl Iterator<Item = RunEvent> {
    part.events.iter().filter_map(|event| match record(&event.document) {
        Ok(read) => Some(read),
        Err(error) => {
            tracing::warn!(seq = event.seq, error = error.message(), "an event of another release is left out");
            None
        }
    })
}

/// The events whose parts these are.
pub(crate) async fn collect_events(mut parts: Streaming<proto::Events>) -> Result<Vec<RunEvent>, Status> {
    let mut events = Vec::new();
    while let Some(part) = parts.message().await? {
        events.extend(read_events(&part));
    }
    Ok(events)
}

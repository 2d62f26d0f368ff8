//! From a suite or a flow's data to the runs of a batch, stored all at once.

use std::sync::Arc;

use testmesh_shared::db::Stamp;
use testmesh_shared::ids::{ExecutionId, JobId, SessionId};
use testmesh_shared::page::PageRequest;
use testmesh_storage::{FlowFilter, FlowSummary};
use tokio::sync::oneshot;

use crate::executor::admission::{Options, Text, Variables};
use crate::executor::local::Local;
use crate::executor::recorder::{Accepted, chain, keys_expired};
use crate::executor::running::{Answer, no_session};
use crate::executor::{BatchSource, Definition, Idempotency, NewBatch, SubmitError};
use crate::record::{Batch, BatchCounts, BatchKind, Execution, ExecutionError, ExecutionStatus, Trigger};
use crate::repository::{AttemptKey, Batch as Rows, InsertRow, KeyRow};

/// Runs of a batch at most.
const MEMBERS: usize = 10_000;
/// Flows that are read at once.
const PAGE: u32 = 200;

/// What every run of a batch has in common.
struct Shared {
    variables: Variables,
    environment_name: Option<String>,
    environment: Variables,
    options: Options,
    trigger: Trigger,
}

/// The runs of a batch, in their order.
#[derive(Default)]
struct Members {
    runs: Vec<Member>,
}

struct Member {
    execution: Execution,
    definition: Arc<str>,
    options: String,
}

impl Local {
    /// Stores the runs of a batch and starts them.
    pub(crate) async fn accept_batch(self: &Arc<Self>, new: NewBatch) -> Result<Batch, SubmitError> {
        if self.slots.is_closed() {
            return Err(SubmitError::Stopping);
        }
        if let Some(key) = &new.idempotency
            && let Some(owner) = self.store.key_owner(&key.key, keys_expired(&*self.clock)).await?
        {
            if owner.request_hash != key.request_hash {
                return Err(SubmitError::IdempotencyMismatch);
            }
            return self.batch_before(owner.execution_id).await;
        }
        if new.parallelism == 0 {
            return Err(SubmitError::Invalid("parallelism: must be at least 1".to_owned()));
        }
        let shared = Shared {
            environment: self.sources.environment(new.environment.as_deref()).await?,
            variables: new.variables,
            environment_name: new.environment,
            options: Options {
                env_file: new.env_file,
                seed: new.seed,
                strict: new.strict,
                dry_run: new.dry_run,
                data_row: false,
                trace_id: None,
            },
            trigger: new.trigger,
        };
        let mut members = Members::default();
        let (kind, name, flow_id) = match new.source {
            BatchSource::Suite(suite) => {
                self.add_suite(&mut members, &shared, &suite).await?;
                (BatchKind::Suite, suite, None)
            }
            BatchSource::Flow(definition) => {
                let text = self.sources.text(definition).await?;
                let flow_id = text.flow_id;
                self.add_flow(&mut members, &shared, text).await?;
                let name = members.runs.first().map(|member| member.execution.flow_name.clone());
                (BatchKind::Data, name.unwrap_or_default(), flow_id)
            }
        };
        let batch = Batch {
            id: new.id,
            kind,
            name,
            flow_id,
            status: ExecutionStatus::Queued,
            trigger: new.trigger,
            schedule_id: None,
            job_id: None,
            attempt: 1,
            environment: shared.environment_name,
            parallelism: new.parallelism,
            created_at: self.clock.now(),
            finished_at: None,
            total: 0,
            counts: BatchCounts::default(),
        };
        match self.store_batch(batch.clone(), members, new.idempotency.clone()).await? {
            (Accepted::New, batch) => Ok(batch),
            (Accepted::Again(id), _) => self.batch_before(id).await,
            (Accepted::KeyOfAnother, _) => Err(SubmitError::IdempotencyMismatch),
        }
    }

    /// Puts a data-driven flow of a job on its way, which becomes a batch. `execution` says which attempt of which job.
    pub(crate) fn launch_batch(
        self: &Arc<Self>,
        execution: Execution,
        text: Arc<str>,
        environment: Variables,
    ) -> Answer {
        let (told, answer) = oneshot::channel();
        let local = Arc::clone(self);
        self.tasks.spawn(async move {
            let accepted = match local.accept_job(&execution, Arc::clone(&text), environment).await {
                Err(SubmitError::Repository(error)) => Err(error),
                Err(SubmitError::Storage(_)) => Err(no_session()),
                Ok(accepted) => Ok(accepted),
                Err(error) => {
                    let error = ExecutionError { code: error.code(), message: chain(&error) };
                    match local.launch_unrunnable(execution, text, error) {
                        Some(answer) => answer.await.unwrap_or_else(|_| Err(no_session())),
                        None => Err(no_session()),
                    }
                }
            };
            let _gone = told.send(accepted);
        });
        answer
    }

    async fn accept_job(
        self: &Arc<Self>,
        execution: &Execution,
        text: Arc<str>,
        environment: Variables,
    ) -> Result<Accepted, SubmitError> {
        if let Some(job_id) = execution.job_id {
            // Taken when the flow had no data.
            let key = AttemptKey { job_id: JobId::from(job_id), attempt: execution.attempt };
            if let Some(attempt) = self.store.attempts(&[key]).await?.first() {
                return Ok(Accepted::Again(attempt.execution_id));
            }
        }
        let shared = Shared {
            variables: execution.variables.clone(),
            environment_name: execution.environment.clone(),
            environment,
            options: Options::default(),
            trigger: execution.trigger,
        };
        let mut members = Members::default();
        let text = Text { flow_id: execution.flow_id, version: execution.flow_version, yaml: text };
        self.add_flow(&mut members, &shared, text).await?;
        for member in &mut members.runs {
            member.execution.schedule_id = execution.schedule_id;
        }
        let batch = Batch {
            id: testmesh_shared::ids::BatchId::generate(&*self.clock),
            kind: BatchKind::Data,
            name: members.runs.first().map(|member| member.execution.flow_name.clone()).unwrap_or_default(),
            flow_id: execution.flow_id,
            status: ExecutionStatus::Queued,
            trigger: execution.trigger,
            schedule_id: execution.schedule_id,
            job_id: execution.job_id,
            attempt: execution.attempt,
            environment: execution.environment.clone(),
            parallelism: PARALLELISM_OF_JOBS,
            created_at: self.clock.now(),
            finished_at: None,
            total: 0,
            counts: BatchCounts::default(),
        };
        Ok(self.store_batch(batch, members, None).await?.0)
    }

    async fn store_batch(
        self: &Arc<Self>,
        mut batch: Batch,
        members: Members,
        key: Option<Idempotency>,
    ) -> Result<(Accepted, Batch), SubmitError> {
        let session = self.session.current().ok_or_else(no_session)?;
        let first = members.runs.iter().map(|member| member.execution.id).min();
        batch.total = u32::try_from(members.runs.len()).unwrap_or(u32::MAX);
        batch.counts.queued = batch.total;
        // Keys are kept with the id of what they gave, be it a run or a batch.
        let own_id = ExecutionId::from(batch.id.as_uuid());
        let keys = key.iter().map(|key| KeyRow {
            key: key.key.clone(),
            request_hash: key.request_hash.clone(),
            execution_id: own_id,
            created_at: Stamp(batch.created_at),
        });
        let rows = Rows { keys: keys.collect(), inserts: members.rows(&batch, session), ..Rows::default() };
        let stored = self.store.insert_batch(&batch, session, &rows, keys_expired(&*self.clock)).await;
        let (new, committed) = stored.inspect_err(|_| self.doubt())?;
        let owner = key.as_ref().and_then(|key| committed.key_owners.get(&key.key).map(|owner| (key, owner)));
        let accepted = match owner {
            _ if new => {
                self.run_batch(&batch, first, session, false);
                Accepted::New
            }
            Some((key, owner)) if owner.execution_id != own_id && owner.request_hash != key.request_hash => {
                Accepted::KeyOfAnother
            }
            Some((_, owner)) => Accepted::Again(owner.execution_id),
            None => Accepted::Again(own_id),
        };
        Ok((accepted, batch))
    }

    /// The answer to a submission that was accepted before.
    async fn batch_before(&self, id: ExecutionId) -> Result<Batch, SubmitError> {
        let held = self.store.held_batch(id.as_uuid().into()).await?;
        // The key was a run's: another request's, then.
        held.map(|held| held.batch).ok_or(SubmitError::IdempotencyMismatch)
    }

    /// Adds every flow of a suite, in the order of their names. One that cannot be run is a run that says so.
    async fn add_suite(&self, members: &mut Members, shared: &Shared, suite: &str) -> Result<(), SubmitError> {
        let mut flows = self.flows_of(suite).await?;
        if flows.is_empty() {
            return Err(SubmitError::SuiteNotFound(suite.to_owned()));
        }
        flows.sort_by(|one, other| one.header.name.cmp(&other.header.name));
        for FlowSummary { id, header, version, .. } in flows {
            let definition = Definition::Stored { flow_id: id, version: Some(version) };
            let text = match self.sources.text(definition).await {
                Ok(text) => text,
                // Deleted since it was listed.
                Err(SubmitError::FlowNotFound(_)) => continue,
                Err(error) => return Err(error),
            };
            match self.add_flow(members, shared, text.clone()).await {
                Err(SubmitError::InvalidFlow(_) | SubmitError::Invalid(_)) => {
                    // Its turn will show what is wrong with it.
                    let mut execution = self.new_member(shared, &text, shared.variables.clone());
                    execution.flow_name = header.name;
                    members.add(execution, text.yaml, &shared.options)?;
                }
                done => done?,
            }
        }
        Ok(())
    }

    async fn flows_of(&self, suite: &str) -> Result<Vec<FlowSummary>, SubmitError> {
        let filter = FlowFilter { suite: Some(suite.to_owned()), ..FlowFilter::default() };
        let (mut flows, mut after) = (Vec::new(), None);
        loop {
            let page = self.sources.flows.repository().list(&filter, PageRequest { limit: PAGE, after }).await?;
            flows.extend(page.items);
            if flows.len() > MEMBERS {
                return Err(too_many());
            }
            after = page.next;
            if after.is_none() {
                return Ok(flows);
            }
        }
    }

    /// Adds a flow once, or once for each row of its data.
    async fn add_flow(&self, members: &mut Members, shared: &Shared, text: Text) -> Result<(), SubmitError> {
        let flow = self.sources.compile(&text.yaml, &shared.variables, &shared.environment, &shared.options).await?;
        let rows = if flow.data.is_some() {
            let (flow, files) = (Arc::clone(&flow), self.sources.files.clone());
            // Reads a file, perhaps.
            let rows = tokio::task::spawn_blocking(move || flow.data_rows(&files)).await;
            let rows = rows.map_err(|error| SubmitError::Invalid(format!("data: {error}")))?;
            rows.map_err(|error| SubmitError::Invalid(format!("data: {error}")))?
        } else {
            None
        };
        let options = Options { data_row: rows.is_some(), ..shared.options.clone() };
        let rows = rows.unwrap_or_else(|| vec![crate::flow::Row::new()]);
        if members.runs.len() + rows.len() > MEMBERS {
            return Err(too_many());
        }
        let before = members.runs.len();
        for row in rows {
            let mut variables = shared.variables.clone();
            variables.extend(row.into_iter().map(|(name, value)| (name, value.to_json())));
            let execution = self.new_member(shared, &text, variables);
            let planned = self
                .sources
                .plan_known(execution, Arc::clone(&text.yaml), shared.environment.clone(), options.clone())
                .await;
            match planned {
                Ok(plan) => members.add(plan.execution, Arc::clone(&text.yaml), &options)?,
                Err(error) => {
                    members.runs.truncate(before);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn new_member(&self, shared: &Shared, text: &Text, variables: Variables) -> Execution {
        let id = ExecutionId::generate(&*self.clock);
        let mut execution = Execution::queued(id, String::new(), shared.trigger, self.clock.now());
        execution.flow_id = text.flow_id;
        execution.flow_version = text.version;
        execution.environment.clone_from(&shared.environment_name);
        execution.variables = variables;
        execution
    }
}

/// Rows of a job's flow that run at a time.
const PARALLELISM_OF_JOBS: u32 = 8;

impl Members {
    fn add(&mut self, execution: Execution, definition: Arc<str>, options: &Options) -> Result<(), SubmitError> {
        let options =
            serde_json::to_string(options).map_err(|error| SubmitError::Invalid(format!("options: {error}")))?;
        self.runs.push(Member { execution, definition, options });
        Ok(())
    }

    /// As rows whose order by time and id is that of the runs.
    fn rows(mut self, batch: &Batch, session: SessionId) -> Vec<InsertRow> {
        let mut ids: Vec<_> = self.runs.iter().map(|member| member.execution.id).collect();
        ids.sort_unstable();
        for (member, id) in self.runs.iter_mut().zip(ids) {
            (member.execution.id, member.execution.queued_at) = (id, batch.created_at);
        }
        let row = |(place, member): (u32, Member)| {
            let execution = Execution { batch_id: Some(batch.id), ..member.execution };
            let mut row =
                InsertRow::new(&execution, member.definition.to_string(), Some(member.options), session, None);
            row.batch_row = Some(place);
            row
        };
        (0..).zip(self.runs).map(row).collect()
    }
}

fn too_many() -> SubmitError {
    SubmitError::Invalid(format!("more than {MEMBERS} runs at once"))
}

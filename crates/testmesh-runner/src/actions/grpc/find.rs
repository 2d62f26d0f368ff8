//! Finds the description of a method: in files, or by asking the server. What was found is kept for the run.

use std::collections::HashMap;

use http::Uri;
use parking_lot::Mutex;
use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};
use tonic::metadata::MetadataMap;

use super::channel::{Channels, Peer};
use super::protos::Described;
use super::reflection::{self, Reflected};
use super::{Failure, GrpcError};
use crate::action::ActionError;
use crate::engine::{ActionContext, Resolved};
use crate::flow::suggest;
use crate::record::ErrorKind;

/// What the files of a run say.
#[derive(Default)]
pub(super) struct Descriptions(Mutex<HashMap<Described, DescriptorPool>>);

/// The names that a step gives.
pub(super) struct Named {
    pub(super) service: String,
    pub(super) method: String,
}

impl Named {
    /// `service` and `method`, or both in `method`: `shop.v1.Shop/GetProduct`.
    pub(super) fn read(config: &Resolved) -> Result<Self, ActionError> {
        let method = config.required_text("method")?;
        let method = method.trim_start_matches('/');
        let (service, method) = match (config.text("service")?, method.rsplit_once('/')) {
            (Some(service), None) => (service.to_string(), method),
            (None, Some((service, method))) => (service.to_owned(), method),
            (Some(service), Some((other, method))) if *service == *other => (other.to_owned(), method),
            (Some(service), Some((other, _))) => {
                let text = format!("`service` is `{service}`, and `method` names `{other}`");
                return Err(ActionError::new(ErrorKind::Config, text));
            }
            (None, None) => {
                let text = "`service` is missing, the full name of the service such as `shop.v1.Shop`";
                return Err(ActionError::new(ErrorKind::Config, text));
            }
        };
        Ok(Self { service, method: method.to_owned() })
    }
}

/// Where a description comes from.
pub(super) struct Finder<'a> {
    pub(super) cx: &'a ActionContext<'a>,
    pub(super) channels: &'a Channels,
    pub(super) peer: &'a Peer,
    pub(super) origin: &'a Uri,
    pub(super) metadata: &'a MetadataMap,
}

impl Finder<'_> {
    /// The description of the method.
    pub(super) async fn method(
        &self,
        wanted: &Named,
        described: Option<&Described>,
    ) -> Result<MethodDescriptor, Failure> {
        let service = match described {
            Some(described) => self.in_files(described, &wanted.service).await?,
            None => Box::pin(self.by_reflection(&wanted.service)).await?,
        };
        if let Some(found) = service.methods().find(|method| method.name() == wanted.method) {
            return Ok(found);
        }
        let methods: Vec<MethodDescriptor> = service.methods().collect();
        let names: Vec<&str> = methods.iter().map(MethodDescriptor::name).collect();
        let what = format!("`{}` has no method `{}`", service.full_name(), wanted.method);
        Err(GrpcError::Config(unknown(&what, &wanted.method, &names)).into())
    }

    async fn in_files(&self, described: &Described, service: &str) -> Result<ServiceDescriptor, Failure> {
        let descriptions = self.cx.resource(Descriptions::default);
        let known = descriptions.0.lock().get(described).cloned();
        let pool = if let Some(pool) = known {
            pool
        } else {
            let pool = Box::pin(described.clone().load(self.cx.files())).await?;
            descriptions.0.lock().insert(described.clone(), pool.clone());
            pool
        };
        if let Some(found) = pool.get_service_by_name(service) {
            return Ok(found);
        }
        let services: Vec<ServiceDescriptor> = pool.services().collect();
        let names: Vec<&str> = services.iter().map(ServiceDescriptor::full_name).collect();
        let what = format!("`{}` describes no service `{service}`", described.shown());
        Err(GrpcError::Config(unknown(&what, service, &names)).into())
    }

    async fn by_reflection(&self, service: &str) -> Result<ServiceDescriptor, Failure> {
        let find = |pool: &DescriptorPool| pool.get_service_by_name(service);
        let known = self.peer.services.lock().get(service).and_then(find);
        if let Some(known) = known {
            return Ok(known);
        }
        let channel = self.channels.open(self.cx.connector(), self.peer).await?;
        match reflection::service(&channel, self.origin, self.metadata, service).await? {
            Reflected::Service(pool) => {
                let found = find(&pool).ok_or_else(|| GrpcError::Config(format!("`{service}` is no service")))?;
                self.peer.services.lock().insert(service.to_owned(), pool);
                Ok(found)
            }
            Reflected::Others(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let what = format!("the server has no service `{service}`");
                Err(GrpcError::Config(unknown(&what, service, &names)).into())
            }
        }
    }
}

/// What is not there, with the names that may be meant. A name without its package is near, too.
fn unknown(what: &str, name: &str, names: &[&str]) -> String {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_lowercase();
    let same: Vec<&str> = names.iter().copied().filter(|other| last(other) == last(name)).collect();
    let near = if same.is_empty() { suggest::near(name, names.iter().copied()) } else { same };
    let help = suggest::did_you_mean(&near).unwrap_or_else(|| match names {
        [] => "there is none at all".to_owned(),
        names if names.len() <= 8 => format!("there are {}", suggest::quoted(names)),
        names => format!("the nearest are {}", suggest::quoted(&suggest::nearest(name, names.iter().copied()))),
    });
    format!("{what}: {help}")
}

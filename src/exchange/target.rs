//! What a service's targets get of a request in the place of what the client has sent: its path,
//! header fields. And where there is no target, because the client is sent elsewhere.

use std::borrow::Cow;

use super::{Exchange, Messages, Reply, annotate, may_keep_alive};
use crate::error::Error;
use crate::http::message::{Fields, LocalResponse, RequestHead};
use crate::http::relay::BodySource;
use crate::plugin::{Chosen, Upstreams, Wish};
use crate::route::edit::Redirect;
use crate::route::table::{is_under, strip};
use crate::snapshot::Service;
use crate::upstream::balance::hash;
use crate::upstream::cluster::{Cluster, Endpoint};

impl Exchange<'_> {
    /// The service that is asked.
    pub(super) fn asked(&self) -> &Service {
        match self.chosen.get().service {
            None => self.target,
            Some(place) => self.snapshot.services.get(place).unwrap_or(self.target),
        }
    }

    /// Asks whom a plugin has chosen.
    #[cold]
    pub(super) fn choose(&self, chosen: Chosen) {
        self.chosen.set(chosen);
        self.place.set(Some(self.asked().index));
    }

    /// The path as the origin gets it.
    pub(super) fn origin_path<'p>(&'p self, request: &'p RequestHead) -> Cow<'p, str> {
        self.path_for(self.asked(), request)
    }

    /// The path as the targets of a service get it.
    pub(super) fn path_for<'p>(
        &'p self,
        target: &'p Service,
        request: &'p RequestHead,
    ) -> Cow<'p, str> {
        let service = self.path_service(target);
        if service.strip_base_path {
            return Cow::Borrowed(strip(&request.path, &service.base_path));
        }
        match &service.rewrite {
            None => Cow::Borrowed(&request.path),
            Some(rewrite) => rewrite.path(&service.base_path, &request.path),
        }
    }

    /// The service whose changes of the path hold: the one that the request was routed to, if it
    /// has any, else the one whose target it is.
    fn path_service<'t>(&'t self, target: &'t Service) -> &'t Service {
        let changes = self.service.strip_base_path || self.service.rewrite.is_some();
        if changes { self.service } else { target }
    }

    /// What is set on a request to the targets of the service that is asked. Nobody else is sent
    /// it: there may be secrets among it.
    pub(super) fn fields_for_target(&self, request: &RequestHead) -> Cow<'_, Fields> {
        self.fields_for(self.asked(), request)
    }

    /// The same to the targets of a service.
    pub(super) fn fields_for<'t>(
        &'t self,
        target: &'t Service,
        request: &RequestHead,
    ) -> Cow<'t, Fields> {
        let path = self.path_service(target);
        if !path.strip_base_path && !target.strip_base_path {
            return Cow::Borrowed(&target.fields);
        }
        let is_under = is_under(&request.path, &path.base_path);
        let own = annotate::for_target(path, &request.fields, is_under);
        if std::ptr::eq(path, target) {
            return own;
        }
        // What is told of the path is told by whose base path was taken off.
        let mut set = target.fields.clone();
        if target.strip_base_path && set.get(annotate::PREFIX) == Some(target.base_path.as_bytes())
        {
            set.remove(annotate::PREFIX.as_bytes());
        }
        if let Some(prefix) = own.get(annotate::PREFIX).filter(|_| path.strip_base_path) {
            set.set(annotate::PREFIX.as_bytes(), prefix);
        }
        Cow::Owned(set)
    }

    /// What becomes of the fields of a response: as the service says that was asked, then as the
    /// one that the request was routed to.
    pub(super) fn edit_response(&self, fields: &mut Fields) {
        let target = self.asked();
        if let Some(edit) = &target.response_edit {
            edit.apply(fields);
        }
        if let Some(edit) = &self.service.response_edit
            && !std::ptr::eq(self.service, target)
        {
            edit.apply(fields);
        }
    }

    /// What else becomes of the fields of a request to those.
    pub(super) fn edit_for_target(&self, fields: &mut Fields) {
        if let Some(edit) = &self.asked().request_edit {
            edit.apply(fields);
        }
    }

    /// The head of a request with that done, if there is something to do.
    pub(super) fn edited_for_target(&self, request: &RequestHead) -> Option<Box<RequestHead>> {
        self.asked().request_edit.as_ref()?;
        let mut edited = Box::new(request.clone());
        self.edit_for_target(&mut edited.fields);
        Some(edited)
    }

    /// Sends the client elsewhere.
    pub(super) async fn redirect(
        &self,
        to: &Redirect,
        messages: Messages<'_>,
        body: &impl BodySource,
        reply: &mut impl Reply,
    ) -> Result<u16, Error> {
        let Messages { request, response, .. } = messages;
        let mut local = LocalResponse { status: to.status, ..LocalResponse::default() };
        let location = to.location(self.asker.scheme.as_str(), request);
        local.fields.push(b"Location", location.as_bytes());
        self.edit_response(&mut local.fields);
        response.status = to.status;
        let keep_alive = may_keep_alive(request, body, reply);
        self.send_instead(local, keep_alive, reply).await
    }
}

impl Upstreams for Exchange<'_> {
    fn choose(&self, wish: Wish<'_>) -> Result<Chosen, String> {
        let service = match wish.service {
            None => self.target,
            Some(name) => {
                let mut services = self.snapshot.services.iter();
                let named = services.find(|service| service.name == name);
                named
                    .ok_or_else(|| format!("there is no service {name:?}; name a configured one"))?
            }
        };
        let name = &service.name;
        let splits = service.extras.as_ref().is_some_and(|extras| extras.split.is_some());
        if splits {
            return Err(format!("the service {name:?} splits its requests; name one of its parts"));
        }
        let endpoint = match (wish.endpoint, &*service.cluster) {
            (None, _) => None,
            (Some("builtin:echo"), Cluster::Echo) => None,
            (Some(wanted), cluster) => {
                let is_it = |one: &&Endpoint| one.authority == wanted || one.url == wanted;
                let found = match cluster {
                    Cluster::Endpoints(endpoints) => endpoints.iter().find(is_it),
                    Cluster::Echo => None,
                };
                let unknown = || format!("the service {name:?} has no target {wanted:?}");
                Some(found.ok_or_else(unknown)?.id)
            }
        };
        let key = wish.hash_key.map(|key| hash(key.as_bytes()));
        Ok(Chosen { service: Some(service.index), endpoint, key })
    }
}

impl std::fmt::Debug for Exchange<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("request_id", &self.request_id).finish_non_exhaustive()
    }
}

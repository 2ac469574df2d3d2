//! What a domain adds to the server: its paths, and the handlers that answer them.
//!
//! One file for each domain: [`crate::events`], [`crate::tables`]. The shell knows no domain, each
//! routes file knows one; the program mounts the routes that its roles need with [`crate::Service::with`].

use std::future::{Ready, ready};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Response, StatusCode};

use crate::answer;
use crate::meters::Answers;
use crate::shell::Shell;

/// The paths of one domain, before a server answers on them.
pub struct Routes(Mount);

type Mount = Box<dyn FnOnce(&Arc<Shell>) -> Router + Send>;

impl Routes {
    /// `mount` makes the routes of a server that has this shell.
    pub(crate) fn new(mount: impl FnOnce(&Arc<Shell>) -> Router + Send + 'static) -> Self {
        Self(Box::new(mount))
    }

    pub(crate) fn mount(self, shell: &Arc<Shell>) -> Router {
        self.0(shell)
    }
}

/// Answers the methods that a path does not know.
pub(crate) fn not_allowed(
    answers: &Arc<Answers>,
    allowed: &'static str,
) -> impl Fn() -> Ready<Response<Body>> + Clone + Send + 'static + use<> {
    let answers = answers.clone();
    move || {
        answers.count(StatusCode::METHOD_NOT_ALLOWED);
        ready(answer::not_allowed(allowed))
    }
}

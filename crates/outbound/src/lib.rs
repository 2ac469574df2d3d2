//! The one HTTP client for services of others.
//!
//! A call is one attempt. [`Client::send`] says how far an attempt came that failed: [`Failure::is_unsent`] is
//! true only where the service surely got no request that it can act on. A caller that pays has to tell this
//! case from an answer that is missing.
//!
//! What it deliberately does not do: it follows no redirect, repeats no request, keeps no cookie, uses no proxy
//! of the environment, and puts no URL into an error, because URLs have secrets. HTTP/1.1 alone: one
//! connection for each call under way, where one HTTP/2 connection would cap at 100 to 200 streams.

mod client;
mod failure;
mod progress;

pub use client::{Answer, Client, Options, unusable};
pub use failure::{Failure, Kind};
pub use progress::{Phase, Took};

//! Who is a node of the cluster: its certificate authority, its nodes' certificates, invitations to join.
//!
//! * A cluster has an authority of its own, made when it is formed. Its key is in the directory of the node
//!   that formed it and of whoever is given a copy; only there can nodes be invited.
//! * A node's certificate names the node and the cluster ([`node_name`]), and serves for calling and being called.
//!   Nobody is believed to be a node whose certificate does not say so.
//! * A node's key never leaves its directory. Files are whole or not there; keys are readable by their owner only.
//!
//! Which nodes are peers at all is not a matter of certificates: a node that was taken out of the cluster is
//! refused by number (`Links::set_peers`), so there is no list of revoked ones.
//!
//! Files, from the ground up: `names`, `files`, `token` (an invitation as text), `tls`, `identity` (what a
//! node shows), `join` (asking), `authority` (answering).

mod authority;
mod files;
mod identity;
mod join;
mod names;
mod tls;
mod token;

pub use authority::{Admission, Authority, create};
pub use identity::Identity;
pub use join::{Joined, join};
pub use names::{AUTHORITY_KEY, node_name};
pub use token::Token;

pub(crate) use join::{WELCOME_BYTES_MAX, binding, request_len, write_admission, write_refusal};
pub(crate) use tls::{Configs, JOIN_PROTOCOL, is_certificate_of};

#[cfg(test)]
mod tests;

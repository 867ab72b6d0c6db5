//! What things are called: the files in a node's directory, and the node in its certificate.

use crate::id::ClusterId;
use novax_model::NodeId;

pub(super) const AUTHORITY_CERTIFICATE: &str = "ca.pem";
/// The file of the authority's key, where it is.
pub const AUTHORITY_KEY: &str = "ca.key";
pub(super) const NODE_CERTIFICATE: &str = "node.pem";
pub(super) const NODE_KEY: &str = "node.key";
pub(super) const INVITATIONS: &str = "invitations";

/// The name in a node's certificate. It is never looked up; the last part makes it a valid one whatever the digits.
#[must_use]
pub fn node_name(node: NodeId, cluster: ClusterId) -> String {
    format!("node-{}.{cluster}.novax", node.get())
}

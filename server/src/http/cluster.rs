//! The cluster as this node sees it, and an admin's orders about who leads.
//!
//! An order is passed on to the node it concerns and not answered by it: what came of it is seen in the state.

use super::Api;
use super::extract::Body;
use super::members::wanted;
use super::problem::Problem;
use crate::cluster::Seat;
use crate::control::{Order, Replica};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use novax_model::{NodeId, PartitionId};
use novax_peer::net::LinkStatus;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(cluster)).routes(routes!(drain)).routes(routes!(transfer))
}

/// The cluster, as one of its nodes sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ClusterView {
    /// Its id; none when the node stands alone.
    pub cluster: Option<String>,
    /// The node that answers.
    pub node: u64,
    /// All nodes, by number.
    pub nodes: Vec<NodeView>,
    /// All partitions.
    pub partitions: Vec<PartitionView>,
}

/// A node.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NodeView {
    /// Its number.
    pub node: u64,
    /// Where the others call it.
    pub address: Option<String>,
    /// Where it stands, in the word of whoever invited it.
    pub site: Option<String>,
    /// It was invited and has not come.
    pub invited: bool,
    /// Whether there is a link to it; true for the node that answers.
    pub linked: bool,
    /// The time a ping to it took, lately.
    pub round_trip_us: Option<u64>,
    /// The version of the links' protocol it speaks with this node.
    pub protocol: Option<u16>,
    /// Tells its lives apart.
    pub run: Option<u64>,
    /// Why the last link to it ended, or was not made.
    pub link_ended: Option<String>,
    /// Whether it is told to lead nothing.
    pub draining: bool,
    /// How many partitions it leads, as far as this node knows.
    pub leads: u64,
}

/// A partition.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PartitionView {
    /// Its number.
    pub partition: u16,
    /// Who leads, as far as this node knows.
    pub leader: Option<u64>,
    /// The latest term known.
    pub term: u64,
    /// Entries up to this one are committed, as far as is known.
    pub commit: u64,
    /// Nodes that vote.
    pub voters: Vec<u64>,
    /// Nodes that follow without a vote.
    pub learners: Vec<u64>,
    /// Whether a change of several voters is under way.
    pub joint: bool,
    /// Who should vote, while that is not yet so.
    pub wanted_voters: Option<Vec<u64>>,
    /// Its replicas, by node. One that has said nothing since the start of this node is missing.
    pub replicas: Vec<ReplicaView>,
}

/// A replica of a partition.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReplicaView {
    /// On which node.
    pub node: u64,
    /// Entries up to this one are in its state.
    pub applied: u64,
    /// How many committed entries its state lacks.
    pub behind: u64,
    /// Whether its state is as new as its log was when it started.
    pub caught_up: bool,
    /// How long ago it said so.
    pub age_ms: u64,
}

pub(super) fn numbers(nodes: &[NodeId]) -> Vec<u64> {
    nodes.iter().map(|node| node.get()).collect()
}

impl PartitionView {
    fn new(me: NodeId, replica: &Replica) -> PartitionView {
        let mine = (me, replica.standing, 0);
        let others = replica.others.iter().map(|other| (other.node, other.standing, other.age_ms));
        let mut all: Vec<_> = others.chain([mine]).collect();
        all.sort_by_key(|(node, _, _)| *node);
        let commit = all.iter().map(|(_, standing, _)| standing.commit).max().unwrap_or(0);
        let term = all.iter().map(|(_, standing, _)| standing.term).max().unwrap_or(0);
        let view = |(node, standing, age_ms): (NodeId, novax_shard::standing::Standing, u64)| {
            let (applied, caught_up) = (standing.applied, standing.caught_up);
            let behind = commit.saturating_sub(applied);
            ReplicaView { node: node.get(), applied, behind, caught_up, age_ms }
        };
        PartitionView {
            partition: replica.partition.0,
            leader: replica.leader.map(NodeId::get),
            term,
            commit,
            voters: numbers(replica.members.voters()),
            learners: numbers(replica.members.learners()),
            joint: replica.members.is_joint(),
            wanted_voters: wanted(replica),
            replicas: all.into_iter().map(view).collect(),
        }
    }
}

fn node_view(seat: &Seat, node: NodeId, link: Option<&LinkStatus>, all: &[Replica]) -> NodeView {
    let me = node == seat.node;
    let roster = seat.keeper.as_ref().map(|keeper| keeper.roster());
    let row = roster.as_ref().and_then(|roster| roster.node(node));
    let peer = link.and_then(|link| link.peer.as_ref());
    let drains = |replica: &Replica| {
        let mut others = replica.others.iter();
        if me {
            replica.standing.draining
        } else {
            others.any(|other| other.node == node && other.standing.draining)
        }
    };
    let leads = all.iter().filter(|replica| replica.leader == Some(node)).count();
    NodeView {
        node: node.get(),
        address: seat.address_of(node),
        site: row.map(|row| row.site.to_string()).filter(|site| !site.is_empty()),
        invited: row.is_some_and(|row| !row.has_joined()),
        linked: me || peer.is_some(),
        round_trip_us: link
            .filter(|_| peer.is_some())
            .map(|link| u64::try_from(link.round_trip.as_micros()).unwrap_or(u64::MAX)),
        protocol: peer.map(|peer| peer.version),
        run: if me { Some(seat.run) } else { peer.map(|peer| peer.run.0) },
        link_ended: link.filter(|_| peer.is_none()).and_then(|link| Some(link.ended?.to_string())),
        draining: all.iter().any(drains),
        leads: u64::try_from(leads).unwrap_or(u64::MAX),
    }
}

fn view(seat: &Seat, all: &[Replica]) -> ClusterView {
    let links = seat.links.get().map(|links| links.status().links).unwrap_or_default();
    let mut nodes: BTreeSet<NodeId> = links.iter().map(|link| link.node).collect();
    nodes.insert(seat.node);
    let roster = seat.keeper.as_ref().map(|keeper| keeper.roster());
    nodes.extend(roster.iter().flat_map(|roster| &roster.nodes).map(|row| row.node));
    nodes.extend(all.iter().flat_map(|replica| replica.members.voters().iter().copied()));
    nodes.extend(all.iter().flat_map(|replica| replica.members.learners().iter().copied()));
    let link = |node: NodeId| links.iter().find(|link| link.node == node);
    ClusterView {
        cluster: seat.keeper.as_ref().map(|keeper| keeper.file().cluster.to_string()),
        node: seat.node.get(),
        nodes: nodes.into_iter().map(|node| node_view(seat, node, link(node), all)).collect(),
        partitions: all.iter().map(|replica| PartitionView::new(seat.node, replica)).collect(),
    }
}

/// The nodes, their links, and how far each replica of each partition is. What other nodes said is up to a second old.
#[utoipa::path(get, path = "/v1/cluster", tag = "cluster",
    responses((status = 200, body = ClusterView)))]
async fn cluster(State(api): State<Api>) -> Result<Json<ClusterView>, Problem> {
    let all = api.control().replicas().await?;
    Ok(Json(view(api.seat(), &all)))
}

/// Whether a node should lead.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DrainInput {
    /// It hands away what it leads and leads nothing more, until this is false or it starts again.
    pub draining: bool,
}

fn known_node(api: &Api, number: u64, all: &[Replica]) -> Result<NodeId, Problem> {
    let members =
        |replica: &Replica, node| node == api.seat().node || replica.members.contains(node);
    NodeId::new(number)
        .filter(|node| all.iter().any(|replica| members(replica, *node)))
        .ok_or_else(|| Problem::not_found("node", &number.to_string()))
}

/// Has a node lead nothing, or lead again. Given to the node by whichever node answers; see the state for what came
/// of it, and give it again if nothing did.
#[utoipa::path(put, path = "/v1/cluster/nodes/{node}", tag = "cluster", operation_id = "drain_node",
    params(("node" = u64, Path, description = "The node's number")),
    responses((status = 202, description = "On its way")))]
async fn drain(
    State(api): State<Api>,
    Path(node): Path<u64>,
    Body(body): Body<DrainInput>,
) -> Result<StatusCode, Problem> {
    let all = api.control().replicas().await?;
    let node = known_node(&api, node, &all)?;
    api.control().drain(node, body.draining)?;
    Ok(StatusCode::ACCEPTED)
}

/// Who should lead.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LeaderInput {
    /// The voter that gets the lead.
    pub node: u64,
}

/// Hands the lead of a partition to another voter. Leads are balanced: after some seconds the lead goes back to the
/// preferred voter, unless that one drains.
#[utoipa::path(put, path = "/v1/cluster/partitions/{partition}/leader", tag = "cluster",
    operation_id = "transfer_leader",
    params(("partition" = u16, Path, description = "The partition's number")),
    responses((status = 202, description = "On its way")))]
async fn transfer(
    State(api): State<Api>,
    Path(partition): Path<u16>,
    Body(body): Body<LeaderInput>,
) -> Result<StatusCode, Problem> {
    let all = api.control().replicas().await?;
    let to = known_node(&api, body.node, &all)?;
    let known = all.iter().find(|replica| replica.partition.0 == partition);
    let replica = known.ok_or_else(|| Problem::not_found("partition", &partition.to_string()))?;
    if !replica.members.voters().contains(&to) {
        return Err(Problem::conflict("no_voter", format!("{to} has no vote in it")));
    }
    if replica.leader.is_none() {
        return Err(Problem::overloaded("nobody leads the partition at the moment"));
    }
    api.control().order(PartitionId(partition), Order::Transfer { to })?;
    Ok(StatusCode::ACCEPTED)
}

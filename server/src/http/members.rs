//! Nodes join and leave the cluster, votes of partitions move: an admin's orders.
//!
//! An order is put into partition 0 and answered. Each partition's leader brings it about after that; how far it
//! is shows in `GET /v1/cluster`. Given again, an order changes nothing or goes on.
//!
//! **Invariant:** nothing is ordered that would leave a partition without a majority of votes that are up.

use super::Api;
use super::cluster::numbers;
use super::extract::Body;
use super::problem::Problem;
use crate::cluster::{Keeper, invitation};
use crate::control::{ControlError, Replica};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use novax_charging::roster::ROSTER_PARTITION;
use novax_charging::{Command, PutNode, Refusal};
use novax_model::{NodeId, PartitionId};
use novax_peer::net::Links;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(invite)).routes(routes!(move_votes)).routes(routes!(remove))
}

/// An invitation is good for so long where nothing is said.
const VALID_S_DEFAULT: u64 = 3_600;
const VALID_S_MAX: u64 = 7 * 24 * 3_600;
/// Numbers that are tried for a new node: others may invite at the same time.
const NUMBERS_TRIED_MAX: usize = 10;
/// How often it is looked whether the nodes are known.
const NODES_HEARD_TRIES: usize = 60;
/// How often it is looked whether nodes that seem down are: each says once a second that it is up, and whoever has
/// just begun has not heard all.
const STANDINGS_HEARD_TRIES: usize = 40;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// A node that has said nothing for longer is not up.
const UP_MS: u64 = 5_000;

/// Who knows the nodes. A cluster that has just been formed takes a second to say who they are.
async fn keeper(api: &Api) -> Result<(Arc<Keeper>, Arc<OnceLock<Links>>), Problem> {
    let seat = api.seat();
    let alone = || Problem::conflict("stands_alone", "the node stands alone: it has no cluster");
    let keeper = seat.keeper.clone().ok_or_else(alone)?;
    for _ in 0..NODES_HEARD_TRIES {
        if keeper.roster().last > 0 {
            return Ok((keeper, seat.links.clone()));
        }
        tokio::time::sleep(TRY_AGAIN_AFTER).await;
    }
    Err(Problem::overloaded("this node has not heard yet who is in the cluster"))
}

/// For whom an invitation is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InvitationInput {
    /// Where the new node will stand, in a word. From three sites on, what is acknowledged is at two.
    pub site: Option<String>,
    /// For how many seconds the invitation is good; an hour by default, a week at most.
    pub valid_s: Option<u64>,
}

/// An invitation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InvitationView {
    /// The number that the new node gets. No other node ever had it.
    pub node: u64,
    /// What the new node shows, once: a secret. It names the node to call.
    pub invitation: String,
    /// For how many seconds it is good.
    pub valid_s: u64,
}

/// Invites a node that is to join the cluster. Only a node that has the authority's key can.
#[utoipa::path(post, path = "/v1/cluster/invitations", tag = "cluster", operation_id = "invite_node",
    responses((status = 201, body = InvitationView)))]
async fn invite(
    State(api): State<Api>,
    Body(body): Body<InvitationInput>,
) -> Result<(StatusCode, Json<InvitationView>), Problem> {
    let (keeper, links) = keeper(&api).await?;
    let valid_s = body.valid_s.unwrap_or(VALID_S_DEFAULT);
    if !(1..=VALID_S_MAX).contains(&valid_s) {
        return Err(Problem::unprocessable(format!("valid_s is from 1 to {VALID_S_MAX}")));
    }
    if !links.get().is_some_and(Links::can_invite) {
        let words = "this node has no key of the cluster's authority (cluster/ca.key): ask another";
        return Err(Problem::conflict("no_authority", words));
    }
    let node = reserve(&api, &keeper, &body.site.unwrap_or_default()).await?;
    let valid = Duration::from_secs(valid_s);
    // It writes a file.
    let made = tokio::task::spawn_blocking(move || {
        links.get().map(|links| links.invite(node, valid)).ok_or(())
    });
    let token = match made.await {
        Ok(Ok(Ok(token))) => token,
        Ok(Ok(Err(error))) => return Err(Problem::conflict("no_invitation", error.to_string())),
        Ok(Err(())) | Err(_) => return Err(Problem::overloaded("the links are gone")),
    };
    let own = keeper.address_of(api.seat().node).unwrap_or_default();
    let invitation = invitation(&token, &own);
    Ok((StatusCode::CREATED, Json(InvitationView { node: node.get(), invitation, valid_s })))
}

/// A number that no node ever had.
async fn reserve(api: &Api, keeper: &Keeper, site: &str) -> Result<NodeId, Problem> {
    let mut refused = Problem::overloaded("too many nodes are being invited at once");
    for _ in 0..NUMBERS_TRIED_MAX {
        let founders = keeper.file().founders;
        let last = founders.iter().map(|node| node.get()).fold(keeper.roster().last, u64::max);
        let node = NodeId::new(last + 1).expect("from 1");
        let put = PutNode { node, address: "".into(), site: site.into() };
        let command = Command::PutNode(Box::new(put));
        match api.control().propose_ok(ROSTER_PARTITION, command).await {
            Ok(_) => return Ok(node),
            Err(ControlError::Refused(refusal)) => {
                refused = ControlError::Refused(refusal).into();
                tokio::time::sleep(TRY_AGAIN_AFTER).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(refused)
}

/// Which votes move.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MoveInput {
    /// Of which partition; of all in which `from` has a vote, where nothing is said.
    pub partition: Option<u16>,
    /// Who loses its vote; it follows on without one.
    pub from: Option<u64>,
    /// Who gets one.
    pub to: Option<u64>,
}

/// What was ordered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MoveView {
    /// The partitions whose votes are to be so; some may be so already.
    pub partitions: Vec<u16>,
}

/// Moves the vote of one node in a partition, or in all, to another; adds one without `from`, takes one away without
/// `to`. Answered before it has happened: the new voter first gets all of the partition.
#[utoipa::path(post, path = "/v1/cluster/moves", tag = "cluster", operation_id = "move_votes",
    responses((status = 202, body = MoveView)))]
async fn move_votes(
    State(api): State<Api>,
    Body(body): Body<MoveInput>,
) -> Result<(StatusCode, Json<MoveView>), Problem> {
    let (keeper, _) = keeper(&api).await?;
    let node = |number: Option<u64>| match number {
        None => Ok(None),
        Some(number) => {
            let known = NodeId::new(number).filter(|node| keeper.roster().node(*node).is_some());
            known.map(Some).ok_or_else(|| Problem::not_found("node", &number.to_string()))
        }
    };
    let (from, to) = (node(body.from)?, node(body.to)?);
    if let Some(to) = to.filter(|to| !keeper.roster().has_joined(*to)) {
        let words = format!("node {} was invited and has not joined", to.get());
        return Err(Problem::conflict("not_joined", words));
    }
    if from.is_none() && to.is_none() {
        return Err(Problem::unprocessable("say from which node votes move, or to which"));
    }
    let mut orders = plans(&api, body.partition, (from, to)).await?;
    for _ in 0..STANDINGS_HEARD_TRIES {
        if !orders.as_ref().is_err_and(NoMove::may_pass) {
            break;
        }
        tokio::time::sleep(TRY_AGAIN_AFTER).await;
        orders = plans(&api, body.partition, (from, to)).await?;
    }
    let orders = orders.map_err(|why| Problem::conflict("no_move", why.to_string()))?;
    // Checked for all before anything is ordered.
    let mut partitions = Vec::new();
    for (partition, voters) in orders {
        let command = Command::PlaceReplicas { partition, voters };
        api.control().propose_ok(ROSTER_PARTITION, command).await?;
        partitions.push(partition.0);
    }
    Ok((StatusCode::ACCEPTED, Json(MoveView { partitions })))
}

/// Why votes of a partition must not move as was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum NoMove {
    /// The asker's fault: there is nothing to take away.
    #[error("node {node} has no vote in partition {partition}")]
    NoVote { node: u64, partition: u16 },
    /// The new voter is away, or was not heard yet.
    #[error("node {node} does not follow partition {partition}: is it up and linked?")]
    NotUp { node: u64, partition: u16 },
    /// Too many of the others are away, or were not heard yet.
    #[error("partition {partition} would have {up} of {votes} votes up, which is no majority")]
    NoMajority { partition: u16, up: usize, votes: usize },
}

impl NoMove {
    /// Whether hearing more of the other nodes could change it.
    fn may_pass(&self) -> bool {
        match self {
            NoMove::NoVote { .. } => false,
            NoMove::NotUp { .. } => true,
            // Nobody is left to be heard.
            NoMove::NoMajority { votes, .. } => *votes > 0,
        }
    }
}

/// Who should vote in which partition after a move, or why that must not be.
async fn plans(
    api: &Api,
    partition: Option<u16>,
    nodes: (Option<NodeId>, Option<NodeId>),
) -> Result<Result<Vec<(PartitionId, Vec<NodeId>)>, NoMove>, Problem> {
    let all = api.control().replicas().await?;
    let is_asked = |replica: &&Replica| partition.is_none_or(|of| replica.partition.0 == of);
    let asked: Vec<&Replica> = all.iter().filter(is_asked).collect();
    if let (Some(of), true) = (partition, asked.is_empty()) {
        return Err(Problem::not_found("partition", &of.to_string()));
    }
    let plan = |replica| plan(api.seat().node, replica, nodes, partition.is_some()).transpose();
    Ok(asked.into_iter().filter_map(plan).collect())
}

/// Who should vote in a partition after the move; nobody new where it is none of its business. Or why that
/// must not be.
fn plan(
    me: NodeId,
    replica: &Replica,
    (from, to): (Option<NodeId>, Option<NodeId>),
    is_named: bool,
) -> Result<Option<(PartitionId, Vec<NodeId>)>, NoMove> {
    let partition = replica.partition.0;
    let now = replica.wanted.as_deref().unwrap_or(replica.members.voters());
    let votes = |node: Option<NodeId>| node.is_some_and(|node| now.contains(&node));
    if let Some(from) = from.filter(|_| !votes(from)) {
        let done = to.is_none() || votes(to);
        if is_named && !done {
            return Err(NoMove::NoVote { node: from.get(), partition });
        }
        // Said before, perhaps: then it is under way or done.
        let again = done && replica.wanted.is_some();
        return Ok(again.then(|| (replica.partition, now.to_vec())));
    }
    let stay = now.iter().copied().filter(|node| Some(*node) != from);
    let voters: BTreeSet<NodeId> = stay.chain(to).collect();
    let fresh = |node: &NodeId| {
        let said = replica.others.iter().find(|other| other.node == *node);
        *node == me || said.is_some_and(|other| other.age_ms <= UP_MS)
    };
    if let Some(to) = to.filter(|to| !fresh(to)) {
        return Err(NoMove::NotUp { node: to.get(), partition });
    }
    let up = voters.iter().filter(|node| fresh(node)).count();
    if up <= voters.len() / 2 {
        return Err(NoMove::NoMajority { partition, up, votes: voters.len() });
    }
    Ok(Some((replica.partition, voters.into_iter().collect())))
}

/// Takes a node out of the cluster for ever: nobody links with it any more, and no other node gets its number. It must
/// have no votes: move them first. An invitation that nobody has used is withdrawn.
#[utoipa::path(delete, path = "/v1/cluster/nodes/{node}", tag = "cluster", operation_id = "remove_node",
    params(("node" = u64, Path, description = "The node's number")),
    responses((status = 204, description = "It is none of the cluster")))]
async fn remove(State(api): State<Api>, Path(number): Path<u64>) -> Result<StatusCode, Problem> {
    keeper(&api).await?;
    let unknown = || Problem::not_found("node", &number.to_string());
    let node = NodeId::new(number).ok_or_else(unknown)?;
    if node == api.seat().node {
        let words = "a node does not take itself out: ask another one";
        return Err(Problem::conflict("is_itself", words));
    }
    let all = api.control().replicas().await?;
    let votes = |replica: &&Replica| {
        replica.members.voters().contains(&node) || replica.members.outgoing().contains(&node)
    };
    let voting: Vec<u16> = all.iter().filter(votes).map(|replica| replica.partition.0).collect();
    if !voting.is_empty() {
        let words = format!("node {number} votes in partitions {voting:?}: move its votes first");
        return Err(Problem::conflict("has_votes", words));
    }
    let command = Command::RemoveNode { node };
    match api.control().propose_ok(ROSTER_PARTITION, command).await {
        Ok(_) => Ok(StatusCode::NO_CONTENT),
        Err(ControlError::Refused(Refusal::BadNode(words))) => {
            Err(Problem::conflict("bad_node", words.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

/// The votes that a partition is on its way to, if it is.
pub(super) fn wanted(replica: &Replica) -> Option<Vec<u64>> {
    let wanted = replica.wanted.as_deref()?;
    let there = wanted == replica.members.voters() && !replica.members.is_joint();
    (!there).then(|| numbers(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Other;
    use novax_raft::Members;
    use novax_shard::standing::Standing;

    fn n(number: u64) -> NodeId {
        NodeId::new(number).expect("not zero")
    }

    fn nodes(numbers: &[u64]) -> Vec<NodeId> {
        numbers.iter().copied().map(n).collect()
    }

    /// Votes of partition 5 as node 1 sees them.
    fn replica(voters: &[u64], wanted: Option<&[u64]>, up: &[u64]) -> Replica {
        let standing = Standing {
            leads: false,
            draining: false,
            caught_up: true,
            term: 1,
            commit: 1,
            applied: 1,
        };
        let other = |node| Other { node, standing, age_ms: 900 };
        Replica {
            partition: PartitionId(5),
            leader: None,
            standing,
            members: Members::of_voters(&nodes(voters)),
            wanted: wanted.map(nodes),
            others: nodes(up).into_iter().map(other).collect(),
        }
    }

    #[track_caller]
    fn check(replica: &Replica, from: u64, to: u64, expected: Result<&[u64], &str>) {
        let planned = plan(n(1), replica, (NodeId::new(from), NodeId::new(to)), true);
        match (planned, expected) {
            (Ok(planned), Ok(voters)) => {
                let planned = planned.map(|(_, voters)| voters).unwrap_or_default();
                assert_eq!(planned, nodes(voters));
            }
            (Err(why), Err(word)) => assert!(why.to_string().contains(word), "{why}"),
            (planned, _) => panic!("{planned:?}, not {expected:?}"),
        }
    }

    #[test]
    fn votes_move_come_and_go() {
        let three = replica(&[1, 2, 3], None, &[2, 4]);
        check(&three, 3, 4, Ok(&[1, 2, 4]));
        check(&three, 0, 4, Ok(&[1, 2, 3, 4]));
        check(&three, 3, 0, Ok(&[1, 2]));
        // What was ordered before counts, done or not; the same order again is no other.
        let moved = replica(&[1, 2, 3], Some(&[1, 2, 4]), &[2, 4]);
        check(&moved, 3, 4, Ok(&[1, 2, 4]));
        check(&moved, 3, 0, Ok(&[1, 2, 4]));
        assert_eq!(wanted(&moved), Some(vec![1, 2, 4]));
        assert_eq!(wanted(&replica(&[1, 2], Some(&[1, 2]), &[])), None);
        assert_eq!(wanted(&three), None);
    }

    #[test]
    fn no_move_leaves_a_partition_without_a_majority() {
        check(&replica(&[1, 2, 3], None, &[4]), 2, 0, Err("1 of 2"));
        check(&replica(&[1, 2, 3], None, &[4]), 3, 4, Ok(&[1, 2, 4]));
        check(&replica(&[1, 2, 3], None, &[2]), 3, 4, Err("follow"));
        check(&replica(&[1, 2, 3], None, &[2, 4]), 5, 4, Err("no vote"));
        check(&replica(&[1], None, &[]), 1, 0, Err("0 of 0"));
    }

    #[test]
    fn only_a_refusal_that_hearing_others_could_change_is_looked_at_again() {
        for (why, may_pass) in [
            (NoMove::NoVote { node: 5, partition: 5 }, false),
            (NoMove::NotUp { node: 4, partition: 5 }, true),
            (NoMove::NoMajority { partition: 5, up: 1, votes: 2 }, true),
            (NoMove::NoMajority { partition: 5, up: 0, votes: 0 }, false),
        ] {
            assert_eq!(why.may_pass(), may_pass, "{why}");
        }
    }
}

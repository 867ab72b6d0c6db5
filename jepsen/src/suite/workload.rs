//! What clients do, and what must be true of it.

use super::cluster::Endpoint;
use crate::harness::HarnessError;
use crate::op::{Call, Value};
use crate::random::Random;
use crate::verdict::Verdict;
use std::path::Path;
use std::time::Duration;

/// A call to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which function.
    pub f: &'static str,
    /// Its argument.
    pub argument: Value,
}

/// How a call went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Ok(Value),
    /// Certainly not done.
    Fail(String),
    /// Not known.
    Unknown(String),
}

/// Makes the calls of one lane.
pub trait Client: Send {
    /// Makes a call and waits for its end, not for ever.
    fn invoke(&mut self, request: &Request) -> Answer;
}

/// Something that works beside the lanes and has its own history and checker.
pub trait Background: Send {
    /// Ends it, after everything healed: what it found, and how many things it saw done.
    fn end(self: Box<Self>) -> (Verdict, u64);
}

/// What clients do, and what must be true of it.
pub trait Workload: Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Makes what the clients need.
    ///
    /// # Errors
    /// When a node refuses.
    fn setup(&self, endpoints: &[Endpoint]) -> Result<(), HarnessError>;

    /// The next call of a lane.
    fn generate(&self, lane: usize, random: &mut Random) -> Request;

    /// Who makes the calls of a lane. The first node is that lane's; it may go to others.
    fn client(&self, endpoints: &[Endpoint], lane: usize) -> Box<dyn Client>;

    /// What is asked for once everything is healed, each again and again until it is answered.
    fn finals(&self) -> Vec<Request>;

    /// What the history says.
    fn check(&self, calls: &[Call]) -> Verdict;

    /// How long a lane waits between calls, on average.
    fn think(&self) -> Duration {
        Duration::from_millis(20)
    }

    /// Begins what works beside the lanes, if anything does.
    ///
    /// # Errors
    /// When it cannot begin.
    fn background(
        &self,
        _endpoints: &[Endpoint],
        _folder: &Path,
        _seed: u64,
    ) -> Result<Option<Box<dyn Background>>, HarnessError> {
        Ok(None)
    }
}

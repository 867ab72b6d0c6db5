//! The async handle into the shards, for everything that is not a shard: HTTP, SQL, start-up.
//!
//! It needs no runtime: an answer is awaited on a one-shot channel, so whoever polls it may be tokio or a simulator.
//! Requests go through one bounded queue per shard; a full queue is answered [`Unavailable`] at once. Answers come
//! through one-shot channels, which never block the shard. This file also holds the few
//! operations that touch two partitions (an id's directory row and its home), each written so that a
//! crash between the two leaves something that the same request, sent again, completes.

use crate::apps::request_key;
use crate::counters::Counters;
pub use crate::port::{
    CallFailed, Freshness, Order, Other, Replica, Request, StartCharge, StationCall, StationReply,
    Totals, Unavailable, View, digest, hash_password,
};
use crossbeam_queue::ArrayQueue;
use novax_charging::{
    Command, DirectoryKind, Funding, Outcome, PasswordHash, PutPriced, PutSite, Refusal, Salt,
};
use novax_model::{
    Amount, Currency, Identity, NodeId, PartitionId, SessionId, Timestamp, TokenUid, TransferKey,
};
use novax_settlement::Rate;
use novax_tariff::rules::{Sample, SignalKind};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Why an operation did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// See [`Unavailable`].
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The state machine said no.
    #[error("refused: {0:?}")]
    Refused(Refusal),
}

/// The way into one shard.
#[derive(Clone)]
pub struct ShardPort {
    /// Bounded; a full queue is overload.
    pub queue: Arc<ArrayQueue<Request>>,
    /// Wakes the shard's ring.
    pub wake: Arc<dyn Fn() + Send + Sync>,
    /// What the shard counts.
    pub counters: Arc<Counters>,
}

impl std::fmt::Debug for ShardPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardPort").field("queued", &self.queue.len()).finish_non_exhaustive()
    }
}

/// The handle. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Control {
    shards: Arc<[ShardPort]>,
    partitions: u16,
}

impl Control {
    /// Over the ports of all shards, in shard order.
    #[must_use]
    pub fn new(shards: Vec<ShardPort>, partitions: u16) -> Control {
        assert!(!shards.is_empty() && partitions > 0, "a node has shards and partitions");
        Control { shards: shards.into(), partitions }
    }

    /// How many partitions the cluster has.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.partitions
    }

    /// The shards' counters, in shard order.
    pub fn counters(&self) -> impl Iterator<Item = &Counters> {
        self.shards.iter().map(|shard| &*shard.counters)
    }

    fn shard_of(&self, partition: PartitionId) -> &ShardPort {
        let count = u16::try_from(self.shards.len()).expect("few shards");
        &self.shards[usize::from(partition.shard(count))]
    }

    async fn ask<T>(
        &self,
        shard: &ShardPort,
        make: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, Unavailable> {
        let (reply, answer) = oneshot::channel();
        shard.queue.push(make(reply)).map_err(|_| Unavailable)?;
        (shard.wake)();
        answer.await.map_err(|_| Unavailable)
    }

    /// Proposes a command and waits for its outcome.
    ///
    /// # Errors
    /// [`Unavailable`]; a refusal is an outcome, not an error.
    pub async fn propose(
        &self,
        partition: PartitionId,
        command: Command,
    ) -> Result<Outcome, Unavailable> {
        let shard = self.shard_of(partition);
        self.ask(shard, |reply| Request::Propose { partition, command, reply }).await?
    }

    /// Proposes and turns a refusal into an error.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn propose_ok(
        &self,
        partition: PartitionId,
        command: Command,
    ) -> Result<Outcome, ControlError> {
        match self.propose(partition, command).await? {
            Outcome::Refused(refusal) => Err(ControlError::Refused(refusal)),
            outcome => Ok(outcome),
        }
    }

    /// Where the rows of an id live; `None` when nobody made it.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn locate(
        &self,
        kind: DirectoryKind,
        id: &str,
    ) -> Result<Option<PartitionId>, Unavailable> {
        let partition = PartitionId::of_directory(id, self.partitions);
        let id = id.to_owned();
        let shard = self.shard_of(partition);
        self.ask(shard, |reply| Request::Locate { partition, kind, id, reply }).await
    }

    async fn put_directory(
        &self,
        kind: DirectoryKind,
        id: &str,
        home: PartitionId,
    ) -> Result<(), ControlError> {
        let directory = PartitionId::of_directory(id, self.partitions);
        let command = Command::PutDirectory { kind, id: id.into(), home };
        self.propose_ok(directory, command).await.map(|_| ())
    }

    /// The home of an id: where it is, or where it goes when it is new.
    async fn home_of(
        &self,
        kind: DirectoryKind,
        id: &str,
        wanted: Option<PartitionId>,
    ) -> Result<PartitionId, ControlError> {
        let found = self.locate(kind, id).await?;
        let home = found.or(wanted).unwrap_or(PartitionId::of_directory(id, self.partitions));
        if wanted.is_some_and(|wanted| wanted != home) {
            return Err(ControlError::Refused(Refusal::KeyReused));
        }
        Ok(home)
    }

    /// Creates or changes a site. `home` is where it goes when it is new; by default by its name.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn put_site(
        &self,
        put: PutSite,
        home: Option<PartitionId>,
    ) -> Result<(), ControlError> {
        let site = put.site.clone();
        let home = self.home_of(DirectoryKind::Site, site.as_str(), home).await?;
        self.propose_ok(home, Command::PutSite(Box::new(put))).await?;
        self.put_directory(DirectoryKind::Site, site.as_str(), home).await
    }

    /// Keeps a tariff, contract or rule book under its name.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn put_priced(&self, put: PutPriced) -> Result<(), ControlError> {
        let home = PartitionId::of_directory(put.id.as_str(), self.partitions);
        self.propose_ok(home, Command::PutPriced(Box::new(put))).await.map(|_| ())
    }

    /// Tells what dynamic prices of a site follow.
    ///
    /// # Errors
    /// [`ControlError`]; [`Refusal::UnknownSite`] when nobody made the site.
    pub async fn put_signal(
        &self,
        site: &Identity,
        kind: SignalKind,
        sample: Sample,
    ) -> Result<(), ControlError> {
        let Some(home) = self.locate(DirectoryKind::Site, site.as_str()).await? else {
            return Err(ControlError::Refused(Refusal::UnknownSite));
        };
        let command = Command::PutSignal { site: site.clone(), kind, sample };
        self.propose_ok(home, command).await.map(|_| ())
    }

    /// Provisions a station at a site, or approves a pending one, or changes its password.
    ///
    /// # Errors
    /// [`ControlError`]; [`Refusal::UnknownSite`] when nobody made the site.
    pub async fn put_station(
        &self,
        identity: &Identity,
        site: &Identity,
        password: Option<PasswordHash>,
    ) -> Result<(), ControlError> {
        let Some(home) = self.locate(DirectoryKind::Site, site.as_str()).await? else {
            return Err(ControlError::Refused(Refusal::UnknownSite));
        };
        let known = self.home_of(DirectoryKind::Station, identity.as_str(), Some(home)).await?;
        assert_eq!(known, home, "home_of refuses another home");
        let command =
            Command::PutStation { identity: identity.clone(), site: site.clone(), password };
        self.propose_ok(home, command).await?;
        self.put_directory(DirectoryKind::Station, identity.as_str(), home).await?;
        let directory = PartitionId::of_directory(identity.as_str(), self.partitions);
        let forget = Command::ForgetUnknownStation { identity: identity.clone() };
        self.propose_ok(directory, forget).await.map(|_| ())
    }

    /// The public key of a station's meter, by which its signed values are verified.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn put_meter_key(
        &self,
        identity: &Identity,
        key: Option<Box<str>>,
    ) -> Result<(), ControlError> {
        let Some(home) = self.locate(DirectoryKind::Station, identity.as_str()).await? else {
            return Err(ControlError::Refused(Refusal::UnknownStation));
        };
        let command = Command::PutMeterKey { identity: identity.clone(), key };
        self.propose_ok(home, command).await.map(|_| ())
    }

    /// Creates a driver with a wallet, or adds tokens. `home` is where it goes when it is new.
    ///
    /// # Errors
    /// [`ControlError`]; [`Refusal::KeyReused`] when a token belongs to somebody else.
    pub async fn put_driver(
        &self,
        driver: &Identity,
        salt: Salt,
        tokens: Vec<TokenUid>,
        currency: Currency,
        blocked: bool,
        home: Option<PartitionId>,
    ) -> Result<(), ControlError> {
        let home = self.home_of(DirectoryKind::Driver, driver.as_str(), home).await?;
        // The directory first: it is where two drivers would collide over a token.
        self.put_directory(DirectoryKind::Driver, driver.as_str(), home).await?;
        for token in &tokens {
            self.put_directory(DirectoryKind::Token, token.as_str(), home).await?;
        }
        let driver = driver.clone();
        let command = Command::PutDriver { driver, salt, tokens, currency, blocked };
        self.propose_ok(home, command).await.map(|_| ())
    }

    /// What a driver pays with from now on.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn put_funding(
        &self,
        driver: &Identity,
        funding: Funding,
    ) -> Result<(), ControlError> {
        let Some(home) = self.locate(DirectoryKind::Driver, driver.as_str()).await? else {
            return Err(ControlError::Refused(Refusal::UnknownDriver));
        };
        let command = Command::PutFunding { driver: driver.clone(), funding };
        self.propose_ok(home, command).await.map(|_| ())
    }

    /// Books money from outside into a wallet; answers what can be spent now.
    ///
    /// # Errors
    /// [`ControlError`]; [`Refusal::KeyReused`] when the key came with another payload before.
    pub async fn deposit(
        &self,
        key: &str,
        driver: &Identity,
        amount: Amount,
    ) -> Result<Amount, ControlError> {
        let Some(home) = self.locate(DirectoryKind::Driver, driver.as_str()).await? else {
            return Err(ControlError::Refused(Refusal::UnknownDriver));
        };
        // Keys are kept where the wallet is, so the same key for two wallets needs one owner too.
        let digest = digest(&["deposit", key]);
        self.put_directory(DirectoryKind::RequestKey, &format!("d{digest:032x}"), home).await?;
        let key = TransferKey(digest);
        let command = Command::Deposit { key, driver: driver.clone(), amount };
        match self.propose_ok(home, command).await? {
            Outcome::Deposited { available } => Ok(available),
            other => unreachable!("a deposit is deposited or refused, not {other:?}"),
        }
    }

    /// Puts an exchange rate in force in every partition: each converts for its own payers. Cut short, it
    /// is completed by the same request again.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn put_fx_rate(&self, rate: Rate) -> Result<(), ControlError> {
        for partition in 0..self.partitions {
            let command = Command::PutFxRate(rate.clone());
            self.propose_ok(PartitionId(partition), command).await?;
        }
        Ok(())
    }

    /// Closes the books of every partition up to a time.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn close_books(&self, until: Timestamp) -> Result<(), ControlError> {
        for partition in 0..self.partitions {
            self.propose_ok(PartitionId(partition), Command::CloseBooks { until }).await?;
        }
        Ok(())
    }

    /// Gives up a driver's debt.
    ///
    /// # Errors
    /// [`ControlError`]; [`Refusal::KeyReused`] when the key came with another payload before.
    pub async fn write_off(
        &self,
        key: &str,
        driver: &Identity,
        amount: Amount,
    ) -> Result<(), ControlError> {
        let Some(home) = self.locate(DirectoryKind::Driver, driver.as_str()).await? else {
            return Err(ControlError::Refused(Refusal::UnknownDriver));
        };
        let digest = digest(&["write-off", key]);
        self.put_directory(DirectoryKind::RequestKey, &format!("w{digest:032x}"), home).await?;
        let key = TransferKey(digest);
        let command = Command::WriteOff { key, driver: driver.clone(), amount };
        self.propose_ok(home, command).await.map(|_| ())
    }

    /// Pays out of a driver's wallet; answers what can be spent now.
    ///
    /// # Errors
    /// [`ControlError`]; [`Refusal::KeyReused`] when the key came with another payload before.
    pub async fn pay_out(
        &self,
        key: &str,
        driver: &Identity,
        amount: Amount,
    ) -> Result<Amount, ControlError> {
        let Some(home) = self.locate(DirectoryKind::Driver, driver.as_str()).await? else {
            return Err(ControlError::Refused(Refusal::UnknownDriver));
        };
        let digest = digest(&["pay-out", key]);
        self.put_directory(DirectoryKind::RequestKey, &format!("p{digest:032x}"), home).await?;
        let key = TransferKey(digest);
        let command = Command::PayOut { key, driver: driver.clone(), amount };
        match self.propose_ok(home, command).await? {
            Outcome::Deposited { available } => Ok(available),
            other => unreachable!("a payout is done or refused, not {other:?}"),
        }
    }

    /// Forgets where the rows of an id live.
    ///
    /// # Errors
    /// [`ControlError`]; [`Refusal::KeyReused`] when they live elsewhere.
    pub async fn remove_directory(
        &self,
        kind: DirectoryKind,
        id: &str,
        home: PartitionId,
    ) -> Result<(), ControlError> {
        let directory = PartitionId::of_directory(id, self.partitions);
        let command = Command::RemoveDirectory { kind, id: id.into(), home };
        self.propose_ok(directory, command).await.map(|_| ())
    }

    /// Starts a charge for an app. Same key and payload again: the same session.
    ///
    /// # Errors
    /// [`ControlError`]; [`Refusal::KeyReused`] when the key came with another payload before.
    pub async fn start_charge(&self, request: StartCharge) -> Result<SessionId, ControlError> {
        let station = request.station.as_str();
        let Some(partition) = self.locate(DirectoryKind::Station, station).await? else {
            return Err(ControlError::Refused(Refusal::UnknownStation));
        };
        let (kind, id) = request_key(&request);
        self.put_directory(kind, &id, partition).await?;
        let shard = self.shard_of(partition);
        let outcome =
            self.ask(shard, |reply| Request::StartCharge { partition, request, reply }).await??;
        match outcome {
            Outcome::Started { session, refusal: None, .. } => Ok(session),
            Outcome::Started { refusal: Some(refusal), .. } | Outcome::Refused(refusal) => {
                Err(ControlError::Refused(refusal))
            }
            other => unreachable!("a start is started or refused, not {other:?}"),
        }
    }

    /// Asks for the end of a session.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn stop_charge(&self, session: SessionId) -> Result<(), ControlError> {
        if session.partition().0 >= self.partitions {
            return Err(ControlError::Refused(Refusal::UnknownSession));
        }
        let command = Command::RequestStop { session };
        self.propose_ok(session.partition(), command).await.map(|_| ())
    }

    /// Sends a call to a station and waits for its answer.
    ///
    /// # Errors
    /// [`CallFailed`].
    pub async fn call_station(
        &self,
        station: &Identity,
        call: StationCall,
    ) -> Result<StationReply, CallFailed> {
        let Some(partition) = self.locate(DirectoryKind::Station, station.as_str()).await? else {
            return Err(CallFailed::UnknownStation);
        };
        let station = station.clone();
        let shard = self.shard_of(partition);
        self.ask(shard, |reply| Request::Call { partition, station, call, reply }).await?
    }

    /// Consistent rows of every partition, in partition order.
    ///
    /// # Errors
    /// [`Unavailable`]; also when a fresh view is wanted and a partition has no majority.
    pub async fn view(&self, with_series: bool, freshness: Freshness) -> Result<View, Unavailable> {
        let parts = Vec::with_capacity(usize::from(self.partitions));
        let mut all = View { parts, as_of: Timestamp::MAX };
        for shard in self.shards.iter() {
            let make = |reply| Request::View { with_series, freshness, reply };
            let view = self.ask(shard, make).await?;
            all.parts.extend(view.parts);
            all.as_of = all.as_of.min(view.as_of);
        }
        all.parts.sort_by_key(|(partition, _)| *partition);
        Ok(all)
    }

    /// Lets windows of time go that end before `until`, as far as the view `seen` had them. When the shard is
    /// too busy to hear of it, they stay: whoever asks asks again some day.
    pub fn drop_windows(
        &self,
        partition: PartitionId,
        keyspace: novax_charging::rows::Keyspace,
        until: Timestamp,
        seen: &novax_engine::Snapshot,
    ) {
        let shard = self.shard_of(partition);
        let request = Request::DropWindows { partition, keyspace, until, seen: seen.clone() };
        if shard.queue.push(request).is_ok() {
            (shard.wake)();
        }
    }

    /// How this node's replicas stand, and what it knows of the others, in partition order.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn replicas(&self) -> Result<Vec<Replica>, Unavailable> {
        let mut all = Vec::with_capacity(usize::from(self.partitions));
        for shard in self.shards.iter() {
            all.extend(self.ask(shard, |reply| Request::Replicas { reply }).await?);
        }
        all.sort_by_key(|replica| replica.partition);
        Ok(all)
    }

    /// Gives an order about a partition. What comes of it is seen in [`Control::replicas`].
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn order(&self, partition: PartitionId, order: Order) -> Result<(), Unavailable> {
        let shard = self.shard_of(partition);
        shard.queue.push(Request::Order { partition, order }).map_err(|_| Unavailable)?;
        (shard.wake)();
        Ok(())
    }

    /// Has a node hand away what it leads and lead nothing more, or ends that.
    ///
    /// # Errors
    /// [`Unavailable`]: some partitions may have heard of it. The same order again does no harm.
    pub fn drain(&self, node: NodeId, on: bool) -> Result<(), Unavailable> {
        (0..self.partitions)
            .try_for_each(|number| self.order(PartitionId(number), Order::Drain { node, on }))
    }

    /// Waits until this node, told to drain, leads nothing that another could. Wait with a limit: without others
    /// that are well it does not end.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn drained(&self) -> Result<(), Unavailable> {
        for shard in self.shards.iter() {
            self.ask(shard, |reply| Request::Drained { reply }).await?;
        }
        Ok(())
    }

    /// Tells every shard to close its sockets, flush and end.
    pub fn stop(&self) {
        for shard in self.shards.iter() {
            let mut request = Request::Stop;
            // The queue empties by itself: this ends, and stopping must not be lost.
            while let Err(back) = shard.queue.push(request) {
                request = back;
                (shard.wake)();
                std::thread::yield_now();
            }
            (shard.wake)();
        }
    }

    /// Counters over all partitions.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn totals(&self) -> Result<Totals, Unavailable> {
        let mut sum = Totals::default();
        for shard in self.shards.iter() {
            let part = self.ask(shard, |reply| Request::Totals { reply }).await?;
            sum.add(&part);
        }
        Ok(sum)
    }
}

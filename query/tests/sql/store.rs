//! A small node's state, written through the engine, and a server over it.

use futures::FutureExt;
use futures::future::BoxFuture;
use novax_charging::rows::{
    ConnectorRow, DirectoryKind, DirectoryRow, DriverRow, ExceptionRow, MetaRow, PayerSessionRow,
    TokenRow, connector_key, directory_key, head_key, numbered_series_key, series_key,
};
use novax_charging::{
    Charges, ConnectorStatus, Deal, Keyspace, OutboxKind, OutboxRow, Payer, Place, Price, Protocol,
    SessionRow, SessionState, SiteRow, StationCommand, StationRow, TermsId, TransactionRef,
};
use novax_engine::{Batch, Engine, Options, Snapshot, Worker};
use novax_ledger::{Account, Code, EntryKind, Hold, HoldId, JournalRow, Limit};
use novax_model::{
    AccountId, ConnectorRef, Currency, Identity, Measurand, MeterTick, PartitionId, SessionId,
    Timestamp, TokenUid, TransferKey, WattHours, Watts,
};
use novax_query::{Database, Freshness, Source, SourceError, SqlConfig, View};
use novax_tsdb::clean::Limits;
use novax_tsdb::query::{self, Rank, SeriesSource, Stretch};
use novax_tsdb::{OpenSeries, SeriesRow};
use rkyv::rancor;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{oneshot, watch};
use tokio_postgres::{Client, NoTls};

/// 2026-11-22 00:00:00 UTC.
pub(crate) const DAY_US: u64 = 1_795_305_600_000_000;
const SECOND_US: u64 = 1_000_000;

macro_rules! archive {
    ($row:expr) => {
        rkyv::to_bytes::<rancor::Error>($row).expect("memory suffices").into_vec()
    };
}

/// The snapshots of a store, and how often they were asked for.
pub(crate) struct Store {
    snapshots: Vec<(PartitionId, Snapshot)>,
    pub(crate) asked: watch::Sender<usize>,
    pub(crate) asked_with_series: AtomicUsize,
    /// A colder tier of the first partition.
    cold: Arc<ColdChunks>,
    /// The engines' files; gone when the store is.
    _dir: tempfile::TempDir,
}

impl Source for Store {
    fn view(
        &self,
        with_series: bool,
        freshness: Freshness,
    ) -> BoxFuture<'_, Result<View, SourceError>> {
        self.asked_with_series.fetch_add(usize::from(with_series), Ordering::Relaxed);
        self.asked.send_modify(|asked| *asked += 1);
        // A replica that has not heard of its leader for a minute.
        let as_of = match freshness {
            Freshness::Fresh => Timestamp(DAY_US),
            Freshness::Local => Timestamp(DAY_US - 60 * SECOND_US),
        };
        async move { Ok(View { parts: self.snapshots.clone(), as_of }) }.boxed()
    }

    fn colder(&self, partition: PartitionId) -> Vec<Arc<dyn SeriesSource>> {
        if partition == PartitionId(0) { vec![self.cold.clone()] } else { Vec::new() }
    }
}

/// Chunks by series, with their ranks: a colder tier in memory.
#[derive(Default)]
pub(crate) struct ColdChunks(Mutex<BTreeMap<u64, Vec<(Rank, Vec<u8>)>>>);

impl ColdChunks {
    fn all(&self, series: u64) -> Vec<Stretch> {
        let chunks = self.0.lock().expect("no panic");
        let chunks = chunks.get(&series).into_iter().flatten();
        chunks.map(|(rank, bytes)| Stretch::chunk(*rank, bytes.clone()).expect("a chunk")).collect()
    }

    fn put(&self, series: u64, rank: Rank, bytes: Vec<u8>) {
        self.0.lock().expect("no panic").entry(series).or_default().push((rank, bytes));
    }
}

impl SeriesSource for ColdChunks {
    fn next_series(&self, from: u64) -> Result<Option<u64>, query::SourceError> {
        Ok(self.0.lock().expect("no panic").range(from..).next().map(|(series, _)| *series))
    }

    fn next_time(
        &self,
        series: u64,
        from: Timestamp,
    ) -> Result<Option<Timestamp>, query::SourceError> {
        let reaching = self.all(series).into_iter().filter(|stretch| stretch.last() >= from);
        Ok(reaching.map(|stretch| stretch.first().max(from)).min())
    }

    fn stretches(
        &self,
        series: u64,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Stretch>, query::SourceError> {
        Ok(self.all(series).into_iter().filter(|stretch| stretch.touches(from, until)).collect())
    }
}

/// A node that cannot hand out rows.
pub(crate) struct Broken;

impl Source for Broken {
    fn view(&self, _: bool, _: Freshness) -> BoxFuture<'_, Result<View, SourceError>> {
        async { Err(SourceError("the node is shutting down".into())) }.boxed()
    }
}

impl Store {
    /// Two sites, six stations, some sessions, and a day of telemetry of one connector: three
    /// partitions, one of them empty.
    pub(crate) fn small() -> Arc<Store> {
        Store::build(|number, batch| match number {
            0 => depot(batch),
            1 => mall(batch),
            _ => {}
        })
    }

    /// One station with `ticks` ticks, one a second.
    pub(crate) fn long(ticks: u64) -> Arc<Store> {
        Store::build(|number, batch| {
            if number == 0 {
                put(batch, Keyspace::Stations, b"CP-1".to_vec(), archive!(&station("CP-1", 1)));
                series(batch, 1, ticks, SECOND_US);
            }
        })
    }

    /// One station with 3000 ticks, one each five seconds, of which 500 came last.
    pub(crate) fn late() -> Arc<Store> {
        Store::build(|number, batch| {
            if number == 0 {
                put(batch, Keyspace::Stations, b"CP-1".to_vec(), archive!(&station("CP-1", 1)));
                late_series(batch);
            }
        })
    }

    /// Three series of two stations in one partition and one of another station in another, days of
    /// ticks each: with values missing, late, twice, and in a colder tier. `seed` chooses.
    pub(crate) fn random(seed: u64) -> Arc<Store> {
        let cold = ColdChunks::default();
        let fill = |number: u16, batch: &mut Batch| {
            let stations: &[(&str, u32, &[u16])] = match number {
                0 => &[("CP-1", 1, &[1, 2]), ("CP-2", 2, &[1])],
                1 => &[("CP-3", 1, &[1])],
                _ => &[],
            };
            for (name, station_number, evses) in stations {
                let row = archive!(&station(name, *station_number));
                put(batch, Keyspace::Stations, name.as_bytes().to_vec(), row);
                for evse in *evses {
                    let connector = ConnectorRef { evse: *evse, connector: 1 };
                    let series = novax_charging::rows::series_id(*station_number, connector);
                    let mut dice = Dice(seed ^ (series << 20) ^ (u64::from(number) << 60));
                    let ticks = random_ticks(&mut dice, u64::from(*evse + number * 2));
                    let is_cold = number == 0;
                    write_series(batch, series, ticks, |bytes, rank| {
                        let (copies, keeps) = (is_cold && dice.one_in(3), !dice.one_in(2));
                        if copies {
                            cold.put(series, rank, bytes.to_vec());
                        }
                        keeps || !copies
                    });
                }
            }
        };
        let store = Store::build(fill);
        let Ok(mut store) = Arc::try_unwrap(store) else { unreachable!("nobody else has it") };
        store.cold = Arc::new(cold);
        Arc::new(store)
    }

    fn build(fill: impl Fn(u16, &mut Batch)) -> Arc<Store> {
        let dir = tempfile::tempdir().expect("a folder for the store");
        let worker = Worker::start(1).expect("a thread for the store");
        let snapshots = (0..3)
            .map(|number| {
                let options = Options { keyspaces: Keyspace::COUNT, ..Options::default() };
                let path = dir.path().join(number.to_string());
                std::fs::create_dir(&path).expect("a folder for the partition");
                let mut engine = Engine::open(&path, options, &worker).expect("an empty store");
                let mut batch = Batch::new();
                batch.set_mark(7);
                fill(number, &mut batch);
                engine.write(&mut batch);
                (PartitionId(number), engine.snapshot())
            })
            .collect();
        let (asked, _) = watch::channel(0);
        let (asked_with_series, cold) = (AtomicUsize::new(0), Arc::default());
        Arc::new(Store { snapshots, asked, asked_with_series, cold, _dir: dir })
    }

    pub(crate) fn database(self: &Arc<Store>) -> Arc<Database> {
        Database::new(self.clone(), SqlConfig::default()).expect("threads")
    }

    /// Waits until a statement has taken its snapshots `times` times.
    pub(crate) async fn asked(&self, times: usize) {
        let mut asked = self.asked.subscribe();
        asked.wait_for(|asked| *asked >= times).await.expect("the sender lives in the store");
    }
}

fn put(batch: &mut Batch, keyspace: Keyspace, key: Vec<u8>, value: Vec<u8>) {
    batch.put(keyspace as u8, &key, &value);
}

fn id(text: &str) -> Identity {
    Identity::new(text).expect("a name")
}

fn at(seconds: u64) -> Timestamp {
    Timestamp(DAY_US + seconds * SECOND_US)
}

fn deal() -> Deal {
    Deal {
        tariff: TermsId(1),
        contract: TermsId(2),
        hold: 2_000,
        ..Deal::of_nothing(Currency::EUR)
    }
}

fn station(name: &str, number: u32) -> StationRow {
    StationRow {
        identity: id(name),
        number,
        site: id("depot"),
        password: None,
        connected: number % 2 == 1,
        epoch: 3,
        node: novax_model::NodeId::FIRST,
        protocol: Some(if number % 2 == 1 { Protocol::V16 } else { Protocol::V201 }),
        vendor: "Alfen".into(),
        model: "Eve \"Double\", v2".into(),
        firmware: "1.2.3".into(),
        serial: "".into(),
        booted: at(u64::from(number)),
        connection_changed: at(60),
        next_transaction_id: 1,
        next_remote_start_id: 1,
        parked: Vec::new(),
        meter_key: None,
    }
}

fn connector(name: &str, evse: u16, status: ConnectorStatus, live: MeterTick) -> ConnectorRow {
    ConnectorRow {
        identity: id(name),
        connector: ConnectorRef { evse, connector: 1 },
        status,
        error: "".into(),
        status_at: at(120),
        session: (status == ConnectorStatus::Charging).then_some(SessionId(0xab)),
        begun_last: at(20),
        live,
        limit: Some(Watts(11_000)),
    }
}

fn session(number: u128, name: &str, state: SessionState, energy: i64) -> SessionRow {
    SessionRow {
        session: SessionId(number),
        payload_hash: 1,
        state,
        identity: id(name),
        site: id("depot"),
        connector: ConnectorRef { evse: 1, connector: 1 },
        driver: Some(id("ada")),
        token: TokenUid::new("TOKEN-1").expect("a token"),
        app: number.is_multiple_of(2),
        transaction: Some(TransactionRef::V16(17)),
        remote_start_id: 0,
        payer: Payer::Local(AccountId(1)),
        deal: deal(),
        rating: None,
        held: 2_000,
        holds: 1,
        meter_start: Some(WattHours(100)),
        meter_last: WattHours(100 + energy),
        meter_low: None,
        meter_reset: WattHours(0),
        requested: at(10),
        started: at(20),
        ended: if state == SessionState::Settled { at(3_620) } else { Timestamp::ZERO },
        heard: at(3_620),
        charges: Charges { energy: 395, fee: 50, tax: 85, ..Charges::default() },
        reason: "".into(),
        suspect: false,
        estimated: false,
        owed: 0,
        adjusted: 0,
        hold_attempt: 0,
        marked: Timestamp::ZERO,
        hold_expires: Timestamp::ZERO,
        segments: Vec::new(),
        card_due: 0,
        free_since: Timestamp::ZERO,
    }
}

fn depot(batch: &mut Batch) {
    let meta =
        MetaRow { applied_index: 42, time: at(3_700), state_hash: 0xfeed, ..MetaRow::default() };
    put(batch, Keyspace::Meta, b"meta".to_vec(), archive!(&meta));
    let price = Price {
        from: at(0),
        tariff: TermsId(1),
        contract: TermsId(2),
        rules: None,
        currency: Currency::EUR,
        hold: 2_000,
    };
    let site = SiteRow {
        site: id("depot"),
        limit: Some(Watts(44_000)),
        place: Place { jurisdiction: "DE".into(), zone: "Europe/Berlin".into() },
        prices: vec![price],
        location: novax_charging::Location::default(),
    };
    put(batch, Keyspace::Sites, b"depot".to_vec(), archive!(&site));
    for number in 1..=4_u32 {
        let name = format!("CP-{number}");
        put(
            batch,
            Keyspace::Stations,
            name.clone().into_bytes(),
            archive!(&station(&name, number)),
        );
    }
    let mut live = MeterTick { at: at(3_600), ..MeterTick::default() };
    for (measurand, value) in [
        (Measurand::Voltage, 2_301),
        (Measurand::Current, 1_605),
        (Measurand::Power, 3_693),
        (Measurand::Energy, 1_100),
        (Measurand::Temperature, -55),
        (Measurand::Soc, 805),
    ] {
        live.set(measurand, value);
    }
    for (name, evse, status, live) in [
        ("CP-1", 1, ConnectorStatus::Charging, live),
        ("CP-1", 2, ConnectorStatus::Available, MeterTick::default()),
        ("CP-2", 1, ConnectorStatus::Faulted, MeterTick::default()),
    ] {
        let row = connector(name, evse, status, live);
        put(
            batch,
            Keyspace::Connectors,
            connector_key(&row.identity, row.connector),
            archive!(&row),
        );
    }
    for row in [
        session(0xab, "CP-1", SessionState::Charging, 1_000),
        session(0xac, "CP-1", SessionState::Settled, 10_000),
        session(0xad, "CP-2", SessionState::Settled, 2_500),
    ] {
        put(batch, Keyspace::Sessions, row.session.0.to_be_bytes().to_vec(), archive!(&row));
    }
    money(batch);
    series(batch, 1, 8_640, 10 * SECOND_US);
    series(batch, 2, 100, 10 * SECOND_US);
}

fn money(batch: &mut Batch) {
    let wallet = Account {
        id: AccountId(1),
        name: "driver/ada".into(),
        currency: Currency::EUR,
        limit: Limit::DebitsMustNotExceedCredits,
        debits_pending: 2_000,
        debits_posted: 1_060,
        credits_pending: 0,
        // More than a float can hold exactly.
        credits_posted: 9_007_199_254_740_993,
        is_closed: false,
        has_history: false,
        is_personal: true,
        opened: at(0),
        unbalanced_since: Some(at(1)),
    };
    let funding =
        Account { id: AccountId(2), name: "funding".into(), limit: Limit::None, ..wallet.clone() };
    for account in [wallet, funding] {
        put(batch, Keyspace::Accounts, account.id.0.to_be_bytes().to_vec(), archive!(&account));
    }
    let hold = Hold {
        key: TransferKey(9),
        leg: 0,
        debit: AccountId(1),
        credit: AccountId(3),
        amount: 2_000,
        code: Code::Hold,
        created: at(10),
        expires: Timestamp::MAX,
    };
    put(batch, Keyspace::Holds, [&hold.key.0.to_be_bytes()[..], &[0]].concat(), archive!(&hold));
    for number in 0..3_u64 {
        let row = JournalRow {
            number,
            key: TransferKey(9),
            leg: u8::try_from(number).expect("small"),
            kind: if number == 0 { EntryKind::Held } else { EntryKind::Posted },
            hold: (number == 0).then_some(HoldId { key: TransferKey(9), leg: 0 }),
            debit: AccountId(2),
            credit: AccountId(1),
            amount: 1_000 * u128::from(number + 1),
            released: 0,
            currency: Currency::EUR,
            code: if number == 0 { Code::Hold } else { Code::Deposit },
            at: at(number),
            effective_at: at(number),
            stated_at: at(number),
            index: number,
            set_row: u8::try_from(number).expect("small"),
            set_rows: 3,
            reverses: None,
            rate: None,
        };
        put(batch, Keyspace::Transfers, number.to_be_bytes().to_vec(), archive!(&row));
    }
}

fn mall(batch: &mut Batch) {
    for number in [1_u32, 2] {
        let name = format!("MALL-{number}");
        let row = StationRow { site: id("mall"), ..station(&name, number) };
        put(batch, Keyspace::Stations, name.into_bytes(), archive!(&row));
    }
    let driver = DriverRow {
        driver: id("ada"),
        currency: Currency::EUR,
        blocked: false,
        wallet: AccountId(1),
        tokens: vec![
            TokenUid::new("TOKEN-1").expect("a token"),
            TokenUid::new("T2").expect("a token"),
        ],
        funding: novax_charging::Funding::Wallet,
        salt: [7; 32],
    };
    put(batch, Keyspace::Drivers, b"ada".to_vec(), archive!(&driver));
    let token = TokenRow { token: driver.tokens[0].clone(), driver: id("ada") };
    put(batch, Keyspace::Tokens, b"TOKEN-1".to_vec(), archive!(&token));
    for (kind, name) in [(DirectoryKind::Station, "CP-1"), (DirectoryKind::PendingStation, "NEW-1")]
    {
        let row = DirectoryRow {
            kind,
            id: name.into(),
            home: PartitionId(0),
            vendor: "ABB".into(),
            model: "".into(),
            protocol: Some(Protocol::V201),
            created: at(5),
        };
        put(batch, Keyspace::Directory, directory_key(kind, name), archive!(&row));
    }
    let outbox = OutboxRow {
        id: 4,
        kind: OutboxKind::Station {
            identity: id("MALL-1"),
            command: StationCommand::RemoteStop {
                session: SessionId(0xab),
                transaction: TransactionRef::V201("T-1".into()),
            },
        },
        created: at(30),
        deadline: at(90),
    };
    put(batch, Keyspace::Outbox, 4_u64.to_be_bytes().to_vec(), archive!(&outbox));
    let exception =
        ExceptionRow { at: at(40), identity: id("MALL-2"), text: "the meter ran backwards".into() };
    put(batch, Keyspace::Exceptions, 0_u64.to_be_bytes().to_vec(), archive!(&exception));
    let payer = PayerSessionRow {
        fx: None,
        fx_owed: 0,
        session: SessionId(0xab),
        partition: PartitionId(0),
        driver: id("ada"),
        wallet: AccountId(1),
        currency: Currency::EUR,
        held: 2_000,
        holds: 1,
        ask_at: at(600),
        captured: None,
        released: false,
        attempt: 0,
        hold_keys: 1,
        hold_expires: at(700_000),
        billed: 0,
        adjusted: 0,
    };
    put(batch, Keyspace::PayerSessions, 0xab_u128.to_be_bytes().to_vec(), archive!(&payer));
}

/// Telemetry of a station's first connector, in chunks of 120 ticks (long ones of 1024).
fn series(batch: &mut Batch, station_number: u32, ticks: u64, step_us: u64) {
    let series =
        novax_charging::rows::series_id(station_number, ConnectorRef { evse: 1, connector: 1 });
    let size = if ticks > 10_000 { 1_024 } else { 120 };
    let all: Vec<MeterTick> = (0..ticks)
        .map(|n| {
            let mut tick =
                MeterTick { at: Timestamp(DAY_US + n * step_us), ..MeterTick::default() };
            let n = i64::try_from(n).expect("few ticks");
            tick.set(Measurand::Voltage, 2_300 + n % 7);
            tick.set(Measurand::Power, 11_000 - n % 100);
            tick.set(Measurand::Energy, n * 30);
            if n % 2 == 0 {
                tick.set(Measurand::Soc, 200 + n / 20);
            }
            tick
        })
        .collect();
    for chunk in all.chunks(size) {
        let key = series_key(series, chunk[0].at).to_vec();
        put(batch, Keyspace::Series, key, novax_tsdb::encode_chunk(chunk));
    }
}

/// Ticks in time, then late ones.
fn late_series(batch: &mut Batch) {
    let series = novax_charging::rows::series_id(1, ConnectorRef { evse: 1, connector: 1 });
    let numbers = (0..1_000_u64).chain(1_500..3_000).chain(1_000..1_500);
    let ticks = numbers.map(|n| {
        let at = Timestamp(DAY_US + n * 5 * SECOND_US);
        let mut tick = MeterTick { at, ..MeterTick::default() };
        let value = i64::try_from(n).expect("few ticks");
        tick.set(Measurand::Power, value);
        tick.set(Measurand::Energy, value);
        tick
    });
    write_series(batch, series, ticks.collect(), |_, _| true);
}

/// Numbers that look random (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn value(&mut self, bound: u64) -> i64 {
        i64::try_from(self.below(bound)).expect("a small bound")
    }
}

/// Ticks in the order they come in. Those of series with different numbers have different stamps.
fn random_ticks(dice: &mut Dice, number: u64) -> Vec<MeterTick> {
    let (mut in_time, mut late) = (Vec::new(), Vec::new());
    let (mut at, mut energy, mut gaps) = (DAY_US + number, 0, false);
    for _ in 0..dice.below(2_500) + 1 {
        at += (dice.below(20) + 1) * SECOND_US;
        if dice.one_in(700) {
            at += dice.below(3) * 86_400 * SECOND_US;
        }
        gaps ^= dice.one_in(300);
        energy += dice.value(40);
        let mut tick = MeterTick { at: Timestamp(at), ..MeterTick::default() };
        tick.set(Measurand::Energy, energy);
        tick.set(Measurand::Voltage, 2_250 + dice.value(100));
        if !gaps || dice.one_in(2) {
            tick.set(Measurand::Power, dice.value(22_000));
            tick.set(Measurand::Temperature, dice.value(300) - 100);
        }
        if dice.one_in(10) {
            tick.set(Measurand::Soc, dice.value(1_000));
        }
        if dice.one_in(15) {
            late.push(tick);
        } else {
            in_time.push(tick);
            if dice.one_in(50) {
                in_time.push(tick);
            }
        }
        if dice.one_in(400) {
            in_time.append(&mut late);
        }
    }
    in_time.append(&mut late);
    in_time
}

/// A series as the state machine writes it: chunks, rollups and its open end. `keep` says of a sealed
/// chunk whether it stays in the store.
fn write_series(
    batch: &mut Batch,
    series: u64,
    ticks: Vec<MeterTick>,
    mut keep: impl FnMut(&[u8], Rank) -> bool,
) {
    let limits = Limits::default();
    let newest = ticks.iter().map(|tick| tick.at.0).max().unwrap_or(0);
    let now = Timestamp(newest + 10_000 * SECOND_US);
    let mut open = OpenSeries::new();
    let mut rows = Vec::new();
    for tick in ticks {
        open.take(&limits, now, tick, &mut rows);
    }
    rows.append(&mut open.snapshot());
    for row in rows {
        match row {
            SeriesRow::Chunk { first, sequence, bytes } => {
                let key = match sequence {
                    None => series_key(series, first).to_vec(),
                    Some(sequence) => numbered_series_key(series, first, sequence).to_vec(),
                };
                if keep(&bytes, sequence.map_or(Rank::BASE, Rank::late)) {
                    put(batch, Keyspace::Series, key, bytes);
                }
            }
            SeriesRow::Rollup { resolution, first, sequence, bytes } => {
                let key = numbered_series_key(series, first, sequence).to_vec();
                put(batch, Keyspace::rollups(resolution), key, bytes);
            }
            SeriesRow::Open(part, bytes) => {
                // Nothing open was written before, so nothing is to be taken away.
                let bytes = bytes.expect("an open part");
                put(batch, Keyspace::Heads, head_key(series, part), bytes);
            }
        }
    }
}

/// A server that ends with the test.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    ended: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub(crate) async fn start(source: Arc<dyn Source>, config: SqlConfig) -> Server {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(novax_query::serve(listener, source, config, stopped));
        Server { addr, stop: Some(stop), ended }
    }

    pub(crate) fn config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.addr.port()).user("ada").dbname("novax");
        config
    }

    pub(crate) async fn connect(&self) -> Client {
        let (client, connection) = self.config().connect(NoTls).await.expect("a seat");
        tokio::spawn(connection);
        client
    }

    /// Stops the server and waits for its end.
    pub(crate) async fn stop(mut self) {
        self.stop.take().expect("stopped once").send(()).expect("the server runs");
        self.ended.await.expect("no panic").expect("no error");
    }
}

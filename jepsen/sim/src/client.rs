//! Operators and apps: they ask through the same handle as the HTTP API, and ask again until they know.

use crate::provider::Reply;
use crate::truth::{AppStart, Driver, Means};
use novax_charging::{Card, Command, Funding, PutSite, Refusal, SimpleTerms};
use novax_model::{Amount, ConnectorRef, Currency, Identity, PartitionId, SessionId, TokenUid};
use novax_shard::control::{Control, ControlError};
use novax_shard::port::{StartCharge, Unavailable};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// What is wanted of the hub. Each may be asked again without harm.
#[derive(Debug, Clone)]
pub enum Op {
    /// A site, by number, with its home.
    Site(usize, PartitionId),
    /// A station at a site.
    Station(String, usize),
    /// A driver, with the home of the wallet.
    Driver(Driver, PartitionId),
    /// How a driver pays, where it is a card.
    Fund(Driver),
    /// Money from outside, under a key.
    Deposit {
        /// Whose wallet, by number.
        driver: usize,
        /// Their name.
        name: String,
        /// The key.
        key: String,
        /// How much.
        amount: Amount,
    },
    /// An app's start.
    Start {
        /// Which station, by number.
        station: usize,
        /// At which EVSE.
        evse: u16,
        /// Station and key.
        start: AppStart,
        /// What the driver would show.
        token: String,
    },
    /// An app's stop.
    Stop(SessionId),
    /// What the payment provider says.
    Answer(Reply),
}

impl Op {
    /// Whether it is a step of setting up, which go one after the other.
    #[must_use]
    pub fn is_setup(&self) -> bool {
        match self {
            Op::Site(..) | Op::Station(..) | Op::Driver(..) | Op::Fund(_) => true,
            Op::Deposit { key, .. } => key.starts_with("first"),
            Op::Start { .. } | Op::Stop(_) | Op::Answer(_) => false,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// It is done.
    Yes,
    /// A session was promised.
    Started(SessionId),
    /// The hub said no.
    Refused(Refusal),
    /// Nobody knows: to be asked again.
    Unavailable,
}

/// What all sites charge.
pub const TERMS: SimpleTerms = SimpleTerms {
    currency: Currency::EUR,
    energy_millis_per_kwh: 39_500,
    session_fee: 50,
    tax_basis_points: 1_900,
    hold: 2_000,
    site_host_basis_points: 1_000,
    platform_basis_points: 500,
};

/// An operation under way.
pub struct Task {
    /// What is asked.
    pub op: Op,
    future: Pin<Box<dyn Future<Output = Done>>>,
    flag: Arc<Flag>,
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("op", &self.op).finish_non_exhaustive()
    }
}

/// Set when the task has something to look at.
#[derive(Debug)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Task {
    /// Begins to ask.
    #[must_use]
    pub fn begin(control: Control, op: Op) -> Task {
        let future = Box::pin(ask(control, op.clone()));
        Task { op, future, flag: Arc::new(Flag(AtomicBool::new(true))) }
    }

    /// Goes on, if there is something new; the end, if it has come.
    pub fn poll(&mut self) -> Option<Done> {
        if !self.flag.0.swap(false, Ordering::Relaxed) {
            return None;
        }
        let waker = Waker::from(self.flag.clone());
        match self.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        }
    }
}

fn identity(text: &str) -> Identity {
    Identity::new(text).expect("names in a simulation are plain")
}

fn token(text: &str) -> TokenUid {
    TokenUid::new(text).expect("tokens in a simulation are plain")
}

/// In place of what the server draws: the same for the same driver, whoever asks again.
fn salt(name: &str) -> [u8; 32] {
    let mut salt = [0; 32];
    for (place, byte) in salt.iter_mut().zip(name.bytes().cycle()) {
        *place = byte;
    }
    salt
}

/// A site's name.
#[must_use]
pub fn site(number: usize) -> String {
    format!("site-{number}")
}

async fn ask(control: Control, op: Op) -> Done {
    let done = match op {
        Op::Site(number, home) => {
            let name = identity(&site(number));
            let put = PutSite::new(name.clone(), None, TERMS.terms(&name));
            control.put_site(put, Some(home)).await
        }
        Op::Station(name, number) => {
            control.put_station(&identity(&name), &identity(&site(number)), None).await
        }
        Op::Driver(driver, home) => {
            let (name, blocked) = (identity(&driver.name), driver.means == Means::Blocked);
            let tokens = vec![token(&driver.token)];
            let salt = salt(&driver.name);
            control.put_driver(&name, salt, tokens, Currency::EUR, blocked, Some(home)).await
        }
        Op::Fund(driver) => {
            let method = format!("pm_{}", driver.name).into();
            let card = Card { provider: "stripe".into(), method, customer: None };
            control.put_funding(&identity(&driver.name), Funding::Card(card)).await
        }
        Op::Deposit { name, key, amount, .. } => {
            control.deposit(&key, &identity(&name), amount).await.map(|_| ())
        }
        Op::Start { evse, start, token: uid, .. } => {
            let AppStart { station, key, .. } = start;
            let connector = ConnectorRef { evse, connector: 1 };
            let (station, token) = (identity(&station), token(&uid));
            let request = StartCharge { key, station, connector, token };
            match control.start_charge(request).await {
                Ok(session) => return Done::Started(session),
                Err(error) => Err(error),
            }
        }
        Op::Stop(session) => control.stop_charge(session).await,
        Op::Answer(Reply { session, number, answer }) => {
            let command = Command::PaymentAnswered { session, number, answer };
            // An answer that came before, or for what is over, may be refused: then it is known.
            control.propose(session.partition(), command).await.map(|_| ()).map_err(Into::into)
        }
    };
    match done {
        Ok(()) => Done::Yes,
        Err(ControlError::Refused(refusal)) => Done::Refused(refusal),
        Err(ControlError::Unavailable(Unavailable)) => Done::Unavailable,
    }
}

//! The writer: the metadata target with all that it needs to act, one round after the other.
//!
//! A round handles every event that it is given, commits once, and only then lets anything out. Who calls it, and when, is
//! `host`'s.
//! Invariant: no reply leaves before the log holds what it says.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{io, mem};

use bytes::Bytes;
use lustre_metadata::{
    ConnectionId, Input, JobId, Moment, Output, RequestToken, Rights, Room, Space, Target, TargetError,
};
use lustre_model::attr::Timestamp;
use lustre_model::fault::Fault;
use lustre_model::layout::OstIndex;
use lustre_model::metadata::Call;
use lustre_model::object::ObjectStat;
use lustre_wire::Metadata;
use lustre_wire::server::{Peer, Responder, Unwritten};
use tracing::{error, info, warn};

use super::host::{Host, Rounds};
use super::log::Current;
use super::objects::Objects;
use super::reserve::Reserve;
use crate::supervisor::chain;

/// Least time between two ticks; where many drive, up to twice as much passes.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// What happens to the writer.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every event is a request; boxing would cost each of them"
)]
pub(super) enum Event {
    Connected {
        peer: Peer<Metadata>,
    },
    Disconnected {
        connection: ConnectionId,
    },
    Request {
        connection: ConnectionId,
        rights: Rights,
        call: Call,
        responder: Responder<Metadata>,
    },
    WorkDone {
        job: JobId,
        result: Result<Vec<ObjectStat>, Fault>,
    },
    Spaces {
        spaces: Vec<(OstIndex, Option<Space>)>,
    },
    LogSynced {
        sequence: u64,
    },
    /// The log cannot be synced; the target must not go on.
    SyncFailed {
        source: io::Error,
    },
    Stop,
}

/// The clocks that the target is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    started: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { started: Instant::now() }
    }

    pub(super) fn now(self) -> Moment {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(wall.as_secs()).unwrap_or(i64::MAX);
        let uptime_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Moment { wall: Timestamp { seconds, nanoseconds: wall.subsec_nanos() }, uptime_ms }
    }
}

/// A target and its surroundings.
pub(super) struct Writer {
    target: Target,
    clock: Clock,
    objects: Objects,
    syncer: Syncer,
    reserve: Arc<Reserve>,
    /// What the target was told last of its disk.
    room: Room,
    /// The log found no room; everything waits.
    stalled: bool,
    peers: HashMap<ConnectionId, Peer<Metadata>>,
    responders: HashMap<RequestToken, Responder<Metadata>>,
    next_token: u64,
    ticked: Instant,
}

/// Whether the writer goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    On,
    End,
}

impl Writer {
    pub(super) fn new(
        target: Target,
        clock: Clock,
        (objects, syncer, reserve): (Objects, Syncer, Arc<Reserve>),
    ) -> Self {
        Self {
            target,
            clock,
            objects,
            syncer,
            reserve,
            room: Room::Ample,
            stalled: false,
            peers: HashMap::new(),
            responders: HashMap::new(),
            next_token: 0,
            ticked: Instant::now(),
        }
    }

    fn take(&mut self, event: Event) -> Result<Course, TargetError> {
        let input = match event {
            Event::Connected { peer } => {
                self.peers.insert(ConnectionId(peer.id()), peer);
                return Ok(Course::On);
            }
            Event::Disconnected { connection } => {
                self.peers.remove(&connection);
                Input::Disconnected { connection }
            }
            Event::Request { connection, rights, call, responder } => {
                self.next_token += 1;
                let token = RequestToken(self.next_token);
                self.responders.insert(token, responder);
                Input::Request { connection, token, rights, call }
            }
            Event::WorkDone { job, result } => Input::WorkDone { job, result },
            Event::Spaces { spaces } => Input::Spaces { spaces },
            Event::LogSynced { sequence } => Input::LogSynced { sequence },
            Event::SyncFailed { source } => {
                error!(%source, "the metadata log cannot be synced; the target ends");
                return Ok(Course::End);
            }
            Event::Stop => return Ok(Course::End),
        };
        self.target.handle(self.clock.now(), input)?;
        Ok(Course::On)
    }

    fn commit(&mut self) -> Result<(), TargetError> {
        let outputs = match self.target.commit() {
            // Nobody is told anything until it fits; the next tick tries again.
            Err(error) if error.is_full() => {
                if !mem::replace(&mut self.stalled, true) {
                    error!(
                        error = chain(&error),
                        "the disk is full and nothing is held back any more; requests wait"
                    );
                }
                return Ok(());
            }
            committed => committed?,
        };
        if mem::replace(&mut self.stalled, false) {
            info!("there is room again; requests go on");
        }
        // Answers to one peer leave together, when all are queued.
        let mut answers = Vec::new();
        for output in outputs {
            answers.extend(self.let_out(output));
        }
        Ok(())
    }

    /// Tells the target how much its disk has left.
    fn look_at_disk(&mut self) -> Result<(), TargetError> {
        // A store that is to be opened anew needs what it was given.
        if !self.target.is_store_behind()
            && let Err(error) = self.reserve.settle()
        {
            warn!(%error, "what the metadata target holds back stays less");
        }
        let room = self.reserve.look().unwrap_or_else(|error| {
            warn!(%error, "the disk cannot be asked for its free space");
            self.room
        });
        if room != self.room {
            match room {
                Room::Scarce => warn!(
                    "the disk is nearly full: nothing new is made until there is room; removing goes on"
                ),
                Room::Ample => info!("the disk has room again"),
            }
        }
        // Also when it stays so, for what is due while room is scarce.
        if room != self.room || room == Room::Scarce {
            self.target.handle(self.clock.now(), Input::Room { room })?;
        }
        self.room = room;
        Ok(())
    }

    fn let_out(&mut self, output: Output) -> Option<Unwritten> {
        match output {
            Output::Reply { token, answer } => {
                let responder = self.responders.remove(&token)?;
                return Some(responder.queue(answer, Bytes::new()));
            }
            Output::Notice { connection, notice } => {
                if let Some(peer) = self.peers.get(&connection) {
                    peer.notify(notice);
                }
            }
            Output::Work { job, work } => self.objects.start(job, work),
            Output::SyncLog { sequence } => self.syncer.sync(sequence),
            Output::Targets { targets } => self.objects.set_targets(targets),
        }
        None
    }
}

impl Rounds for Writer {
    fn round(&mut self, events: &mut VecDeque<Event>) -> Result<Course, TargetError> {
        let mut course = Course::On;
        for event in events.drain(..) {
            if self.take(event)? == Course::End {
                course = Course::End;
            }
        }
        // Last, so that signs of life that were queued are not overlooked.
        if self.ticked.elapsed() >= TICK {
            self.ticked = Instant::now();
            self.look_at_disk()?;
            self.target.handle(self.clock.now(), Input::Tick)?;
        }
        self.commit()?;
        Ok(course)
    }
}

/// The thread that syncs the log, so that the writer need not wait for the disk.
pub(super) struct Syncer {
    wanted: Sender<u64>,
}

impl Syncer {
    pub(super) fn start(file: Current, host: Arc<Host>) -> io::Result<Self> {
        let (wanted, queue) = channel::<u64>();
        std::thread::Builder::new().name("log-sync".to_owned()).spawn(move || {
            for sequence in queue {
                let current = file.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // A log that was just begun anew has nothing that the durable store has not.
                let event = match current.map_or(Ok(()), |file| file.sync_data()) {
                    Ok(()) => Event::LogSynced { sequence },
                    Err(source) => Event::SyncFailed { source },
                };
                host.give(event);
            }
        })?;
        Ok(Self { wanted })
    }

    /// Asks for a sync; a syncer that has ended said why.
    fn sync(&self, sequence: u64) {
        let _ = self.wanted.send(sequence);
    }
}

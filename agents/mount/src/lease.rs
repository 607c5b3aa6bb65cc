//! What this client may believe about an inode, and when it must stop.
//!
//! Pure: time and the session come in as a [`Standing`], the order of things as [`Stamp`]s. Answers and recalls travel on
//! one connection but are looked at by different tasks, in any order. So each request carries a [`Ticket`] of the moment
//! before it was sent: a grant counts only if no recall of its inode was under way or ended since, and only in the session
//! in which it was asked for.
//! Invariant: what a [`Lease`] allows is never more than what the metadata target believes that we hold.

use std::time::Duration;

use lustre_model::metadata::LeaseKind;

/// A position in the order in which this client did things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Stamp(pub(crate) u64);

/// The session as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Counts connections; everything cached under another one is void.
    pub(crate) incarnation: u64,
    /// How long leases may still be used; zero when the session may have run out.
    pub(crate) remaining: Duration,
}

/// The moment before a request was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// In the order of things.
    pub(crate) stamp: Stamp,
    /// Under which connection.
    pub(crate) incarnation: u64,
}

/// A right to cache one inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    kind: LeaseKind,
    incarnation: u64,
    /// When the last recall began or ended.
    recalled: Stamp,
    /// When it was first granted.
    since: Stamp,
    recalling: bool,
    /// Closes under way that lower it: until they are answered no grant counts.
    lowering: u32,
}

impl Default for Lease {
    fn default() -> Self {
        Self {
            kind: LeaseKind::None,
            incarnation: 0,
            recalled: Stamp(0),
            since: Stamp(0),
            recalling: false,
            lowering: 0,
        }
    }
}

impl Lease {
    /// What may be believed now.
    pub(crate) fn kind(&self, standing: Standing) -> LeaseKind {
        if self.incarnation == standing.incarnation && !standing.remaining.is_zero() {
            self.kind
        } else {
            LeaseKind::None
        }
    }

    /// Whether what was read may be used, and new users of the lease may begin.
    pub(crate) fn allows_reading(&self, standing: Standing) -> bool {
        !self.recalling && self.kind(standing) != LeaseKind::None
    }

    /// Whether size and times may be changed locally, and new writers may begin.
    pub(crate) fn allows_writing(&self, standing: Standing) -> bool {
        !self.recalling && self.kind(standing) == LeaseKind::Write
    }

    /// Whether a recall is under way: nothing may wait for a lease now that holds what the recall needs.
    pub(crate) fn is_recalling(&self) -> bool {
        self.recalling
    }

    /// Whether it is on its way down from `Write`, by our own will: who wants to write asks again when that has ended.
    pub(crate) fn is_lowering(&self) -> bool {
        self.lowering > 0
    }

    /// Whether what was learned with a grant at `then` was learned under the lease that is held now.
    pub(crate) fn is_since(&self, then: Stamp) -> bool {
        self.since <= then
    }

    /// Whether it was held from before the request until now, so that an answer that grants nothing holds still.
    pub(crate) fn covers(&self, ticket: Ticket, standing: Standing) -> bool {
        self.allows_reading(standing)
            && ticket.incarnation == standing.incarnation
            && self.recalled.max(self.since) <= ticket.stamp
    }

    /// Notes a grant, and says whether what came with it may be cached.
    pub(crate) fn grant(&mut self, ticket: Ticket, granted: (LeaseKind, Stamp), standing: Standing) -> bool {
        let (granted, now) = granted;
        let late = ticket.incarnation != standing.incarnation
            || self.recalled > ticket.stamp
            || self.recalling
            || self.lowering > 0;
        if late || granted == LeaseKind::None {
            return false;
        }
        let held = if self.incarnation == standing.incarnation { self.kind } else { LeaseKind::None };
        if held == LeaseKind::None {
            self.since = now;
        }
        // Answers overtake each other; only a recall takes something away.
        self.kind = stronger(held, granted);
        self.incarnation = standing.incarnation;
        true
    }

    /// A recall begins: no new user from now on.
    pub(crate) fn begin_recall(&mut self, now: Stamp) {
        self.recalling = true;
        self.recalled = now;
    }

    /// The metadata target knows that we hold no more than `keep`.
    pub(crate) fn end_recall(&mut self, now: Stamp, keep: LeaseKind) {
        self.recalling = false;
        self.recalled = now;
        self.kind = weaker(self.kind, keep);
        if self.kind == LeaseKind::None {
            // Whatever is granted next begins anew.
            self.since = now;
        }
    }

    /// We write no more of our own will, and are about to say so; what was read stays good.
    pub(crate) fn begin_lower(&mut self, now: Stamp) {
        self.lowering += 1;
        self.recalled = now;
        self.kind = weaker(self.kind, LeaseKind::Read);
    }

    /// The metadata target knows.
    pub(crate) fn end_lower(&mut self, now: Stamp) {
        self.lowering -= 1;
        self.recalled = now;
    }
}

fn rank(kind: LeaseKind) -> u8 {
    match kind {
        LeaseKind::None => 0,
        LeaseKind::Read => 1,
        LeaseKind::Write => 2,
    }
}

/// The stronger of two.
pub(crate) fn stronger(one: LeaseKind, other: LeaseKind) -> LeaseKind {
    if rank(one) >= rank(other) { one } else { other }
}

/// The weaker of two.
pub(crate) fn weaker(one: LeaseKind, other: LeaseKind) -> LeaseKind {
    if rank(one) <= rank(other) { one } else { other }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    use proptest::prelude::*;

    /// What crosses the wire, in each direction in order.
    #[derive(Debug, Clone, Copy)]
    enum Up {
        Ask(LeaseKind, Ticket),
        Downgraded(LeaseKind),
        Closed,
    }

    #[derive(Debug, Clone, Copy)]
    enum Down {
        Granted(LeaseKind, Ticket),
        Recall(LeaseKind),
        Done(LeaseKind),
        Closed,
    }

    /// One inode, one client, one target, and a wire that delays; answers are looked at out of order.
    struct World {
        lease: Lease,
        held: LeaseKind,
        recall: Option<LeaseKind>,
        clock: u64,
        up: VecDeque<Up>,
        down: VecDeque<Down>,
        grants: Vec<(LeaseKind, Ticket)>,
    }

    const STANDING: Standing = Standing { incarnation: 1, remaining: Duration::from_secs(9) };

    impl World {
        fn new() -> Self {
            Self {
                lease: Lease::default(),
                held: LeaseKind::None,
                recall: None,
                clock: 0,
                up: VecDeque::new(),
                down: VecDeque::new(),
                grants: Vec::new(),
            }
        }

        fn now(&mut self) -> Stamp {
            self.clock += 1;
            Stamp(self.clock)
        }

        fn step(&mut self, choice: u8, kind: LeaseKind) {
            match choice {
                0 => {
                    let ticket = Ticket { stamp: Stamp(self.clock), incarnation: 1 };
                    self.up.push_back(Up::Ask(kind, ticket));
                }
                1 => self.target_hears(),
                2 => self.target_recalls(weaker(kind, LeaseKind::Read)),
                3 => self.client_hears(),
                4 if self.lease.allows_writing(STANDING) => {
                    let now = self.now();
                    self.lease.begin_lower(now);
                    self.up.push_back(Up::Closed);
                }
                _ => {
                    if !self.grants.is_empty() {
                        let at = usize::from(choice) % self.grants.len();
                        let (granted, ticket) = self.grants.remove(at);
                        let now = self.now();
                        self.lease.grant(ticket, (granted, now), STANDING);
                    }
                }
            }
            assert!(rank(self.lease.kind(STANDING)) <= rank(self.held), "{:?} > {:?}", self.lease, self.held);
        }

        fn target_hears(&mut self) {
            match self.up.pop_front() {
                Some(Up::Ask(kind, ticket)) => {
                    if self.recall.is_none() {
                        self.held = stronger(self.held, kind);
                    }
                    self.down.push_back(Down::Granted(self.held, ticket));
                }
                Some(Up::Downgraded(keep)) => {
                    self.held = weaker(self.held, keep);
                    self.recall = None;
                    self.down.push_back(Down::Done(keep));
                }
                Some(Up::Closed) => {
                    self.held = weaker(self.held, LeaseKind::Read);
                    self.down.push_back(Down::Closed);
                }
                None => {}
            }
        }

        fn target_recalls(&mut self, keep: LeaseKind) {
            if self.recall.is_none() && rank(self.held) > rank(keep) {
                self.recall = Some(keep);
                self.down.push_back(Down::Recall(keep));
            }
        }

        fn client_hears(&mut self) {
            match self.down.pop_front() {
                Some(Down::Granted(kind, ticket)) => self.grants.push((kind, ticket)),
                Some(Down::Recall(keep)) => {
                    let now = self.now();
                    self.lease.begin_recall(now);
                    // The client believes no more than `keep` from here on; the target learns it later.
                    self.lease.kind = weaker(self.lease.kind, keep);
                    self.up.push_back(Up::Downgraded(keep));
                }
                Some(Down::Done(keep)) => {
                    let now = self.now();
                    self.lease.end_recall(now, keep);
                }
                Some(Down::Closed) => {
                    let now = self.now();
                    self.lease.end_lower(now);
                }
                None => {}
            }
        }
    }

    fn any_kind() -> impl Strategy<Value = LeaseKind> {
        prop_oneof![Just(LeaseKind::None), Just(LeaseKind::Read), Just(LeaseKind::Write)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]
        #[test]
        fn the_client_never_believes_more_than_the_target(
            steps in prop::collection::vec((0_u8..9, any_kind()), 1..120),
        ) {
            let mut world = World::new();
            for (choice, kind) in steps {
                world.step(choice, kind);
            }
        }
    }

    #[test]
    fn a_lease_ends_with_its_connection_and_with_its_time() {
        let mut lease = Lease::default();
        let ticket = Ticket { stamp: Stamp(0), incarnation: 1 };
        assert!(lease.grant(ticket, (LeaseKind::Write, Stamp(1)), STANDING));
        assert!(lease.allows_writing(STANDING));
        assert!(!lease.allows_reading(Standing { incarnation: 2, ..STANDING }));
        assert!(!lease.allows_reading(Standing { remaining: Duration::ZERO, ..STANDING }));
    }

    #[test]
    fn absence_found_before_the_lease_began_is_not_kept() {
        let mut lease = Lease::default();
        let early = Ticket { stamp: Stamp(0), incarnation: 1 };
        assert!(lease.grant(early, (LeaseKind::Read, Stamp(5)), STANDING));
        assert!(!lease.covers(Ticket { stamp: Stamp(4), incarnation: 1 }, STANDING));
        assert!(lease.covers(Ticket { stamp: Stamp(5), incarnation: 1 }, STANDING));
    }

    #[test]
    fn an_answer_of_an_earlier_connection_grants_nothing() {
        let mut lease = Lease::default();
        let ticket = Ticket { stamp: Stamp(0), incarnation: 1 };
        assert!(!lease.grant(ticket, (LeaseKind::Read, Stamp(1)), Standing { incarnation: 2, ..STANDING }));
    }
}

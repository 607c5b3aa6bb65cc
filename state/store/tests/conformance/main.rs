//! One list of behaviours, run against every backend.
//!
//! A behaviour is a function of a [`subject::Subject`]; a backend is one of those. What only one backend has is in its own file.
//! Invariant checked: a command need not know which backend keeps its state.

/// Runs every behaviour against a backend.
#[cfg(test)]
macro_rules! conforms {
    ($make:expr) => {
        conforms!($make, behaviour:
            nothing_there_is_absent_and_looking_or_locking_makes_nothing
            what_was_recorded_is_read_back_and_gone_on_with
            what_was_acknowledged_is_read_while_the_state_is_open
            a_second_lock_is_refused_and_told_who_has_it
            a_lock_is_waited_for
            a_lock_is_taken_away_only_by_its_number
            tokens_grow_with_every_lock
            events_that_do_not_fit_are_refused_all_or_none
            another_world_takes_the_place_of_this_one
            appends_from_many_threads_are_all_there
            empty_torn_flipped_newer_and_foreign_bytes_are_refused_and_kept
        );
        conforms!($make, cuts:
            a_cut_at_every_request_loses_nothing_that_was_acknowledged
            a_cut_while_a_cut_state_is_opened_loses_nothing_either
            one_request_that_fails_is_made_again
        );
    };
    (@given behaviour $make:expr) => {
        &$make()
    };
    (@given cuts $make:expr) => {
        &$make
    };
    ($make:expr, $module:ident: $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                crate::$module::$name(conforms!(@given $module $make));
            }
        )*
    };
}

#[cfg(test)]
mod behaviour;
#[cfg(test)]
mod cuts;
#[cfg(test)]
mod fencing;
#[cfg(test)]
mod http;
#[cfg(test)]
mod local;
#[cfg(test)]
#[path = "../crash/made.rs"]
#[expect(dead_code, reason = "power cuts are in `crash`")]
mod made;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod s3;
#[cfg(test)]
mod server;
#[cfg(test)]
mod subject;

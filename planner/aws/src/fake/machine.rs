//! Instances of the fake.
//!
//! Invariant: a token stands for one launch; asked for again it yields the same instance, or a refusal when something else is asked.

use futures::FutureExt as _;

use super::{Fake, Inside};
use crate::ec2::{Answer, Life, Machine, Machines, NewMachine, TOKEN, WhichMachine};

/// An instance, how it was asked for, and how many looks it stays as it is for.
pub struct Kept {
    /// How it is.
    pub machine: Machine,
    /// What was asked for.
    pub new: NewMachine,
    /// Whether it is protected.
    pub protected: bool,
    /// Looks until it goes on.
    pub looks: u32,
    /// What it becomes then.
    pub next: Life,
}

impl Fake {
    /// Returns the instances that are not terminated.
    pub fn alive(&self) -> Vec<Machine> {
        let inside = self.lock();
        let machines = inside.machines.values().map(|kept| kept.machine.clone());
        machines.filter(|machine| machine.life != Life::Terminated).collect()
    }

    /// Lets launches end before they run, for this reason.
    pub fn launches_end(&self, reason: Option<&'static str>) {
        self.lock().launches_end = reason;
    }

    /// Changes an instance behind everybody's back.
    pub fn meddle_with(&self, id: &str, change: impl FnOnce(&mut Machine)) {
        if let Some(kept) = self.lock().machines.get_mut(id) {
            change(&mut kept.machine);
            kept.next = kept.machine.life;
        }
    }

    /// Returns what an instance was asked for with.
    pub fn asked(&self, id: &str) -> NewMachine {
        self.lock().machines[id].new.clone()
    }
}

impl Inside {
    fn kept(&mut self, id: &str) -> Result<&mut Kept, &'static str> {
        let there = self.machines.get_mut(id).filter(|kept| kept.machine.life != Life::Terminated);
        there.ok_or("InvalidInstanceID.NotFound")
    }
}

impl Machines for Fake {
    fn launch<'a>(&'a self, machine: &'a NewMachine) -> Answer<'a, String> {
        let answer = self.lock().call("RunInstances", |inside| {
            if let Some(kept) = inside.machines.values().find(|kept| kept.new.token == machine.token) {
                let same = kept.new == *machine;
                return if same { Ok(kept.machine.id.clone()) } else { Err("IdempotentParameterMismatch") };
            }
            inside.made += 1;
            let id = format!("i-{:08}", inside.made);
            let next = if inside.launches_end.is_some() { Life::Terminated } else { Life::Running };
            let made = Machine {
                id: id.clone(),
                owner_id: "123456789012".to_owned(),
                life: Life::Pending,
                reason: inside.launches_end.map(str::to_owned),
                ami: machine.ami.clone(),
                instance_type: machine.instance_type.clone(),
                subnet_id: machine.subnet_id.clone(),
                groups: machine.groups.clone(),
                private_ip: Some(format!("10.0.0.{}", inside.made)),
                public_ip: None,
                private_dns: None,
                zone: Some("eu-central-1a".to_owned()),
                metadata_by_token: true,
                tags: machine.tags.clone(),
            };
            inside.hidden.insert(id.clone(), inside.lag);
            let (new, protected) = (machine.clone(), machine.protected);
            inside.machines.insert(id.clone(), Kept { machine: made, new, protected, looks: 2, next });
            Ok(id)
        });
        async move { answer }.boxed()
    }

    fn machines<'a>(&'a self, which: &'a WhichMachine) -> Answer<'a, Vec<Machine>> {
        let answer = self.lock().call("DescribeInstances", |inside| {
            let fits = |machine: &Machine| match which {
                WhichMachine::Id(id) => machine.id == *id,
                WhichMachine::Token(token) => machine.tags.get(TOKEN) == Some(token),
            };
            let mut found = Vec::new();
            for kept in inside.machines.values_mut().filter(|kept| fits(&kept.machine)) {
                match inside.hidden.get_mut(&kept.machine.id) {
                    Some(looks) if *looks > 0 => {
                        *looks -= 1;
                        continue;
                    }
                    Some(_) | None => {}
                }
                kept.looks = kept.looks.saturating_sub(1);
                if kept.looks == 0 {
                    kept.machine.life = kept.next;
                }
                found.push(kept.machine.clone());
            }
            match which {
                WhichMachine::Id(_) if found.is_empty() => Err("InvalidInstanceID.NotFound"),
                WhichMachine::Id(_) | WhichMachine::Token(_) => Ok(found),
            }
        });
        async move { answer }.boxed()
    }

    fn start<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        let answer = self.lock().call("StartInstances", |inside| {
            let kept = inside.kept(id)?;
            (kept.machine.life, kept.next, kept.looks) = (Life::Pending, Life::Running, 2);
            Ok(())
        });
        async move { answer }.boxed()
    }

    fn terminate<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        let answer = self.lock().call("TerminateInstances", |inside| {
            let kept = inside.kept(id)?;
            if kept.protected {
                return Err("OperationNotPermitted");
            }
            (kept.next, kept.looks) = (Life::Terminated, 2);
            Ok(())
        });
        async move { answer }.boxed()
    }

    fn set_groups<'a>(&'a self, id: &'a str, groups: &'a [String]) -> Answer<'a, ()> {
        let answer = self.lock().call("ModifyInstanceAttribute", |inside| {
            inside.kept(id)?.machine.groups = groups.to_vec();
            Ok(())
        });
        async move { answer }.boxed()
    }

    fn protected<'a>(&'a self, id: &'a str) -> Answer<'a, bool> {
        let answer = self.lock().call("DescribeInstanceAttribute", |inside| Ok(inside.kept(id)?.protected));
        async move { answer }.boxed()
    }

    fn protect<'a>(&'a self, id: &'a str, protected: bool) -> Answer<'a, ()> {
        let answer = self.lock().call("ModifyInstanceAttribute", |inside| {
            inside.kept(id)?.protected = protected;
            Ok(())
        });
        async move { answer }.boxed()
    }

    fn demand_tokens<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        let answer = self.lock().call("ModifyInstanceMetadataOptions", |inside| {
            inside.kept(id)?.machine.metadata_by_token = true;
            Ok(())
        });
        async move { answer }.boxed()
    }
}

//! Layouts: defaults inherited, components instantiated when they are needed; and which targets there are.
//!
//! The arithmetic of striping is the model's; which targets objects go to is `allocate`'s.
//! Invariant: a component has no objects, or exactly as many as its stripe count allows on the targets there were then.

use std::collections::BTreeSet;

use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::layout::{
    Component, END_OF_FILE, Layout, LayoutTemplate, ObjectId, OstIndex, STRIPE_SIZE_MIN, Stripe, StripeCount,
};
use lustre_model::metadata::{ByteRange, Notice, Reply, TargetEntry, TargetState};
use serde::{Deserialize, Serialize};

use super::lease::Claim;
use super::{Caller, Output, Target};
use crate::failure::{Step, TargetError};
use crate::inode::{File, Inode};
use crate::key;

/// Most components of a layout.
const COMPONENTS_MAX: usize = 256;

/// Setting that lists the targets that were removed; their entries stay, so that what they held is known to be lost.
const REMOVED: &str = "removed";

/// A target as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct TargetRecord {
    index: OstIndex,
    address: String,
    capacity: u64,
}

impl TargetRecord {
    fn of(target: &TargetEntry) -> Self {
        Self { index: target.index, address: target.address.clone(), capacity: target.capacity }
    }

    fn entry(self, removed: bool) -> TargetEntry {
        let state = if removed { TargetState::Removed } else { TargetState::Active };
        TargetEntry { index: self.index, address: self.address, capacity: self.capacity, state }
    }
}

/// The layout that a template gives before any target is chosen.
pub(super) fn without_objects(template: &LayoutTemplate) -> Layout {
    let mut start = 0;
    let mut components = Vec::with_capacity(template.components.len());
    for template in &template.components {
        components.push(Component { start, template: template.clone(), stripes: Vec::new() });
        start = template.end;
    }
    Layout { generation: 1, components }
}

fn check_template(template: &LayoutTemplate) -> Step<()> {
    let mut start = 0;
    for component in &template.components {
        let aligned =
            component.end == END_OF_FILE || component.end.is_multiple_of(u64::from(STRIPE_SIZE_MIN));
        let sized = component.stripe_size > 0 && component.stripe_size.is_multiple_of(STRIPE_SIZE_MIN);
        if component.end <= start || !aligned || !sized || component.stripe_count == StripeCount::Exact(0) {
            return Err(Fault::Invalid.into());
        }
        if component.pool.is_some() {
            return Err(Fault::NotSupported.into());
        }
        start = component.end;
    }
    let count = template.components.len();
    if count == 0 || count > COMPONENTS_MAX { Err(Fault::Invalid.into()) } else { Ok(()) }
}

impl Target {
    pub(super) fn load_settings(&mut self) -> Result<(), TargetError> {
        let name_key = key::setting("name");
        let wanted = self.config.fs_name.to_string();
        match self.table.get::<String>(&name_key)? {
            Some(found) if found != wanted => return Err(TargetError::WrongFileSystem { found, wanted }),
            Some(_) => {}
            None => self.make_file_system(name_key, &wanted)?,
        }
        self.counters = self.table.get(&key::setting("counters"))?.unwrap_or(self.counters);
        self.counters.incarnation += 1;
        self.table.put(key::setting("counters"), &self.counters)?;
        (self.counters_kept, self.counters_committed) = (self.counters, self.counters);
        if let Some(template) = self.table.get(&key::setting("layout"))? {
            self.default_layout = template;
        }
        let removed: BTreeSet<OstIndex> = self.table.get(&key::setting(REMOVED))?.unwrap_or_default();
        for (_, record) in self.table.load::<TargetRecord>(b"T")? {
            let is_removed = removed.contains(&record.index);
            self.targets.insert(record.index, record.entry(is_removed));
        }
        if !self.targets.is_empty() {
            self.outputs.push(Output::Targets { targets: self.targets.values().cloned().collect() });
        }
        self.allocator.begin_at(self.counters.serial);
        Ok(())
    }

    fn make_file_system(&mut self, name_key: Vec<u8>, name: &str) -> Result<(), TargetError> {
        let mut root = super::names::blank_inode(0o755, self.config.owner, self.now.wall);
        root.kind = lustre_model::attr::FileKind::Directory;
        root.link_count = 2;
        root.body = crate::inode::Body::Directory(crate::inode::Directory { default: None, entries: 0 });
        self.put_inode(Fid::ROOT, &root)?;
        self.counters.inodes = 1;
        self.counters.epoch = 1;
        self.table.put(key::setting("counters"), &self.counters)?;
        self.table.put(name_key, &name)
    }

    /// The template for a file made in a directory.
    pub(super) fn template_below(&self, directory: &Inode) -> Result<LayoutTemplate, TargetError> {
        let own = directory.directory().and_then(|directory| directory.default.clone());
        if let Some(template) = own {
            return Ok(template);
        }
        let root = self.table.get::<Inode>(&key::inode(Fid::ROOT))?;
        let of_root = root.and_then(|root| root.directory().and_then(|root| root.default.clone()));
        Ok(of_root.unwrap_or_else(|| self.default_layout.clone()))
    }

    /// Makes sure that the first component has objects. True when that changed the file.
    pub(super) fn instantiate_first(&mut self, fid: Fid, file: &mut File) -> Step<bool> {
        self.instantiate_range(fid, file, ByteRange { start: 0, end: 1 })
    }

    /// Makes sure that all components that touch a range have objects. True when that changed the file.
    pub(super) fn instantiate_range(&mut self, fid: Fid, file: &mut File, range: ByteRange) -> Step<bool> {
        let active = self.active_targets();
        let mut changed = false;
        for component in &mut file.layout.components {
            let touched = component.start < range.end && range.start < component.template.end;
            if !touched || !component.stripes.is_empty() {
                continue;
            }
            let count = match component.template.stripe_count {
                StripeCount::Exact(count) => Some(count),
                StripeCount::All => None,
            };
            let chosen = self.allocator.choose(&active, count);
            if chosen.is_empty() {
                return Err(Fault::NoSpace.into());
            }
            for target in chosen {
                let object = ObjectId { fid, ordinal: file.ordinal };
                file.ordinal += 1;
                component.stripes.push(Stripe { target, object });
            }
            changed = true;
        }
        if changed {
            file.layout.generation += 1;
        }
        Ok(changed)
    }

    pub(super) fn instantiate(&mut self, caller: &Caller, fid: Fid, range: ByteRange) -> Step<Reply> {
        let mut inode = self.load(fid)?;
        let Some(file) = inode.file_mut() else { return Err(Fault::Invalid.into()) };
        let end = file.layout.components.last().map_or(0, |component| component.template.end);
        if range.start >= range.end || range.end > end {
            return Err(Fault::TooLarge.into());
        }
        if self.instantiate_range(fid, file, range)? {
            self.claim(caller, fid, Claim::Change)?;
            self.put_inode(fid, &inode)?;
        }
        let layout = inode.file().map(|file| file.layout.clone()).ok_or(Fault::Invalid)?;
        Ok(Reply::Layout { layout })
    }

    pub(super) fn get_layout(&mut self, fid: Fid) -> Step<Reply> {
        let inode = self.load(fid)?;
        if let Some(file) = inode.file() {
            return Ok(Reply::Layout { layout: file.layout.clone() });
        }
        if inode.directory().is_none() {
            return Err(Fault::NoData.into());
        }
        Ok(Reply::Template { template: self.template_below(&inode)? })
    }

    pub(super) fn set_layout(
        &mut self,
        caller: &Caller,
        fid: Fid,
        template: Option<&LayoutTemplate>,
    ) -> Step<Reply> {
        if let Some(template) = template {
            check_template(template)?;
        }
        let mut inode = self.load(fid)?;
        self.claim(caller, fid, Claim::Change)?;
        let layout = without_objects(template.unwrap_or(&self.default_layout));
        if let Some(directory) = inode.directory_mut() {
            directory.default = template.cloned();
        } else if let Some(file) = inode.file_mut() {
            if file.absent.is_some() || file.layout.stripes().next().is_some() {
                return Err(Fault::Exists.into());
            }
            let generation = file.layout.generation + 1;
            file.layout = Layout { generation, ..layout };
        } else {
            return Err(Fault::Invalid.into());
        }
        inode.changed(self.now.wall);
        self.put_inode(fid, &inode)?;
        Ok(Reply::Done)
    }

    pub(super) fn register_target(&mut self, target: &TargetEntry) -> Step<Reply> {
        match self.targets.get(&target.index) {
            Some(known) if known == target => return Ok(Reply::Done),
            Some(known) if known.state == TargetState::Removed => return Err(Fault::Invalid.into()),
            Some(_) | None => {}
        }
        self.table.put(key::target(target.index), &TargetRecord::of(target))?;
        self.targets.insert(target.index, TargetEntry { state: TargetState::Active, ..target.clone() });
        self.tell_targets();
        Ok(Reply::Done)
    }

    pub(super) fn remove_target(&mut self, index: OstIndex) -> Step<Reply> {
        match self.targets.get_mut(&index) {
            Some(target) if target.state == TargetState::Active => target.state = TargetState::Removed,
            Some(_) | None => return Ok(Reply::Done),
        }
        let removed = self.targets.values().filter(|target| target.state == TargetState::Removed);
        let removed: BTreeSet<OstIndex> = removed.map(|target| target.index).collect();
        self.table.put(key::setting(REMOVED), &removed)?;
        self.allocator.forget(index);
        self.tell_targets();
        Ok(Reply::Done)
    }

    /// Tells everybody which targets there are.
    fn tell_targets(&mut self) {
        let targets: Vec<TargetEntry> = self.targets.values().cloned().collect();
        for connection in self.sessions.values().filter_map(|session| session.connection) {
            let notice = Notice::Targets { targets: targets.clone() };
            self.outputs.push(Output::Notice { connection, notice });
        }
        self.outputs.push(Output::Targets { targets });
    }

    /// Targets that were not removed.
    pub(super) fn active_targets(&self) -> BTreeSet<OstIndex> {
        let active = self.targets.values().filter(|target| target.state == TargetState::Active);
        active.map(|target| target.index).collect()
    }

    pub(super) fn set_default_layout(&mut self, template: &LayoutTemplate) -> Step<Reply> {
        check_template(template)?;
        self.table.put(key::setting("layout"), template)?;
        self.default_layout = template.clone();
        Ok(Reply::Done)
    }
}

//! Layouts: defaults inherited, components instantiated when they are needed, objects spread over the targets.
//!
//! The arithmetic of striping is the model's.
//! Invariant: a component has no objects, or exactly as many as its stripe count allows on the targets there were then.

use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::layout::{
    Component, END_OF_FILE, Layout, LayoutTemplate, ObjectId, STRIPE_SIZE_MIN, Stripe, StripeCount,
};
use lustre_model::metadata::{ByteRange, Notice, Reply, TargetEntry};

use super::lease::Claim;
use super::{Caller, Output, Target};
use crate::failure::{Step, TargetError};
use crate::inode::{File, Inode};
use crate::key;

/// Most components of a layout.
const COMPONENTS_MAX: usize = 256;

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
        for (_, entry) in self.table.load::<TargetEntry>(b"T")? {
            self.targets.insert(entry.index, entry);
        }
        if !self.targets.is_empty() {
            self.outputs.push(Output::Targets { targets: self.targets.values().cloned().collect() });
        }
        // Spreads load over targets also when many starts make few files each.
        self.next_stripe = usize::try_from(self.counters.serial).unwrap_or(0);
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
        let indices: Vec<_> = self.targets.keys().copied().collect();
        let mut changed = false;
        for component in &mut file.layout.components {
            let touched = component.start < range.end && range.start < component.template.end;
            if !touched || !component.stripes.is_empty() {
                continue;
            }
            if indices.is_empty() {
                return Err(Fault::NoSpace.into());
            }
            let count = match component.template.stripe_count {
                StripeCount::Exact(count) => usize::from(count.max(1)).min(indices.len()),
                StripeCount::All => indices.len(),
            };
            for _ in 0..count {
                let target = indices[self.next_stripe % indices.len()];
                self.next_stripe = self.next_stripe.wrapping_add(1);
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
        if self.targets.get(&target.index) == Some(target) {
            return Ok(Reply::Done);
        }
        self.table.put(key::target(target.index), target)?;
        self.targets.insert(target.index, target.clone());
        let targets: Vec<TargetEntry> = self.targets.values().cloned().collect();
        for connection in self.sessions.values().filter_map(|session| session.connection) {
            let notice = Notice::Targets { targets: targets.clone() };
            self.outputs.push(Output::Notice { connection, notice });
        }
        self.outputs.push(Output::Targets { targets });
        Ok(Reply::Done)
    }

    pub(super) fn set_default_layout(&mut self, template: &LayoutTemplate) -> Step<Reply> {
        check_template(template)?;
        self.table.put(key::setting("layout"), template)?;
        self.default_layout = template.clone();
        Ok(Reply::Done)
    }
}

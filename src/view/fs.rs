//! What `lustre fs` prints: the texts of `lfs`, so that scripts made for it read ours.
//!
//! Makes texts only. Where `lfs` shows what this engine does not have (mirrors), its value for "none" stands.
//! Invariant: tabs, spaces and blank lines are those of `lfs`.

use std::fmt::Write;

use lustre_model::layout::{
    Component, ComponentTemplate, END_OF_FILE, Layout, LayoutTemplate, ObjectId, StripeCount,
};
use lustre_mount::{ClusterStatus, LayoutView};

/// One value of a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayoutField {
    /// `-c`
    Count,
    /// `-S`
    Size,
    /// `-i`
    Index,
}

/// What `df` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DfUnit {
    /// KiB.
    Kibibytes,
    /// With a suffix that fits (`-h`).
    Readable,
    /// Inodes (`-i`).
    Inodes,
}

/// The whole layout of a file or directory, as `lfs getstripe` prints it.
pub fn layout(path: &str, view: &LayoutView) -> String {
    let mut text = format!("{path}\n");
    match view {
        LayoutView::File(layout) => match layout.components.as_slice() {
            [only] if only.template.end == END_OF_FILE => plain(&mut text, layout.generation, only),
            _ => composite(&mut text, layout),
        },
        LayoutView::Directory(template) => match template.components.as_slice() {
            [only] if only.end == END_OF_FILE => default_line(&mut text, "", only),
            _ => composite_default(&mut text, template),
        },
    }
    text
}

/// One value: of a composite layout, that of the last component that has objects.
pub fn field(view: &LayoutView, field: LayoutField) -> String {
    let values = match view {
        LayoutView::File(layout) => {
            let live = layout.components.iter().rfind(|component| !component.stripes.is_empty());
            let component = live.or(layout.components.first());
            component.map(|component| (stripes(component), component.template.stripe_size, offset(component)))
        }
        LayoutView::Directory(template) => {
            template.components.last().map(|last| (count(last.stripe_count), last.stripe_size, -1))
        }
    };
    let (count, size, index) = values.unwrap_or_default();
    match field {
        LayoutField::Count => count.to_string(),
        LayoutField::Size => size.to_string(),
        LayoutField::Index => index.to_string(),
    }
}

/// Space or inodes of a cluster, as `lfs df` prints them.
pub fn df(status: &ClusterStatus, mount: &str, unit: DfUnit) -> String {
    let heads = match unit {
        DfUnit::Kibibytes => ["1K-blocks", "Used", "Available", "Use%"],
        DfUnit::Readable => ["bytes", "Used", "Available", "Use%"],
        DfUnit::Inodes => ["Inodes", "IUsed", "IFree", "IUse%"],
    };
    let mut text = format!(
        "{:<20} {:>11} {:>11} {:>11} {:>4} Mounted on\n",
        "UUID", heads[0], heads[1], heads[2], heads[3]
    );
    if unit == DfUnit::Inodes {
        let total = status.inodes.saturating_add(status.inodes_free);
        let name = format!("{}-MDT0000_UUID", status.fs_name);
        text += &df_row(&name, (total, status.inodes), unit, &format!("{mount}[MDT:0]"));
        text.push('\n');
        text += &df_row("filesystem_summary:", (total, status.inodes), unit, mount);
        return text;
    }
    let (mut capacity, mut used) = (0, 0);
    for target in &status.targets {
        let index = target.target.index.0;
        let name = format!("{}-OST{index:04x}_UUID", status.fs_name);
        let Some(target_used) = target.used else {
            let _infallible = writeln!(text, "{name:<20}: inactive device");
            continue;
        };
        capacity += target.target.capacity;
        used += target_used;
        text += &df_row(&name, (target.target.capacity, target_used), unit, &format!("{mount}[OST:{index}]"));
    }
    text.push('\n');
    text += &df_row("filesystem_summary:", (capacity, used), unit, mount);
    text
}

fn df_row(name: &str, (total, used): (u64, u64), unit: DfUnit, place: &str) -> String {
    let free = total.saturating_sub(used);
    // As `lfs`: never less than what is used, rounded up.
    let percent = if total == 0 { 0 } else { (u128::from(used) * 100).div_ceil(u128::from(total)) };
    let number = |value: u64| match unit {
        DfUnit::Kibibytes => (value / 1024).to_string(),
        DfUnit::Readable => readable(value),
        DfUnit::Inodes => value.to_string(),
    };
    format!(
        "{name:<20} {:>11} {:>11} {:>11} {percent:>3}% {place}\n",
        number(total),
        number(used),
        number(free)
    )
}

/// One digit behind the point and a suffix of 1024's powers.
fn readable(bytes: u64) -> String {
    let mut scaled = u128::from(bytes) * 10;
    for suffix in ["", "K", "M", "G", "T", "P"] {
        if scaled < 10_240 {
            return format!("{}.{}{suffix}", scaled / 10, scaled % 10);
        }
        scaled /= 1024;
    }
    format!("{}.{}E", scaled / 10, scaled % 10)
}

fn count(count: StripeCount) -> i32 {
    match count {
        StripeCount::Exact(count) => i32::from(count),
        StripeCount::All => -1,
    }
}

/// Stripes that there are, or that are wanted.
fn stripes(component: &Component) -> i32 {
    match component.stripes.len() {
        0 => count(component.template.stripe_count),
        there => i32::try_from(there).unwrap_or(i32::MAX),
    }
}

fn offset(component: &Component) -> i32 {
    component.stripes.first().map_or(-1, |stripe| i32::from(stripe.target.0))
}

fn plain(text: &mut String, generation: u32, component: &Component) {
    heads(text, "", (generation, component));
    if component.stripes.is_empty() {
        return;
    }
    text.push_str("\tobdidx\t\t objid\t\t objid\t\t group\n");
    for stripe in &component.stripes {
        let (target, group) = (stripe.target.0, stripe.object.fid.sequence);
        let objid = objid(stripe.object);
        let hex = format!("{objid:#x}");
        let _infallible = writeln!(text, "\t{target:>6}\t{objid:>14}\t{hex:>13}\t{group:>14}");
    }
    text.push('\n');
}

/// One number for an object, as `lfs` shows one: unique within its group.
fn objid(object: ObjectId) -> u64 {
    u64::from(object.fid.object) << 32 | u64::from(object.ordinal)
}

fn heads(text: &mut String, indent: &str, (generation, component): (u32, &Component)) {
    let _infallible = writeln!(
        text,
        "{indent}lmm_stripe_count:  {}\n{indent}lmm_stripe_size:   {}\n{indent}lmm_pattern:       raid0\n\
         {indent}lmm_layout_gen:    {generation}\n{indent}lmm_stripe_offset: {}",
        stripes(component),
        component.template.stripe_size,
        offset(component),
    );
    if let Some(pool) = &component.template.pool {
        let _infallible = writeln!(text, "{indent}lmm_pool:          {pool}");
    }
}

fn composite(text: &mut String, layout: &Layout) {
    let entries = layout.components.len();
    let _infallible = writeln!(
        text,
        "  lcm_layout_gen:    {}\n  lcm_mirror_count:  1\n  lcm_entry_count:   {entries}",
        layout.generation
    );
    for (index, component) in layout.components.iter().enumerate() {
        let flags = if component.stripes.is_empty() { "0" } else { "init" };
        extent(text, (&(index + 1).to_string(), "0", flags), (component.start, component.template.end));
        heads(text, "      ", (0, component));
        if !component.stripes.is_empty() {
            text.push_str("      lmm_objects:\n");
        }
        for (number, stripe) in component.stripes.iter().enumerate() {
            let (target, object) = (stripe.target.0, stripe.object);
            let _infallible = writeln!(
                text,
                "      - {number}: {{ l_ost_idx: {target}, l_fid: [{:#x}:{:#x}:{:#x}] }}",
                object.fid.sequence, object.fid.object, object.ordinal
            );
        }
        text.push('\n');
    }
}

fn composite_default(text: &mut String, template: &LayoutTemplate) {
    let entries = template.components.len();
    let _infallible =
        writeln!(text, "  lcm_layout_gen:    0\n  lcm_mirror_count:  1\n  lcm_entry_count:   {entries}");
    let mut start = 0;
    for component in &template.components {
        extent(text, ("N/A", "N/A", "0"), (start, component.end));
        default_line(text, "      ", component);
        text.push('\n');
        start = component.end;
    }
}

fn extent(text: &mut String, (id, mirror, flags): (&str, &str, &str), (start, end): (u64, u64)) {
    let end = if end == END_OF_FILE { "EOF".to_owned() } else { end.to_string() };
    let _infallible = writeln!(
        text,
        "    lcme_id:             {id}\n    lcme_mirror_id:      {mirror}\n    lcme_flags:          {flags}\n    \
         lcme_extent.e_start: {start}\n    lcme_extent.e_end:   {end}"
    );
}

fn default_line(text: &mut String, indent: &str, template: &ComponentTemplate) {
    let pool = template.pool.as_ref().map(|pool| format!("{indent} pool: {pool}")).unwrap_or_default();
    let _infallible = writeln!(
        text,
        "{indent}stripe_count:  {} {indent}stripe_size:   {} {indent}pattern:       raid0 {indent}stripe_offset: -1{pool}",
        count(template.stripe_count),
        template.stripe_size
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_model::fid::Fid;
    use lustre_model::layout::{OstIndex, Stripe};
    use lustre_model::metadata::{TargetEntry, TargetState};
    use lustre_mount::TargetStatus;

    const MIB: u32 = 1 << 20;

    fn component(start: u64, end: u64, wanted: u16, targets: &[u16]) -> Component {
        let fid = Fid { sequence: 0x2_0000_0401, object: 5, version: 0 };
        let stripes = targets.iter().zip(1..);
        let stripes = stripes
            .map(|(index, ordinal)| Stripe { target: OstIndex(*index), object: ObjectId { fid, ordinal } });
        let stripe_count = StripeCount::Exact(wanted);
        let template = ComponentTemplate { end, stripe_size: MIB, stripe_count, pool: None };
        Component { start, template, stripes: stripes.collect() }
    }

    #[test]
    fn a_plain_file_prints_as_lfs_prints_it() {
        let components = vec![component(0, END_OF_FILE, 2, &[1, 0])];
        let view = LayoutView::File(Layout { generation: 0, components });
        let expected = "f\nlmm_stripe_count:  2\nlmm_stripe_size:   1048576\nlmm_pattern:       raid0\n\
                        lmm_layout_gen:    0\nlmm_stripe_offset: 1\n\
                        \tobdidx\t\t objid\t\t objid\t\t group\n\
                        \t     1\t   21474836481\t  0x500000001\t    8589935617\n\
                        \t     0\t   21474836482\t  0x500000002\t    8589935617\n\n";
        assert_eq!(layout("f", &view), expected);
        assert_eq!(field(&view, LayoutField::Index), "1");
    }

    #[test]
    fn a_progressive_file_prints_as_lfs_prints_it() {
        let components = vec![component(0, 4 << 20, 1, &[3]), component(4 << 20, END_OF_FILE, 4, &[])];
        let view = LayoutView::File(Layout { generation: 3, components });
        let expected = "/mnt/f\n  lcm_layout_gen:    3\n  lcm_mirror_count:  1\n  lcm_entry_count:   2\n    \
            lcme_id:             1\n    lcme_mirror_id:      0\n    lcme_flags:          init\n    \
            lcme_extent.e_start: 0\n    lcme_extent.e_end:   4194304\n      \
            lmm_stripe_count:  1\n      lmm_stripe_size:   1048576\n      lmm_pattern:       raid0\n      \
            lmm_layout_gen:    0\n      lmm_stripe_offset: 3\n      lmm_objects:\n      \
            - 0: { l_ost_idx: 3, l_fid: [0x200000401:0x5:0x1] }\n\n    \
            lcme_id:             2\n    lcme_mirror_id:      0\n    lcme_flags:          0\n    \
            lcme_extent.e_start: 4194304\n    lcme_extent.e_end:   EOF\n      \
            lmm_stripe_count:  4\n      lmm_stripe_size:   1048576\n      lmm_pattern:       raid0\n      \
            lmm_layout_gen:    0\n      lmm_stripe_offset: -1\n\n";
        assert_eq!(layout("/mnt/f", &view), expected);
        assert_eq!(field(&view, LayoutField::Count), "1");
    }

    #[test]
    fn space_adds_up() {
        let target = |index, used| TargetStatus {
            target: TargetEntry {
                index: OstIndex(index),
                address: String::new(),
                capacity: 2 << 30,
                state: TargetState::Active,
            },
            used,
        };
        let targets = vec![target(0, Some(1 << 30)), target(10, None)];
        let status = ClusterStatus { fs_name: "demo".to_owned(), inodes: 3, inodes_free: 7, targets };
        let expected = "UUID                   1K-blocks        Used   Available Use% Mounted on\n\
            demo-OST0000_UUID        2097152     1048576     1048576  50% /m[OST:0]\n\
            demo-OST000a_UUID   : inactive device\n\n\
            filesystem_summary:      2097152     1048576     1048576  50% /m\n";
        assert_eq!(df(&status, "/m", DfUnit::Kibibytes), expected);
        assert!(df(&status, "/m", DfUnit::Readable).contains("       2.0G        1.0G"));
        assert!(df(&status, "/m", DfUnit::Inodes).contains("         10           3           7  30%"));
    }
}

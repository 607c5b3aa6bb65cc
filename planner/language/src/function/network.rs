//! Functions on IP addresses and prefixes, IPv4 and IPv6.
//!
//! ```text
//! 10.0.0.0/16  +8 bits, number 2  →  10.0.2.0/24
//! ```
//! Invariant: arithmetic is on 128-bit integers and never leaves the prefix.

use core::net::{Ipv4Addr, Ipv6Addr};

use lustre_model::value::Value;

use crate::function::text::strings;
use crate::function::{Refusal, Row, Run, Yield, refuse, text, whole};

pub(super) const ROWS: &[Row] = &[
    Row(
        "cidrhost(prefix string, number number) string",
        "Yields the address of a host in a prefix; a negative number counts from the end.",
        ["cidrhost(\"10.12.112.0/20\", 268)", "\"10.12.113.12\""],
        Run::Values(host),
    ),
    Row(
        "cidrnetmask(prefix string) string",
        "Yields the mask of an IPv4 prefix.",
        ["cidrnetmask(\"172.16.0.0/12\")", "\"255.240.0.0\""],
        Run::Values(netmask),
    ),
    Row(
        "cidrsubnet(prefix string, bits number, number number) string",
        "Yields a prefix within a prefix.",
        ["cidrsubnet(\"172.16.0.0/12\", 4, 2)", "\"172.18.0.0/16\""],
        Run::Values(subnet),
    ),
    Row(
        "cidrsubnets(prefix string, ...bits number) list(string)",
        "Yields prefixes within a prefix, one behind the other.",
        ["cidrsubnets(\"10.1.0.0/16\", 4, 4, 8)", "[\"10.1.0.0/20\", \"10.1.16.0/20\", \"10.1.32.0/24\"]"],
        Run::Values(subnets),
    ),
    Row(
        "cidrcontains(prefix string, address string) bool",
        "Says whether an address or a prefix lies in a prefix.",
        ["cidrcontains(\"192.168.2.0/20\", \"192.168.2.1\")", "true"],
        Run::Values(contains),
    ),
];

/// Reads an address as a number, with the bits of its family. Zeros in front of a part of an IPv4 address are dropped.
fn parse_address(text: &str) -> Option<(u128, u32)> {
    if text.contains(':') {
        return text.parse::<Ipv6Addr>().ok().map(|address| (u128::from(address), 128));
    }
    let parts = text.split('.').map(|part| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u8>().ok().filter(|_| digits && part.len() <= 8)
    });
    let parts: [u8; 4] = parts.collect::<Option<Vec<u8>>>()?.try_into().ok()?;
    Some((u128::from(u32::from_be_bytes(parts)), 32))
}

/// A prefix: its first address as a number, the bits of the family, the bits that are fixed.
#[derive(Clone, Copy)]
struct Prefix {
    base: u128,
    family: u32,
    length: u32,
}

impl Prefix {
    fn parse(text: &str) -> Result<Self, Refusal> {
        let parsed = text.split_once('/').and_then(|(address, length)| {
            let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
            let length = length.parse::<u32>().ok().filter(|_| digits)?;
            let (base, family) = parse_address(address)?;
            // An IPv4 address in IPv6's clothes is one, with the rest of its length.
            let mapped = address.contains(':') && base >> 32 == 0xffff && family == 128 && length >= 96;
            let (base, family, length) =
                if mapped { (base & u128::from(u32::MAX), 32, length - 96) } else { (base, family, length) };
            (length <= family).then_some(Self { base, family, length })
        });
        let Some(mut prefix) = parsed else {
            return refuse(0, format!("{text:?} is no prefix, as 10.0.0.0/16 is"));
        };
        prefix.base &= !prefix.rest_mask();
        Ok(prefix)
    }

    /// The bits that hosts differ in.
    fn rest_mask(self) -> u128 {
        match self.family - self.length {
            128 => u128::MAX,
            bits => (1u128 << bits) - 1,
        }
    }

    fn address(self, number: u128) -> String {
        match u32::try_from(number) {
            Ok(number) if self.family == 32 => Ipv4Addr::from(number).to_string(),
            Ok(_) | Err(_) => Ipv6Addr::from(number).to_string(),
        }
    }

    /// The prefix number `number` of those with so many more bits.
    fn within(self, bits: u32, number: u128) -> Option<Self> {
        let length = self.length.checked_add(bits).filter(|length| *length <= self.family)?;
        let inner = Self { length, ..self };
        let fits = bits >= 128 || number < (1u128 << bits);
        let shift = self.family - length;
        let offset = if shift >= 128 { 0 } else { number.checked_shl(shift)? };
        fits.then_some(Self { base: self.base | offset, ..inner })
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address(self.base), self.length)
    }
}

fn host(arguments: &[Value]) -> Yield {
    let prefix = Prefix::parse(text(arguments, 0))?;
    let number = whole(arguments, 1)?;
    let rest = prefix.rest_mask();
    let offset = u128::from(number.unsigned_abs());
    let host =
        if number < 0 { rest.checked_sub(offset - 1) } else { Some(offset).filter(|offset| *offset <= rest) };
    match host {
        Some(host) => Ok(prefix.address(prefix.base | host).into()),
        None => refuse(1, "the prefix has not so many hosts"),
    }
}

fn contains(arguments: &[Value]) -> Yield {
    let (outer, inner) = (Prefix::parse(text(arguments, 0))?, text(arguments, 1));
    let inner = match parse_address(inner) {
        Some((base, family)) => Prefix { base, family, length: family },
        None => Prefix::parse(inner).or_else(|refusal| refuse(1, refusal.reason))?,
    };
    if outer.family != inner.family {
        return refuse(1, "one is of IPv4 and the other of IPv6");
    }
    Ok((inner.length >= outer.length && inner.base & !outer.rest_mask() == outer.base).into())
}

fn netmask(arguments: &[Value]) -> Yield {
    let prefix = Prefix::parse(text(arguments, 0))?;
    if prefix.family != 32 {
        return refuse(0, "IPv6 prefixes have no mask");
    }
    Ok(prefix.address(u128::from(u32::MAX) & !prefix.rest_mask()).into())
}

fn bits(arguments: &[Value], position: usize) -> Result<u32, Refusal> {
    match u32::try_from(whole(arguments, position)?).ok().filter(|bits| *bits <= 128) {
        Some(bits) => Ok(bits),
        None => refuse(position, "it must be between 0 and 128"),
    }
}

fn subnet(arguments: &[Value]) -> Yield {
    let prefix = Prefix::parse(text(arguments, 0))?;
    let Ok(number) = u128::try_from(whole(arguments, 2)?) else {
        return refuse(2, "it must not be negative");
    };
    match prefix.within(bits(arguments, 1)?, number) {
        Some(inner) => Ok(inner.to_string().into()),
        None => refuse(2, format!("{prefix} has no such prefix")),
    }
}

fn subnets(arguments: &[Value]) -> Yield {
    let prefix = Prefix::parse(text(arguments, 0))?;
    let mut next = prefix.base;
    let mut found = Vec::new();
    for position in 1..arguments.len() {
        let bits = bits(arguments, position)?;
        let Some(first) = prefix.within(bits, 0) else {
            return refuse(position, format!("{prefix} has not so many bits"));
        };
        let size = first.rest_mask();
        // The next one begins at a multiple of its own size.
        let start = next.checked_add(size).map(|end| end & !size);
        let Some(start) = start.filter(|start| start & !prefix.rest_mask() == prefix.base) else {
            return refuse(position, format!("{prefix} has no room left"));
        };
        found.push(Value::from(Prefix { base: start, ..first }.to_string()));
        let Some(end) = start.checked_add(size).and_then(|end| end.checked_add(1)) else {
            return if position + 1 == arguments.len() {
                Ok(strings(found))
            } else {
                refuse(position, "no room is left")
            };
        };
        next = end;
    }
    Ok(strings(found))
}

//! Encodes one query to a name server, and decodes its response; the codec is NLnet Labs' `domain`.

use std::net::IpAddr;

use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::name::Name;
use domain::base::{Message, MessageBuilder, Rtype};
use domain::dep::octseq::Array;
use domain::rdata::{A, Aaaa};
use ring::rand::{SecureRandom, SystemRandom};

/// The maximum number of addresses that are taken from one response.
const MOST: usize = 64;

/// The requested maximum size of a response over UDP: packets of this size are not fragmented (DNS flag day 2020).
const UDP: u16 = 1232;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    const fn record(self) -> Rtype {
        match self {
            Self::V4 => Rtype::A,
            Self::V6 => Rtype::AAAA,
        }
    }
}

/// A query, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct DnsQuery {
    bytes: Box<[u8]>,
    family: Family,
}

/// The response of a name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DnsResult {
    /// The name's addresses, at least one.
    Addresses(Vec<IpAddr>),
    /// The name exists, and has no address of this family.
    Nothing,
    /// The name does not exist.
    Missing,
    /// An error; the name of its code.
    Refused(&'static str),
}

/// A response to a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DnsMessage {
    pub result: DnsResult,
    /// Whether it was truncated, so that it has to be repeated over TCP.
    pub truncated: bool,
}

impl DnsQuery {
    /// A query for the addresses of a full name; none if it is too long, or no random number is available.
    pub(super) fn new(name: &str, family: Family, edns: bool) -> Option<Self> {
        let name: Name<Array<255>> = Name::from_chars(name.chars()).ok()?;
        let mut id = [0; 2];
        SystemRandom::new().fill(&mut id).ok()?;
        let mut builder = MessageBuilder::from_target(Array::<512>::default()).ok()?;
        let header = builder.header_mut();
        header.set_id(u16::from_be_bytes(id));
        header.set_rd(true);
        let mut builder = builder.question();
        builder.push((&name, family.record(), Class::IN)).ok()?;
        let mut builder = builder.additional();
        if edns {
            builder
                .opt(|opt| {
                    opt.set_udp_payload_size(UDP);
                    Ok(())
                })
                .ok()?;
        }
        Some(Self { bytes: builder.finish().as_ref().into(), family })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Decodes a response; none if it is not a response to this query.
    ///
    /// Only the question, the aliases (CNAME) and the addresses are read; other records are ignored.
    pub(super) fn read(&self, bytes: &[u8]) -> Option<DnsMessage> {
        let (answer, question) = (Message::from_octets(bytes).ok()?, Message::from_octets(&*self.bytes).ok()?);
        let header = answer.header();
        // Some servers refuse a query without repeating the question.
        let refused = header.qr() && header.id() == question.header().id() && answer.header_counts().qdcount() == 0;
        if header.opcode() != Opcode::QUERY || !(answer.is_answer(&question) || refused && header.rcode() != Rcode::NOERROR) {
            return None;
        }
        let result = match header.rcode() {
            Rcode::NOERROR => match self.addresses(&answer) {
                addresses if addresses.is_empty() => DnsResult::Nothing,
                addresses => DnsResult::Addresses(addresses),
            },
            Rcode::NXDOMAIN => DnsResult::Missing,
            Rcode::SERVFAIL => DnsResult::Refused("SERVFAIL"),
            Rcode::REFUSED => DnsResult::Refused("REFUSED"),
            Rcode::NOTIMP => DnsResult::Refused("NOTIMP"),
            Rcode::FORMERR => DnsResult::Refused("FORMERR"),
            _ => DnsResult::Refused("with an unknown code"),
        };
        Some(DnsMessage { result, truncated: header.tc() })
    }

    /// The addresses of the name at the end of the chain of aliases; an endless chain has none.
    fn addresses(&self, answer: &Message<&[u8]>) -> Vec<IpAddr> {
        let (Some(name), Ok(records)) = (answer.canonical_name(), answer.answer()) else { return Vec::new() };
        let mut found = Vec::new();
        let mut add = |address: IpAddr| {
            if !found.contains(&address) {
                found.push(address);
            }
        };
        match self.family {
            Family::V4 => {
                let own = records.limit_to_in::<A>().flatten().filter(|record| *record.owner() == name);
                own.take(MOST).for_each(|record| add(record.data().addr().into()));
            }
            Family::V6 => {
                let own = records.limit_to_in::<Aaaa>().flatten().filter(|record| *record.owner() == name);
                own.take(MOST).for_each(|record| add(record.data().addr().into()));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;

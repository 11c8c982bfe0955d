//! One question to a name server as bytes, and what an answer says; the codec is NLnet Labs' `domain`.

use std::net::IpAddr;

use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::name::Name;
use domain::base::{Message, MessageBuilder, Rtype};
use domain::dep::octseq::Array;
use domain::rdata::{A, Aaaa};
use ring::rand::{SecureRandom, SystemRandom};

/// More addresses than these are not taken from one answer.
const MOST: usize = 64;

/// The longest answer over UDP that is asked for: no packet of that size is taken apart on its way (DNS flag day 2020).
const UDP: u16 = 1232;

/// A family of addresses.
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

/// A question, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct DnsQuery {
    bytes: Box<[u8]>,
    family: Family,
}

/// What a name server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DnsResult {
    /// The name's addresses, at least one.
    Addresses(Vec<IpAddr>),
    /// The name is there, and has none of that family.
    Nothing,
    /// There is no such name.
    Missing,
    /// It cannot say; the word of the code.
    Refused(&'static str),
}

/// An answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DnsMessage {
    pub result: DnsResult,
    /// Whether there was more than fitted: to be asked for over TCP.
    pub truncated: bool,
}

impl DnsQuery {
    /// Asks for the addresses of a full name; none where it is too long, or the kernel has no random number for us.
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

    /// Reads an answer; none for what is no answer to this question, whatever it is.
    ///
    /// Only the question, the aliases (CNAME) and the addresses are looked at, so that an odd record elsewhere changes nothing.
    pub(super) fn read(&self, bytes: &[u8]) -> Option<DnsMessage> {
        let (answer, question) = (Message::from_octets(bytes).ok()?, Message::from_octets(&*self.bytes).ok()?);
        let header = answer.header();
        // Some servers refuse a question without repeating it.
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

    /// The addresses of the name at the end of the chain of aliases; a chain without an end has none.
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

//! A window's profile as a request of Pyroscope's push API (`push/v1/push.proto` and `types/v1/types.proto` of
//! <https://github.com/grafana/pyroscope/tree/main/api>): pprof with labels. Invariant: the pprof in it is the one that
//! `wireprof export` writes, with the wall clock's time.

use super::WindowProfile;
use crate::run::pprof;
use anyhow::Result;
use prost::Message;

/// `push.v1.PushRequest`
#[derive(Clone, PartialEq, Message)]
struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    series: Vec<RawProfileSeries>,
}

/// `push.v1.RawProfileSeries`
#[derive(Clone, PartialEq, Message)]
struct RawProfileSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<LabelPair>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<RawSample>,
}

/// `push.v1.RawSample`
#[derive(Clone, PartialEq, Message)]
struct RawSample {
    #[prost(bytes = "vec", tag = "1")]
    raw_profile: Vec<u8>,
    #[prost(string, tag = "2")]
    id: String,
}

/// `types.v1.LabelPair`
#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// The body of `POST /push.v1.PusherService/Push`, `application/proto`.
///
/// # Errors
/// A profile that breaks its own invariants.
pub fn pyroscope(profile: &WindowProfile) -> Result<Vec<u8>> {
    let stacks = &profile.stacks;
    let about = format!("wireprof, {} clients", stacks.level);
    let began = profile.unix_nanos();
    let raw_profile = pprof::encode_dated(&stacks.profile, stacks.span, stacks.period, &[about], began)?;
    let name = if stacks.unit() == "nanoseconds" && stacks.name == "CPU" { "process_cpu" } else { "wireprof" };
    let mut labels = vec![LabelPair { name: "__name__".into(), value: name.into() }];
    labels.extend(profile.labels.iter().map(|(name, value)| LabelPair { name: name.clone(), value: value.clone() }));
    labels.sort_by(|a, b| a.name.cmp(&b.name));
    let samples = vec![RawSample { raw_profile, id: uuid(profile.id) }];
    Ok(PushRequest { series: vec![RawProfileSeries { labels, samples }] }.encode_to_vec())
}

/// Written as a UUID of version 8, whose bits are the maker's own (RFC 9562).
fn uuid(mut id: [u8; 16]) -> String {
    id[6] = id[6] & 0x0f | 0x80;
    id[8] = id[8] & 0x3f | 0x80;
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_the_form_of_a_uuid_of_version_8() {
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-8fff-bfff-ffffffffffff");
        assert_eq!(uuid([0; 16]), "00000000-0000-8000-8000-000000000000");
    }
}

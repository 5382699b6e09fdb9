//! A pprof file taken apart into its samples and all else (profile.proto of google/pprof). Invariant: texts that are
//! not UTF-8 refuse no file, as in google/pprof, which takes the bytes: what cannot be read of them becomes U+FFFD.
//! A thread's name is such a text where the kernel cut it in the midst of a character, at 15 bytes (prctl(2)).

use anyhow::{Context, Result};
use pprof::protos as proto;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// profile.proto: `repeated Sample sample = 2`.
const SAMPLE: u32 = 2;
/// profile.proto: `repeated string string_table = 6`.
const STRING_TABLE: u32 = 6;
pub(super) const NO_PROFILE: &str = "not a pprof profile";

/// A file's samples, still encoded, and all else of it. A profile has tens of thousands of samples, each of several
/// lists: decoded one after the other into the same room they cost a fraction.
pub(super) struct File<'a> {
    /// Without its samples.
    pub proto: proto::Profile,
    pub samples: Vec<&'a [u8]>,
}

impl<'a> File<'a> {
    pub fn parse(raw: &'a [u8]) -> Result<Self> {
        let (mut samples, mut texts, mut others, mut left) = (Vec::new(), Vec::new(), Vec::new(), raw);
        while !left.is_empty() {
            let field = left;
            let (tag, kind) = decode_key(&mut left).context(NO_PROFILE)?;
            if matches!(tag, SAMPLE | STRING_TABLE) && kind == WireType::LengthDelimited {
                let length = decode_varint(&mut left).context(NO_PROFILE)? as usize;
                let (content, after) = left.split_at_checked(length).context(NO_PROFILE)?;
                match tag {
                    SAMPLE => samples.push(content),
                    _ => texts.push(String::from_utf8_lossy(content).into_owned()),
                }
                left = after;
            } else {
                skip_field(kind, tag, &mut left, DecodeContext::default()).context(NO_PROFILE)?;
                others.extend_from_slice(&field[..field.len() - left.len()]);
            }
        }
        let mut proto = proto::Profile::decode(&others[..]).context(NO_PROFILE)?;
        proto.string_table = texts;
        Ok(File { proto, samples })
    }
}

/// How many samples an unpacked file has.
///
/// # Errors
/// It is no pprof profile.
pub fn count_samples(raw: &[u8]) -> Result<usize> {
    Ok(File::parse(raw)?.samples.len())
}

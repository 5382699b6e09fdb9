//! Profiles as pprof files (profile.proto of google/pprof): gzip protobuf that `go tool pprof` and other viewers read.
//! Invariant: `decode(encode(p))` gives the same samples, stacks and labels, ids apart.
//!
//! Samples of a stored file stand in the order of the call tree walked depth first, which a comment of the file says
//! (`DEPTH_FIRST`).
//!
//! What pprof has no field for: a miss's reason stands in `Function.system_name` as `[no_symbol]`, the rest of a frame
//! in the fields of that meaning. A frame inlined into the next outer one shares its `Location`.

mod decode;
mod encode;
mod file;

pub use decode::{Foreign, decode, decode_foreign};
pub use encode::{encode, encode_dated, encode_in_order};
pub use file::count_samples;

/// Comment of a file whose samples follow one another depth first: what two samples share of their stacks, all
/// between them share.
const DEPTH_FIRST: &str = "samples in the order of the call tree";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Span;
    use crate::profile::{Builder, Frame, Labels, Miss, Profile, Space, on_cpu_columns};
    use flate2::read::GzDecoder;
    use prost::Message;
    use std::io::Read;

    fn frame(name: &str, module: &str, space: Space, inlined: bool, miss: Option<Miss>) -> Frame {
        Frame { name: name.into(), module: module.into(), space, inlined, file: String::new(), miss }
    }

    fn sample() -> Profile {
        let mut builder = Builder::new(on_cpu_columns());
        let frames = [
            frame("[stack cut: copy too short]", "", Space::Marker, false, None),
            frame("main", "server", Space::User, false, None),
            frame("inner", "server", Space::User, true, None),
            frame("server+0x10", "server", Space::User, false, Some(Miss::NoSymbol)),
            frame("tcp_sendmsg", "[kernel]", Space::Kernel, false, None),
            frame("__vdso_clock_gettime", "[vdso]", Space::Vdso, false, None),
        ];
        let ids: Vec<_> = frames.into_iter().map(|f| builder.frame(f)).collect();
        let all = builder.stack(ids.clone());
        let short = builder.stack([ids[1], ids[2], ids[5]]);
        let labels = Labels {
            process: "s".into(),
            pid: 5,
            thread: "w".into(),
            tid: 6,
            state: "on-cpu".into(),
            complete: Some(false),
        };
        let one = builder.labels(labels.clone());
        let two = builder.labels(Labels { complete: None, ..labels });
        builder.sample(all, one, Some(1_234_567), vec![1, 1_003_009]);
        builder.sample(short, two, None, vec![2, 7]);
        builder.sample(None, one, Some(0), vec![1, 1]);
        builder.finish()
    }

    type Row = (Vec<Frame>, Labels, Option<u64>, Vec<i64>);

    fn rows(p: &Profile) -> Vec<Row> {
        let frames = |s| p.path(s).iter().map(|f| p.frames[f.index()].clone()).collect();
        p.samples
            .iter()
            .map(|s| (frames(s.stack), p.labels[s.labels.index()].clone(), s.at, s.values.clone()))
            .collect()
    }

    #[test]
    fn a_profile_written_and_read_again_has_the_same_samples_stacks_labels_and_columns() {
        let profile = sample();
        let bytes = encode(&profile, Span::new(0, 5_000_000_000), Some(1_003_009), &["cpu-clock".into()]).unwrap();
        let again = decode(&bytes).unwrap();
        assert_eq!(again.columns, profile.columns);
        assert_eq!(rows(&again), rows(&profile));
        assert_eq!(encode(&again, Span::new(0, 5_000_000_000), Some(1_003_009), &["cpu-clock".into()]).unwrap(), bytes);
    }

    /// The string table's own field (number 6) once more, with these bytes.
    fn with_text(mut file: Vec<u8>, text: &[u8]) -> Vec<u8> {
        file.extend([6 << 3 | 2, text.len() as u8]);
        file.extend(text);
        file
    }

    #[test]
    fn texts_that_are_not_utf_8_are_read_as_far_as_they_go() {
        let mut proto = pprof::protos::Profile::decode(&*{
            let mut plain = Vec::new();
            GzDecoder::new(&*encode(&sample(), Span::new(0, 1), None, &[]).unwrap()).read_to_end(&mut plain).unwrap();
            plain
        })
        .unwrap();
        let added = proto.string_table.len() as i64;
        let thread = proto.string_table.iter().position(|text| text == "thread").unwrap() as i64;
        let labels = proto.sample.iter_mut().flat_map(|sample| &mut sample.label);
        labels.filter(|label| label.key == thread).for_each(|label| label.str = added);
        let main = proto.string_table.iter().position(|text| text == "main").unwrap() as i64;
        proto
            .function
            .iter_mut()
            .filter(|function| function.name == main)
            .for_each(|function| function.name = added + 1);
        // The kernel keeps 15 bytes of a thread's name.
        let file = with_text(with_text(proto.encode_to_vec(), b"file d'attent\xc3"), b"b\xe9ta");
        assert_eq!(count_samples(&file).unwrap(), 3);
        for profile in [decode(&file).unwrap(), decode_foreign(&file).unwrap().profile] {
            assert!(
                profile.labels.iter().all(|labels| labels.thread == "file d'attent\u{fffd}"),
                "{:?}",
                profile.labels
            );
            assert!(profile.frames.iter().any(|frame| frame.name == "b\u{fffd}ta"));
            assert_eq!(profile.total(1), sample().total(1));
        }
    }

    #[test]
    fn damaged_files_give_errors_and_never_panic() {
        let bytes = encode(&sample(), Span::new(0, 1), None, &[]).unwrap();
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "cut at {length}");
        }
        assert!(decode(b"hello").is_err());
    }
}

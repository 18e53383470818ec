//! Files that are broken, cut short or made to do harm.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

#[path = "common/archive.rs"]
mod archive;

use std::path::{Path, PathBuf};

use archive::{Entry, LEGACY_START, archive};
use checkpoint::{CheckpointError, TensorFile};

const STORAGE: &[u8] =
    b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQ";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn refusal(bytes: Vec<u8>) -> CheckpointError {
    let error = TensorFile::from_bytes(bytes, "model.pt").expect_err("it must not open");
    assert!(error.to_string().starts_with("model.pt: "), "{error}");
    error
}

fn archive_of(pickle: &[u8]) -> Vec<u8> {
    archive(&[
        Entry::stored("a/data.pkl", pickle),
        Entry::stored("a/data/0", &[0; 16]),
    ])
}

fn damage(bytes: Vec<u8>) -> String {
    match refusal(bytes) {
        CheckpointError::Damaged { detail, .. } => detail,
        other => panic!("expected damage: {other}"),
    }
}

/// `_rebuild_tensor(storage of four floats, offset, shape, strides)`, the last three as pickles.
fn tensor(offset: &[u8], shape: &[u8], strides: &[u8]) -> Vec<u8> {
    [
        b"\x80\x02ctorch._utils\n_rebuild_tensor\n(",
        STORAGE,
        offset,
        shape,
        strides,
        b"tR.",
    ]
    .concat()
}

#[test]
fn calls_are_refused_by_name() {
    let calls: [(&[u8], &str); 8] = [
        (b"\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R.", "os.system"),
        (
            b"\x80\x02cposix\nsystem\nX\x02\0\0\0id\x85R.",
            "posix.system",
        ),
        (
            b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.",
            "builtins.eval",
        ),
        (b"\x80\x02c__builtin__\ngetattr\n.", "__builtin__.getattr"),
        (b"\x80\x02csubprocess\nPopen\n.", "subprocess.Popen"),
        (b"\x80\x02ctorch.hub\nload\n.", "torch.hub.load"),
        (b"\x80\x02ctorch\nload\n.", "torch.load"),
        (b"\x80\x02c__torch__\nVAE\n)\x81.", "__torch__.VAE"),
    ];
    for (pickle, name) in calls {
        for bytes in [archive_of(pickle), [LEGACY_START, pickle].concat()] {
            match refusal(bytes) {
                CheckpointError::Refused { global, .. } => assert_eq!(global, name),
                other => panic!("{name}: {other}"),
            }
        }
    }
    let text = refusal(archive_of(calls[0].0)).to_string();
    assert!(text.contains("nothing was run"), "{text}");
    // The names of a script's classes give nothing else free.
    let script = |pickle: &[u8]| {
        archive(&[
            Entry::stored("a/data.pkl", pickle),
            Entry::stored("a/constants.pkl", b")"),
        ])
    };
    assert!(matches!(
        refusal(script(calls[0].0)),
        CheckpointError::Refused { .. }
    ));
    assert!(TensorFile::from_bytes(script(b"\x80\x02c__torch__\nVAE\n)\x81."), "model.pt").is_ok());
}

#[test]
fn other_ways_to_make_instances() {
    let pickles: [&[u8]; 6] = [
        b"\x80\x02}}K\x01K\x02sb.",
        b"(ios\nsystem\n.",
        b"\x80\x02(cos\nsystem\no.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02Pid\n.",
        b"\x80\x05\x97.",
    ];
    for pickle in pickles {
        let error = refusal(archive_of(pickle));
        let is_refused = matches!(
            error,
            CheckpointError::Unsupported { .. } | CheckpointError::Refused { .. }
        );
        assert!(is_refused, "{error}");
    }
    damage(archive_of(b"\x80\x02K\x01)R."));
    damage(archive_of(b"\x80\x02ctorch\nfloat32\n)R."));
    damage(archive_of(
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)\x81.",
    ));
}

#[test]
fn claims_beyond_the_storage() {
    assert!(
        TensorFile::from_bytes(
            archive_of(&tensor(b"K\x00", b"K\x04\x85", b"K\x01\x85")),
            "model.pt"
        )
        .is_ok()
    );
    let claims: [(&[u8], &[u8], &[u8]); 7] = [
        (b"K\x01", b"K\x04\x85", b"K\x01\x85"),
        (b"K\x00", b"K\x05\x85", b"K\x01\x85"),
        (b"K\x00", b"K\x04\x85", b"K\x02\x85"),
        (b"K\x00", b"K\x02\x85", b"J\xff\xff\xff\xff\x85"),
        (b"J\xff\xff\xff\xff", b"K\x02\x85", b"K\x01\x85"),
        (b"K\x00", b"J\xff\xff\xff\xff\x85", b"K\x01\x85"),
        (
            b"K\x00",
            b"\x8a\x08\0\0\0\0\0\0\0\x40\x8a\x08\0\0\0\0\0\0\0\x40\x86",
            b"K\x01K\x01\x86",
        ),
    ];
    for (offset, shape, strides) in claims {
        let detail = damage(archive_of(&tensor(offset, shape, strides)));
        assert!(detail.contains("tensor `tensor`"), "{detail}");
    }
    // An expanded number may be large, but not larger than any reader's memory.
    let expanded = tensor(b"K\x00", b"\x8a\x08\0\0\0\0\0\x01\0\0\x85", b"K\x00\x85");
    assert!(matches!(
        refusal(archive_of(&expanded)),
        CheckpointError::Excess { .. }
    ));
    let short = archive(&[
        Entry::stored("a/data.pkl", &tensor(b"K\x00", b"K\x04\x85", b"K\x01\x85")),
        Entry::stored("a/data/0", &[0; 15]),
    ]);
    assert!(damage(short).contains("storage `0`"));
}

/// Lists of lists by the memo: a few bytes that stand for 2^n values.
fn laughs(levels: usize) -> Vec<u8> {
    let mut pickle = b"\x80\x02]q\x00K\x01a0".to_vec();
    for level in 0..levels as u8 {
        pickle.extend([
            b']',
            b'q',
            level + 1,
            b'(',
            b'h',
            level,
            b'h',
            level,
            b'e',
            b'0',
        ]);
    }
    pickle.extend([b'h', levels as u8, b'.']);
    pickle
}

#[test]
fn small_files_that_stand_for_large_values() {
    assert!(TensorFile::from_bytes(archive_of(&laughs(3)), "model.pt").is_ok());
    assert!(matches!(
        refusal(archive_of(&laughs(60))),
        CheckpointError::Excess { .. }
    ));
    // A list in itself.
    assert!(matches!(
        refusal(archive_of(b"\x80\x02]q\x00h\x00a.")),
        CheckpointError::Excess { .. }
    ));
    // Nesting far beyond any stack.
    let deep = [
        b"\x80\x02K\x01".to_vec(),
        vec![0x85; 1_000_000],
        b".".to_vec(),
    ]
    .concat();
    assert!(matches!(
        refusal(archive_of(&deep)),
        CheckpointError::Excess { .. }
    ));
    // A dict copied from one list again and again.
    let mut copies = b"\x80\x02](".to_vec();
    for _ in 0..200 {
        copies.extend(b"X\x01\0\0\0aK\x01\x86");
    }
    copies.extend(b"eq\x00ccollections\nOrderedDict\nq\x01(");
    for _ in 0..200 {
        copies.extend(b"h\x01h\x00\x85R");
    }
    copies.extend(b"t.");
    assert!(matches!(
        refusal(archive_of(&copies)),
        CheckpointError::Excess { .. }
    ));
    // A long text in many places, each of which would get a copy.
    let mut texts = b"\x80\x02]q\x00(X\x00\x00\x01\x00".to_vec();
    texts.extend(vec![b'a'; 1 << 16]);
    texts.extend(b"q\x01".iter().chain(&b"h\x01".repeat(1_100)).chain(b"e."));
    assert!(matches!(
        refusal(archive_of(&texts)),
        CheckpointError::Excess { .. }
    ));
    // A memo number that a vector would be made for.
    assert!(TensorFile::from_bytes(archive_of(b"\x80\x02}r\xff\xff\xff\xff."), "model.pt").is_ok());
    assert!(matches!(
        refusal(archive_of(b"\x80\x02B\xff\xff\xff\xff.")),
        CheckpointError::Truncated { .. }
    ));
}

#[test]
fn broken_machines() {
    for pickle in [
        &b"\x80\x02."[..],
        b"\x80\x02t.",
        b"\x80\x02(K\x01\x86.",
        b"\x80\x02h\x07.",
        b"\x80\x02}K\x01K\x02a.",
        b"\x80\x02\xff.",
    ] {
        let detail = damage(archive_of(pickle));
        assert!(!detail.is_empty());
    }
    let twice = b"\x80\x02}(X\x01\0\0\0aK\x01X\x01\0\0\0aK\x02u.";
    assert!(damage(archive_of(twice)).contains("two values"));
}

#[test]
fn archives_that_lie() {
    let pickle = Entry::stored("a/data.pkl", &tensor(b"K\x00", b"K\x04\x85", b"K\x01\x85"));
    let data = Entry::stored("a/data/0", &[0; 16]);
    let cases: [(&str, Vec<Entry>); 8] = [
        (
            "named `a/data/0`",
            vec![pickle.clone(), data.clone(), data.clone()],
        ),
        ("no entry `data/0`", vec![pickle.clone()]),
        (
            "two data.pkl",
            vec![
                pickle.clone(),
                data.clone(),
                Entry {
                    name: "b/data.pkl".into(),
                    ..pickle.clone()
                },
            ],
        ),
        (
            "does not lie before",
            vec![
                pickle.clone(),
                Entry {
                    claimed_size: Some(1 << 30),
                    ..data.clone()
                },
            ],
        ),
        (
            "does not lie before",
            vec![
                pickle.clone(),
                Entry {
                    claimed_start: Some(1 << 30),
                    ..data.clone()
                },
            ],
        ),
        (
            "directories differ",
            vec![
                pickle.clone(),
                Entry {
                    claimed_start: Some(3),
                    ..data.clone()
                },
            ],
        ),
        (
            "no plain path",
            vec![
                pickle.clone(),
                data.clone(),
                Entry::stored("../../etc/passwd", b"x"),
            ],
        ),
        (
            "no plain path",
            vec![
                pickle.clone(),
                data.clone(),
                Entry::stored("/etc/passwd", b"x"),
            ],
        ),
    ];
    for (expected, entries) in cases {
        let detail = damage(archive(&entries));
        assert!(detail.contains(expected), "{expected}: {detail}");
    }
    // The first entry swallows the second one.
    let inner = archive(std::slice::from_ref(&data));
    let shared = Entry {
        claimed_size: Some(inner.len() as u32),
        ..Entry::stored("a/x", b"")
    };
    assert!(damage(archive(&[shared, data.clone(), pickle.clone()])).contains("overlap"));
    let bomb = Entry {
        method: 8,
        ..Entry::stored("a/data/0", &[1; 9])
    };
    let error = refusal(archive(&[pickle.clone(), bomb])).to_string();
    assert!(
        error.contains("compression") && error.contains("zip -0"),
        "{error}"
    );
    let locked = Entry {
        flags: 1,
        ..data.clone()
    };
    assert!(
        refusal(archive(&[pickle.clone(), locked]))
            .to_string()
            .contains("encryption")
    );
    let big = Entry::stored("a/byteorder", b"big");
    assert!(
        refusal(archive(&[pickle, data, big]))
            .to_string()
            .contains("big-endian")
    );
    assert!(matches!(
        refusal(archive(&[])),
        CheckpointError::NotWeights { .. }
    ));
}

fn excess(pickle: &[u8]) -> &'static str {
    match refusal(archive_of(pickle)) {
        CheckpointError::Excess { what, .. } => what,
        other => panic!("expected an excess: {other}"),
    }
}

/// Six bytes a turn, for a copy of a shape of 64 numbers.
#[test]
fn a_tensor_rebuilt_again_and_again() {
    let ones = [&b"("[..], &b"K\x01".repeat(64), b"t"].concat();
    let start = [
        b"\x80\x02ctorch._utils\n_rebuild_tensor\nq\0(",
        STORAGE,
        b"K\0",
        &ones,
        &ones,
        b"tq\x01",
    ]
    .concat();
    let pickle = [&start[..], &b"h\0h\x01R0".repeat(100_000), b"."].concat();
    assert_eq!(excess(&pickle), "copies of values in a pickle");
    // As often as torch itself would need bytes for, it is believed.
    let pickle = [
        &start[..],
        &b"h\0h\x01R0".repeat(2),
        &b"N0".repeat(200),
        b"N.",
    ]
    .concat();
    assert!(TensorFile::from_bytes(archive_of(&pickle), "model.pt").is_ok());
}

#[test]
fn marks_stack_and_memo_have_bounds() {
    assert_eq!(
        excess(&[&b"\x80\x02"[..], &b"(".repeat(1_000_001), b"."].concat()),
        "open marks in a pickle"
    );
    let full = 8_000_001;
    assert_eq!(
        excess(&[&b"\x80\x02N"[..], &b"2".repeat(full), b"."].concat()),
        "values on a pickle's stack"
    );
    assert_eq!(
        excess(&[&b"\x80\x04N"[..], &b"\x94".repeat(full), b"."].concat()),
        "values in a pickle's memo"
    );
}

/// Lists of lists of lists: a leaf for every way through them.
#[test]
fn leaves_have_a_bound() {
    let level = |inner: u8, own: u8| {
        let items = [b'h', inner].repeat(250);
        [&b"("[..], &items, &[b'l', b'q', own, b'0']].concat()
    };
    let pickle = [
        &b"\x80\x02Nq\0"[..],
        &level(0, 1),
        &level(1, 2),
        &level(2, 3),
        b"h\x03",
        // 16 million of them. The bound on visits counts the pickle's bytes.
        &b"N0".repeat(3_000_000),
        b".",
    ]
    .concat();
    assert_eq!(excess(&pickle), "tensors and other values");
}

#[test]
fn nothing_may_lie_anywhere() {
    let file = archive_of(&tensor(
        b"\x8a\x08\0\0\0\0\0\0\0\x40",
        b"K\0\x85",
        b"K\x01\x85",
    ));
    let file = TensorFile::from_bytes(file, "model.pt").unwrap();
    assert!(file.bytes("tensor").unwrap().is_empty());
}

#[test]
fn cut_short_anywhere() {
    for name in [
        "views_protocol2.pt",
        "views_legacy.pt",
        "script.pt",
        "dtypes.safetensors",
    ] {
        let whole = std::fs::read(fixture(name)).unwrap();
        for length in 1..whole.len() {
            let error = refusal(whole[..length].to_vec());
            if length > 40 {
                assert!(
                    matches!(error, CheckpointError::Truncated { .. }),
                    "{name} at {length}: {error}"
                );
                assert!(error.to_string().contains("download"), "{error}");
            }
        }
    }
    let error = TensorFile::from_bytes(Vec::new(), "model.pt")
        .unwrap_err()
        .to_string();
    assert_eq!(error, "model.pt: is empty (0 bytes); download it again");
}

#[test]
fn one_wrong_byte_never_panics() {
    for name in [
        "views_protocol4.pt",
        "script.pt",
        "trainer_legacy.pt",
        "dtypes.safetensors",
    ] {
        let whole = std::fs::read(fixture(name)).unwrap();
        for at in 0..whole.len() {
            let mut wrong = whole.clone();
            wrong[at] ^= 0x41;
            let _ = TensorFile::from_bytes(wrong, "model.pt");
        }
    }
}

fn safetensors(header: &str, data: usize) -> Vec<u8> {
    [
        &(header.len() as u64).to_le_bytes(),
        header.as_bytes(),
        &vec![0; data],
    ]
    .concat()
}

#[test]
fn safetensors_headers() {
    let one = |name: &str, start: usize, end: usize| {
        format!(r#""{name}":{{"dtype":"F32","shape":[1],"data_offsets":[{start},{end}]}}"#)
    };
    let (a, b) = (one("a", 0, 4), one("b", 4, 8));
    assert!(TensorFile::from_bytes(safetensors(&format!("{{{a},{b}}}"), 8), "model.pt").is_ok());
    let broken = [
        ("overlaps", format!("{{{a},{}}}", one("b", 0, 4)), 4),
        ("unused bytes", format!("{{{b}}}"), 8),
        ("4 bytes, 8 are there", format!("{{{a}}}"), 8),
        ("does not parse", format!("{{{a},"), 4),
        (
            "two maps",
            r#"{"__metadata__":{},"__metadata__":{}}"#.to_string(),
            0,
        ),
        (
            "needs 4 bytes and has 8",
            format!("{{{}}}", one("a", 0, 8)),
            8,
        ),
        (
            "ends before it starts",
            format!("{{{}}}", one("a", 4, 0)),
            4,
        ),
        (
            "has the shape",
            r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}}"#.to_string(),
            0,
        ),
        (
            "more than memory",
            format!(
                r#"{{"a":{{"dtype":"F32","shape":[{0},{0}],"data_offsets":[0,0]}}}}"#,
                i64::MAX
            ),
            0,
        ),
    ];
    for (expected, header, data) in broken {
        let detail = damage(safetensors(&header, data));
        assert!(detail.contains(expected), "{expected}: {detail}");
    }
    assert!(matches!(
        refusal(safetensors(&format!("{{{a},{a}}}"), 4)),
        CheckpointError::Duplicate { .. }
    ));
    let unknown = r#"{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}"#;
    assert!(matches!(
        refusal(safetensors(unknown, 1)),
        CheckpointError::Unsupported { .. }
    ));
    assert!(matches!(
        refusal(safetensors(&format!("{{{a},{b}}}"), 7)),
        CheckpointError::Truncated { .. }
    ));
    let mut long = safetensors("{}", 0);
    long[..8].copy_from_slice(&200_000_000u64.to_le_bytes());
    assert!(damage(long).contains("the format allows"));
}

#[test]
fn what_people_have_instead_of_weights() {
    let cases: [(&[u8], &str); 5] = [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
            "git lfs pull",
        ),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"RIFF....WAVEfmt ", "begin with `RIFF"),
        (b"{\"a\": 1}", "an index of shards"),
        (b"\x80\x04}\x94.", "torch.save did not write"),
    ];
    for (bytes, expected) in cases {
        let error = refusal(bytes.to_vec()).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn shards_that_do_not_fit_their_index() {
    let folder = tempfile::tempdir().unwrap();
    let index_path = folder.path().join("model.safetensors.index.json");
    let shard = safetensors(
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
        4,
    );
    std::fs::write(folder.path().join("one.safetensors"), &shard).unwrap();
    let open = |weight_map: &str| {
        std::fs::write(&index_path, format!(r#"{{"weight_map":{weight_map}}}"#)).unwrap();
        TensorFile::open(&index_path).map_err(|error| error.to_string())
    };
    assert!(open(r#"{"a":"one.safetensors"}"#).is_ok());
    let cases = [
        (
            r#"{"a":"one.safetensors","b":"one.safetensors"}"#,
            "one.safetensors: is damaged or forged: the index promises tensor `b`",
        ),
        (
            r#"{"a":"one.safetensors","b":"two.safetensors"}"#,
            "two.safetensors: cannot be opened",
        ),
        (r#"{"a":"../one.safetensors"}"#, "not one beside it"),
        (r#"{"a":"/etc/passwd"}"#, "not one beside it"),
    ];
    for (weight_map, expected) in cases {
        let error = open(weight_map).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn files_that_cannot_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("absent.pt"), folder.path().to_owned()] {
        let error = TensorFile::open(&path).unwrap_err().to_string();
        assert!(
            error.starts_with(&path.display().to_string()) && error.contains("cannot be opened"),
            "{error}"
        );
    }
}

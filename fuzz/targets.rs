//! What is fuzzed: for each parser a function that takes any bytes and panics where something does not hold.
//!
//! Who calls it: the libFuzzer program beside this file, and `tests/corpus.rs`, which runs every file of the corpus through its target.

use std::error::Error;
use std::fs;
use std::iter::once;

use bytes::Bytes;
use hark::audio::pcm::PcmFormat;
use hark::audio::wav::{WavError, WavHeader};
use hark::audio::{AudioError, AudioSpec, Encoding, Intake, sniff};
use hark::config::Config;
use hark::model::lm::NgramModel;
use hark::model::manifest::Manifest;
use hark::model::{archive, store};
use hark::text::paragraphs::paragraphs;
use hark::text::redact::{Memory, Stage};
use hark::text::rewrite::Rewrite;
use hark::text::unfinished::unfinished;
use hark::text::words::Word;
use hark::units::{Hz, Samples};
use hark::wire::changes::{Format, REDACTIONS, WordChanges};
use hark::wire::control::ClientMessage;
use hark::wire::query::{AnswerFormat, ListenOptions, parse_file, parse_live};
use hark::wire::results;
use sha2::{Digest, Sha256};

/// A parser and what holds of it for any bytes.
pub(crate) struct Target {
    /// Name of its folder in the corpus.
    pub(crate) name: &'static str,
    /// Runs it; true: the bytes were taken, false: they were refused.
    pub(crate) run: fn(&[u8]) -> bool,
}

/// All of them.
pub(crate) const TARGETS: &[Target] = &[
    target("checkpoint", checkpoint),
    target("config", config),
    target("control", control),
    target("live", live),
    target("lm_arpa", lm_arpa),
    target("lm_binary", lm_binary),
    target("manifest", manifest),
    target("model_config", model_config),
    target("nemo", nemo),
    target("opus_packets", opus_packets),
    target("pickle", pickle),
    target("query", query),
    target("tokenizer", tokenizer),
    target("upload", upload),
    target("wav_header", wav_header),
    target("weights", weights),
    target("words", words),
];

const fn target(name: &'static str, run: fn(&[u8]) -> bool) -> Target {
    Target { name, run }
}

/// Samples of a lane after which no more are asked for: 30 s. A small file may stand for hours, which the product limits too.
const LONGEST: usize = 480_000;
/// Words of a text at most.
const MOST_WORDS: usize = 400;

/// The members of a published checkpoint that is as small as one can be.
const MODEL_CONFIG: &[u8] = include_bytes!("corpus/model_config/tiny.yaml");
const TOKENIZER: &[u8] = include_bytes!("corpus/tokenizer/tiny.model");
const CHECKPOINT: &[u8] = include_bytes!("corpus/checkpoint/tiny.ckpt");

/// A file as it is uploaded: container, codec, resampling.
fn upload(data: &[u8]) -> bool {
    let spec = AudioSpec {
        encoding: None,
        rate: None,
        channels: 1,
        multichannel: true,
        whole: true,
    };
    let lanes = decode(spec, once(data), 16_000);
    taken(lanes.inspect(|lanes| assert!(lanes.iter().flatten().all(|sample| sample.is_finite()))))
}

/// A live stream: however it is split and however much is asked for at a time, the samples are the same, or the refusal.
fn live(data: &[u8]) -> bool {
    let Some((&[kind, short, long, pull], audio)) = data.split_first_chunk::<4>() else {
        return false;
    };
    let (encoding, rate, channels) = match kind % 8 {
        1 => (Some(Encoding::Linear16), 8_000, 1),
        2 => (Some(Encoding::Linear32), 44_100, 2),
        3 => (Some(Encoding::Mulaw), 8_000, 2),
        4 => (Some(Encoding::Alaw), 11_025, 3),
        5 => (Some(Encoding::Flac), 16_000, 1),
        6 => (Some(Encoding::OggOpus), 48_000, 1),
        _ => (None, 16_000, 1),
    };
    let spec = AudioSpec {
        encoding,
        rate: Some(Hz(rate)),
        channels,
        multichannel: kind >= 128,
        whole: false,
    };
    let cuts = [1 + usize::from(short), 1 + 32 * usize::from(long)];
    let whole = decode(spec, once(audio), LONGEST).map(bits);
    let split = decode(spec, pieces(audio, cuts), 1 + 64 * usize::from(pull)).map(bits);
    assert!(whole == split, "not as without splitting");
    taken(whole)
}

/// Everything that the pieces hold, or the first [`LONGEST`] samples, asked for `pull` at a time.
fn decode<'a>(spec: AudioSpec, pieces: impl Iterator<Item = &'a [u8]>, pull: usize) -> Result<Vec<Vec<f32>>, AudioError> {
    let (mut intake, mut lanes) = (Intake::new(spec)?, Vec::new());
    for piece in pieces {
        intake.push(Bytes::copy_from_slice(piece));
        drain(&mut intake, pull, &mut lanes)?;
    }
    intake.close();
    drain(&mut intake, pull, &mut lanes)?;
    Ok(lanes)
}

fn drain(intake: &mut Intake, pull: usize, lanes: &mut Vec<Vec<f32>>) -> Result<(), AudioError> {
    loop {
        let room = LONGEST.saturating_sub(lanes.first().map_or(0, Vec::len));
        if room == 0 || intake.pull(pull.min(room), lanes)? == 0 {
            return Ok(());
        }
    }
}

/// Pieces of two lengths in turn.
fn pieces(bytes: &[u8], lengths: [usize; 2]) -> impl Iterator<Item = &[u8]> {
    let mut lengths = lengths.into_iter().cycle();
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (now, later) = rest.split_at(rest.len().min(lengths.next()?));
        rest = later;
        (!now.is_empty()).then_some(now)
    })
}

/// Samples up to [`LONGEST`], to be compared bit by bit.
fn bits(lanes: Vec<Vec<f32>>) -> Vec<Vec<u32>> {
    let lane = |lane: Vec<f32>| lane.into_iter().take(LONGEST).map(f32::to_bits).collect();
    lanes.into_iter().map(lane).collect()
}

/// The header of a WAV file, whole and in pieces of one length (the first byte).
fn wav_header(data: &[u8]) -> bool {
    let Some((&cut, bytes)) = data.split_first() else { return false };
    let whole = header(once(bytes));
    let split = header(bytes.chunks(1 + usize::from(cut)));
    assert_eq!(whole, split);
    taken(whole.and_then(|(_, format, _)| format.ok_or(WavError::Truncated)))
}

/// Bytes up to the samples, the format if the header is whole and has one, and the bytes of samples.
type Header = (usize, Option<PcmFormat>, Option<u64>);

fn header<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<Header, WavError> {
    let (mut header, mut count) = (WavHeader::default(), 0);
    for piece in pieces.filter(|piece| !piece.is_empty()) {
        if header.is_complete() {
            break;
        }
        count += header.feed(piece)?;
    }
    let format = header.is_complete().then(|| header.format().ok()).flatten();
    Ok((count, format, header.data_bytes()))
}

/// Opus without a container: a byte for the channels, then packets behind their lengths.
fn opus_packets(data: &[u8]) -> bool {
    let Some((&channels, mut rest)) = data.split_first() else {
        return false;
    };
    let spec = AudioSpec {
        encoding: Some(Encoding::Opus),
        rate: Some(Hz(16_000)),
        channels: 1 + u16::from(channels % 2),
        multichannel: channels >= 128,
        whole: false,
    };
    let (mut intake, mut lanes) = (Intake::new(spec).expect("one or two channels"), Vec::new());
    while let Some((&length, after)) = rest.split_first() {
        let (packet, later) = after.split_at(after.len().min(usize::from(length)));
        rest = later;
        if packet.is_empty() {
            continue;
        }
        if sniff::opus_container(packet).is_some() {
            // As the first one it would be read as a container, which is what `live` is for.
            return false;
        }
        intake.push(Bytes::copy_from_slice(packet));
        match intake.pull(LONGEST, &mut lanes) {
            // 120 ms.
            Ok(samples) => assert!(samples <= 1_920, "{samples} samples of a packet"),
            Err(error) => return taken(Err::<(), _>(error)),
        }
        lanes.iter_mut().for_each(|lane| {
            assert!(lane.iter().all(|sample| sample.abs() <= 1.0));
            lane.clear();
        });
    }
    intake.lanes().is_some()
}

/// A query string, for a live stream and for a file.
fn query(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    AnswerFormat::accepted(&text);
    let read = [parse_live(&text), parse_file(&text)].map(|options| taken(options.inspect(within_limits)));
    read.contains(&true)
}

fn within_limits(options: &ListenOptions) {
    assert!((1..=20).contains(&options.audio.channels));
    let rate = options.audio.sample_rate;
    assert!(rate.is_none_or(|rate| (8_000..=48_000).contains(&rate.0)));
    assert!(options.terms().all(|(_, weight)| weight.is_finite()));
    assert!(options.utt_split.is_none_or(f64::is_finite));
    Rewrite::new(&options.changes, options.punctuate);
}

/// A live client's text message. What is refused comes back, cut short.
fn control(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let message = ClientMessage::parse(&text);
    taken(message.inspect_err(|error| assert!(error.message.len() <= 1_024 && text.starts_with(&error.message))))
}

/// A published archive: tar or gzipped tar.
fn nemo(data: &[u8]) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.nemo");
    fs::write(&path, data).expect("a file");
    taken(archive::read(&path))
}

/// The zip container of the weights.
fn checkpoint(data: &[u8]) -> bool {
    members(MODEL_CONFIG, TOKENIZER, data)
}

/// The settings of a published archive.
fn model_config(data: &[u8]) -> bool {
    members(data, TOKENIZER, CHECKPOINT)
}

/// The SentencePiece model of a published archive.
fn tokenizer(data: &[u8]) -> bool {
    members(MODEL_CONFIG, data, CHECKPOINT)
}

/// The pickle that describes the tensors, in a container with 1 KiB of them.
fn pickle(data: &[u8]) -> bool {
    checkpoint(&zip(&[("a/data.pkl", data), ("a/byteorder", b"little"), ("a/data/0", &[0; 1_024])]))
}

/// A published checkpoint as a folder of its members.
fn members(config: &[u8], tokenizer: &[u8], checkpoint: &[u8]) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in [
        ("model_config.yaml", config),
        ("tiny_tokenizer.model", tokenizer),
        ("model_weights.ckpt", checkpoint),
    ] {
        fs::write(folder.path().join(name), bytes).expect("a file");
    }
    taken(archive::read(folder.path()))
}

/// A zip container of stored members.
fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let number = |length: usize| u32::try_from(length).expect("a short member").to_le_bytes();
    let short = |length: usize| u16::try_from(length).expect("a short name").to_le_bytes();
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let header = number(file.len());
        let lengths = [number(0), number(bytes.len()), number(bytes.len())].concat();
        let names = [short(name.len()), short(0)].concat();
        // Versions, flags, method, time: all zero; so are comment, disk and attributes.
        file.extend([b"PK\x03\x04".as_slice(), &[0; 10], &lengths, &names, name.as_bytes(), bytes].concat());
        directory.extend(
            [
                b"PK\x01\x02".as_slice(),
                &[0; 12],
                &lengths,
                &names,
                &[0; 10],
                &header,
                name.as_bytes(),
            ]
            .concat(),
        );
    }
    let count = short(members.len());
    let (length, at) = (number(directory.len()), number(file.len()));
    file.extend([directory.as_slice(), b"PK\x05\x06\0\0\0\0", &count, &count, &length, &at, &[0; 2]].concat());
    file
}

/// A model folder's weights: two bytes for how many bytes of values, then the header; the values are zeros.
fn weights(data: &[u8]) -> bool {
    let Some((&count, header)) = data.split_first_chunk::<2>() else {
        return false;
    };
    let length = u64::try_from(header.len()).expect("a short header").to_le_bytes();
    let file = [length.as_slice(), header, &vec![0_u8; usize::from(u16::from_le_bytes(count))]].concat();
    let vocabulary = "a\nb\n";
    let manifest = include_str!("corpus/manifest/tiny.toml")
        .replace(&"0".repeat(64), &sha256(&file))
        .replace(&"1".repeat(64), &sha256(vocabulary.as_bytes()));
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in [
        ("model.toml", manifest.as_bytes()),
        ("vocab.txt", vocabulary.as_bytes()),
        ("weights.safetensors", file.as_slice()),
    ] {
        fs::write(folder.path().join(name), bytes).expect("a file");
    }
    taken(store::load(folder.path()))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A `model.toml`. What was read can be written, and is then read as the same.
fn manifest(data: &[u8]) -> bool {
    let manifest = Manifest::parse(&String::from_utf8_lossy(data));
    taken(manifest.inspect(|manifest| {
        let again = Manifest::parse(&manifest.write().expect("what was read can be written"));
        assert_eq!(&again.expect("what was written can be read"), manifest);
    }))
}

/// A language model in its compact form; the checksum is set right, or no damage would come past it.
fn lm_binary(data: &[u8]) -> bool {
    let mut bytes = data.to_vec();
    if let Some((head, rest)) = bytes.split_at_mut_checked(40) {
        head[8..].copy_from_slice(&Sha256::digest(&*rest));
    }
    taken(NgramModel::from_vec(bytes).inspect(ask))
}

/// A language model as ARPA text. The compact form of what was read can be read.
fn lm_arpa(data: &[u8]) -> bool {
    let model = NgramModel::from_arpa(data);
    taken(model.inspect(|model| {
        ask(model);
        NgramModel::from_vec(model.as_bytes().to_vec()).expect("what was written can be read");
    }))
}

/// Asks a language model about its words in a row: every answer is a number.
fn ask(model: &NgramModel) {
    let mut state = model.start();
    for word in (0..).take(model.count(1).min(MOST_WORDS)) {
        let (probability, next) = model.score(&state, word);
        assert!(probability.is_finite() && model.end(&next).is_finite());
        state = next;
    }
    assert!(model.score_unknown(&state).0.is_finite());
    let lexicon = model.lexicon();
    if let Some(prefix) = lexicon.advance(lexicon.root(), b"a") {
        assert!(
            lexicon
                .word(prefix)
                .is_none_or(|word| usize::try_from(word).is_ok_and(|word| word < model.count(1)))
        );
        assert!(!lexicon.best(prefix).is_nan());
    }
}

/// A configuration file, ours or a compatible one. What was read can be printed.
fn config(data: &[u8]) -> bool {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), data).expect("a file");
    let env = [("NAME".to_owned(), "value".to_owned())];
    let config = Config::load(Some(file.path()), env.into_iter());
    taken(config.inspect(|(config, _)| drop(config.to_toml_redacted().expect("what was read can be printed"))))
}

/// Words as a client wants to see them, of a file and of a stream: bits for what is changed, a byte for what is redacted, one for where the
/// first final ends, then the words. They stay in order, and within the time that they were said in.
fn words(data: &[u8]) -> bool {
    let Some((&[changed, redacted, first], text)) = data.split_first_chunk::<3>() else {
        return true;
    };
    let is = |bit: u8| changed & (1 << bit) != 0;
    let replace = [("new york", "the big apple"), ("please", ""), ("Five", "5")];
    let changes = WordChanges {
        filler_words: is(0),
        format: Format {
            numerals: is(1),
            smart: is(2),
            measurements: is(3),
            dictation: is(4),
        },
        profanity_filter: is(5),
        redact: REDACTIONS
            .get(usize::from(redacted))
            .map(|name| (*name).to_owned())
            .into_iter()
            .collect(),
        asterisks: first % 2 == 1,
        replace: replace
            .iter()
            .filter(|_| is(6))
            .map(|(find, with)| ((*find).to_owned(), (*with).to_owned()))
            .collect(),
        search: vec!["phone number".to_owned(), "x".to_owned()],
        entities: redacted % 2 == 0,
    };
    let text = String::from_utf8_lossy(text);
    let words: Vec<Word> = (0_u64..).zip(text.split_whitespace().take(MOST_WORDS)).map(said).collect();
    let rewrite = Rewrite::new(&changes, is(7));
    let whole = rewrite.shown(&words, &mut Memory::default(), Stage::Whole).words;
    let sentences = paragraphs(&whole).paragraphs;
    assert_eq!(sentences.iter().map(|paragraph| paragraph.num_words).sum::<usize>(), whole.len());
    assert!(unfinished(&words) <= words.len());
    in_order(&words, &whole);
    if (changed | 0x81, redacted) == (0x81, 255) && is(0) {
        assert_eq!(whole.len(), words.len());
    }
    let (final_words, rest) = words.split_at(words.len().min(usize::from(first)));
    let mut memory = Memory::default();
    let mut shown = rewrite.shown(final_words, &mut memory, Stage::Final).words;
    in_order(final_words, &shown);
    in_order(rest, &rewrite.shown(rest, &mut memory.clone(), Stage::Interim).words);
    shown.extend(rewrite.shown(rest, &mut memory, Stage::Final).words);
    in_order(&words, &shown);
    true
}

/// A word of 400 ms, with a pause of 100 ms behind it.
fn said((index, text): (u64, &str)) -> Word {
    Word {
        text: text.to_owned(),
        start: Samples(index * 8_000),
        end: Samples(index * 8_000 + 6_400),
        confidence: 0.9,
        first: 0,
    }
}

fn in_order(said: &[Word], shown: &[results::Word]) {
    let mut before = said.first().map_or(0.0, |word| word.start.seconds());
    for word in shown {
        assert!(
            before <= word.start.0 && word.start.0 <= word.end.0,
            "{word:?} does not follow {before}"
        );
        assert!((0.0..=1.0).contains(&word.confidence));
        before = word.end.0;
    }
    let end = said.last().map_or(0.0, |word| word.end.seconds());
    assert!(shown.is_empty() || before <= end, "{before} s is behind the last word");
}

/// Whether the bytes were taken. A refusal has words.
fn taken<T, E: Error>(result: Result<T, E>) -> bool {
    if let Err(error) = &result {
        assert!(!error.to_string().is_empty());
    }
    result.is_ok()
}

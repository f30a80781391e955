//! A session with an engine that says numbered words wherever there is sound, so that each can be followed to its result.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, LazyLock};

use uuid::Uuid;

use super::super::*;
use crate::audio::Encoding;
use crate::engine::batch::Token;
use crate::units::{Frames, Hz};
use crate::wire::models::{ModelInfo, ModelRef};
use crate::wire::query::parse_live;
use crate::wire::results::Results;

const FRAME: usize = 1_280;
/// Tokens that the toy vocabulary has; an engine that says more begins anew.
const PIECES: u32 = 4_000;

/// Token `n` is the piece `w<n>` and begins a word, except every third, which goes on with one.
pub(super) struct Numbers(Vec<String>);

impl Vocabulary for Numbers {
    fn piece(&self, id: u32) -> Option<&str> {
        self.0.get(id as usize).map(String::as_str)
    }

    fn starts_word(&self, id: u32) -> bool {
        !id.is_multiple_of(3)
    }

    fn is_special(&self, _: u32) -> bool {
        false
    }
}

/// The tokens are these words, in order and again and again.
pub(super) struct Says(pub(super) &'static [&'static str]);

impl Vocabulary for Says {
    fn piece(&self, id: u32) -> Option<&str> {
        self.0.get(id as usize % self.0.len()).copied()
    }

    fn starts_word(&self, _: u32) -> bool {
        true
    }

    fn is_special(&self, _: u32) -> bool {
        false
    }
}

pub(super) fn numbers() -> Arc<Numbers> {
    static NUMBERS: LazyLock<Arc<Numbers>> = LazyLock::new(|| Arc::new(Numbers((0..PIECES).map(|id| format!("w{id}")).collect())));
    Arc::clone(&NUMBERS)
}

/// The engine of one lane. The token of the newest frame is a guess until the next chunk.
#[derive(Default)]
struct Fake {
    samples: Vec<f32>,
    frames: usize,
    said: u32,
    held: Vec<Token>,
}

impl Fake {
    fn step(&mut self, chunk: &PendingChunk, right: usize, every: usize) -> Decoded {
        if chunk.start {
            self.samples.clear();
            self.frames = 0;
            assert!(self.held.is_empty(), "the utterance before was not ended");
            assert!(chunk.end || chunk.samples.len() == FRAME * right + 200, "length of a first chunk");
        } else {
            assert!(chunk.end || chunk.samples.len() == FRAME * (right + 1), "length of a later chunk");
        }
        self.samples.extend(&chunk.samples);
        let ready = if chunk.end {
            self.samples.len().div_ceil(FRAME)
        } else {
            (self.samples.len() - 200) / FRAME + 1
        };
        let mut fixed = std::mem::take(&mut self.held);
        let mut tail = Vec::new();
        for frame in self.frames..ready {
            let sound = &self.samples[frame * FRAME..((frame + 1) * FRAME).min(self.samples.len())];
            let loud = sound.iter().any(|sample| sample.abs() > 0.05);
            if loud && frame.is_multiple_of(every) {
                let (start, end) = (Frames(frame as u32), Frames(frame as u32 + 1));
                let token = Token {
                    id: self.said % PIECES,
                    start,
                    end,
                    confidence: 0.5 + 0.1 * (self.said % 5) as f32,
                };
                self.said += 1;
                if frame + 1 == ready && !chunk.commit {
                    &mut tail
                } else {
                    &mut fixed
                }
                .push(token);
            }
        }
        self.frames = self.frames.max(ready);
        self.held.clone_from(&tail);
        Decoded {
            fixed,
            tail,
            frames: Frames(self.frames as u32),
            utterance_ends: Vec::new(),
        }
    }
}

/// A session, its engine, and what came out.
pub(super) struct Rig {
    pub(super) session: Session,
    pub(super) now: Instant,
    pub(super) sent: Vec<ServerMessage>,
    pub(super) closed: Option<(u16, String)>,
    pub(super) reads: Vec<bool>,
    pub(super) lanes_opened: Option<usize>,
    pub(super) latencies: Vec<f64>,
    pub(super) commits: usize,
    /// The terms of each chunk submitted.
    pub(super) terms: Vec<Option<Arc<Terms>>>,
    /// Chunks that the engine has not answered.
    pub(super) waiting: VecDeque<(usize, PendingChunk)>,
    /// The engine answers at once.
    pub(super) prompt: bool,
    engines: Vec<Fake>,
    right: usize,
    pub(super) every: usize,
}

impl Rig {
    /// A live stream with 16-bit samples at 16 kHz and these further parameters.
    pub(super) fn new(query: &str) -> Self {
        Self::with_rules(&format!("encoding=linear16&sample_rate=16000&{query}"), LiveRules::default())
    }

    pub(super) fn with_rules(query: &str, rules: LiveRules) -> Self {
        Self::with_vocabulary(query, rules, numbers())
    }

    /// As [`Rig::new`], with an engine that says these words.
    pub(super) fn saying(words: &'static [&'static str], query: &str) -> Self {
        let query = format!("encoding=linear16&sample_rate=16000&{query}");
        Self::with_vocabulary(&query, LiveRules::default(), Arc::new(Says(words)))
    }

    pub(super) fn with_vocabulary(query: &str, rules: LiveRules, vocabulary: Arc<dyn Vocabulary + Send + Sync>) -> Self {
        let options = parse_live(query).unwrap();
        let declared = options.audio;
        let encoding = declared.encoding.map(|encoding| Encoding::parse(encoding.name()).unwrap());
        let spec = AudioSpec {
            encoding,
            rate: declared.sample_rate,
            channels: declared.channels,
            whole: false,
            multichannel: declared.multichannel,
        };
        let info = StreamInfo {
            request_id: Uuid::from_u128(7),
            created: "2026-01-01T00:00:00.000Z".into(),
            model: ModelRef {
                uuid: Uuid::from_u128(8),
                info: ModelInfo {
                    name: "n".into(),
                    version: "v".into(),
                    arch: "a".into(),
                },
            },
            favours: true,
            lm: Some(2),
            english: options.language.as_deref().is_none_or(|language| language == "en"),
        };
        let now = Instant::now();
        let session = Session::new(options, spec, info, rules, vocabulary, now).unwrap();
        Self {
            session,
            now,
            sent: Vec::new(),
            closed: None,
            reads: Vec::new(),
            lanes_opened: None,
            latencies: Vec::new(),
            commits: 0,
            terms: Vec::new(),
            waiting: VecDeque::new(),
            prompt: true,
            engines: Vec::new(),
            right: rules.right as usize,
            every: 3,
        }
    }

    fn event(&mut self, event: impl FnOnce(&mut Session, Instant, &mut Vec<Effect>)) {
        let mut effects = Vec::new();
        event(&mut self.session, self.now, &mut effects);
        self.carry_out(effects);
        if self.prompt {
            while self.answer() {}
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            assert!(self.closed.is_none(), "nothing follows the close: {effect:?}");
            match effect {
                Effect::Send(message) => self.sent.push(message),
                Effect::Submit { lane, chunk } => {
                    assert!(self.lanes_opened.is_some_and(|lanes| lane < lanes), "lanes are announced first");
                    self.commits += usize::from(chunk.commit && !chunk.end);
                    self.terms.push(chunk.terms.clone());
                    assert_eq!(chunk.lm, Some(2), "every chunk says which language model");
                    self.waiting.push_back((lane, chunk));
                }
                Effect::Read(on) => self.reads.push(on),
                Effect::OpenLanes(lanes) => {
                    assert_eq!(self.lanes_opened.replace(lanes), None);
                    self.engines.resize_with(lanes, Fake::default);
                }
                Effect::Close(reason) => self.closed = Some((reason.code(), reason.text().to_owned())),
                Effect::ObserveLatency { seconds } => self.latencies.push(seconds),
            }
        }
    }

    /// The engine answers the oldest chunk.
    pub(super) fn answer(&mut self) -> bool {
        let Some((lane, chunk)) = self.waiting.pop_front() else {
            return false;
        };
        let decoded = self.engines[lane].step(&chunk, self.right, self.every);
        let mut effects = Vec::new();
        self.session.on_decoded(lane, chunk.seq, decoded, self.now, &mut effects);
        self.carry_out(effects);
        true
    }

    pub(super) fn bytes(&mut self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        self.event(|session, now, out| session.on_audio(bytes, now, out));
    }

    /// Sends samples in messages of 50 ms, in real time.
    pub(super) fn audio(&mut self, samples: &[f32]) {
        for samples in samples.chunks(800) {
            self.pass(Duration::from_millis(50));
            self.bytes(pcm(samples));
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        self.event(|session, now, out| session.on_text(text, now, out));
    }

    pub(super) fn finalize(&mut self) {
        self.text(r#"{"type":"Finalize"}"#);
    }

    pub(super) fn close(&mut self) {
        self.text(r#"{"type":"CloseStream"}"#);
    }

    pub(super) fn going_away(&mut self) {
        self.event(|session, now, out| session.on_going_away(now, out));
    }

    pub(super) fn engine_fails(&mut self) {
        self.event(|session, _, out| session.on_engine_failed(out));
    }

    /// Lets time pass; ticks come when they are due.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(tick) = self.session.next_tick().filter(|tick| *tick <= until) {
            self.now = self.now.max(tick);
            let before = self.session.next_tick();
            self.event(|session, now, out| session.on_tick(now, out));
            assert!(
                self.session.next_tick() != before,
                "a tick that changes nothing would come again for ever"
            );
        }
        self.now = until;
    }

    pub(super) fn results(&self) -> Vec<&Results> {
        self.sent
            .iter()
            .filter_map(|message| {
                if let ServerMessage::Results(results) = message {
                    Some(results)
                } else {
                    None
                }
            })
            .collect()
    }

    pub(super) fn finals(&self) -> Vec<&Results> {
        self.results().into_iter().filter(|results| results.is_final).collect()
    }

    /// Everything that finals say, words in order.
    pub(super) fn said(&self) -> Vec<String> {
        self.finals().iter().flat_map(|results| words(results)).collect()
    }

    /// What the engine has said: the pieces joined to words, as long as no segment cuts through one.
    pub(super) fn spoken(&self) -> usize {
        self.engines.iter().map(|engine| engine.said as usize).sum()
    }

    pub(super) fn metadata(&self) -> serde_json::Value {
        let metadata: Vec<&ServerMessage> = self
            .sent
            .iter()
            .filter(|message| matches!(message, ServerMessage::Metadata(_)))
            .collect();
        assert_eq!(metadata.len(), 1, "one Metadata");
        assert_eq!(self.sent.last(), metadata.first().copied(), "Metadata comes last");
        serde_json::from_str(&metadata[0].to_json()).unwrap()
    }

    /// Checks what holds for every stream that has ended, with the vocabulary of numbered words.
    pub(super) fn check(&self) {
        self.check_windows();
        let mut pieces = 0;
        for word in self.said() {
            pieces += word.matches('w').count();
        }
        assert_eq!(pieces, self.spoken(), "each piece is in exactly one final");
    }

    /// Checks the windows and times of every stream that has ended.
    pub(super) fn check_windows(&self) {
        let mut ends: BTreeMap<usize, f64> = BTreeMap::new();
        for results in self.results() {
            let channel = results.channel_index[0];
            let start = *ends.get(&channel).unwrap_or(&0.0);
            assert!(
                (results.start.0 - start).abs() < 1e-9,
                "windows tile: {results:?} should start at {start}"
            );
            let end = results.start.0 + results.duration.0;
            assert!(results.is_final || !(results.speech_final || results.from_finalize), "{results:?}");
            assert!(results.duration.0 <= 10.0 + 1e-9, "{results:?}");
            let mut last = results.start.0;
            for word in &results.channel.alternatives[0].words {
                assert!(
                    last <= word.start.0 + 1e-9 && word.start <= word.end && word.end.0 <= end + 1e-9,
                    "times of {word:?} in {results:?}"
                );
                last = word.end.0;
            }
            if results.is_final {
                ends.insert(channel, end);
            }
        }
        if self.closed.is_some() {
            let duration = self.metadata()["duration"].as_f64().unwrap();
            for end in ends.values() {
                assert!((end - duration).abs() < 0.05, "finals end at {end} of {duration}");
            }
        }
    }
}

pub(super) fn words(results: &Results) -> Vec<String> {
    results.channel.alternatives[0].words.iter().map(|word| word.word.clone()).collect()
}

/// 16-bit samples as bytes.
pub(super) fn pcm(samples: &[f32]) -> Vec<u8> {
    samples
        .iter()
        .flat_map(|sample| ((sample * 32_767.0) as i16).to_le_bytes())
        .collect()
}

/// Noise of this peak, the same every time.
fn noise(samples: usize, peak: f32, seed: u32) -> impl Iterator<Item = f32> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    (0..samples).map(move |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / 8_388_608.0 - 1.0) * peak
    })
}

pub(super) fn silence(ms: usize) -> Vec<f32> {
    noise(ms * 16, 0.001, 1).collect()
}

/// Sound that goes up and down as speech does, with gaps too short to be pauses.
pub(super) fn speech(ms: usize) -> Vec<f32> {
    let sound = |at: usize| if at / 160 % 30 < 24 { 0.3 } else { 0.001 };
    noise(ms * 16, 1.0, 2).enumerate().map(|(at, sample)| sample * sound(at)).collect()
}

/// Sound without any change, as of a fan: no speech to the detector.
pub(super) fn hum(ms: usize) -> Vec<f32> {
    noise(ms * 16, 0.02, 3).collect()
}

pub(super) fn say(parts: &[(&str, usize)]) -> Vec<f32> {
    let part = |&(kind, ms): &(&str, usize)| match kind {
        "speech" => speech(ms),
        "hum" => hum(ms),
        _ => silence(ms),
    };
    parts.iter().flat_map(part).collect()
}

/// A WAV file of 16-bit samples.
pub(super) fn wav(samples: &[f32], rate: Hz, channels: u16) -> Vec<u8> {
    let data = pcm(samples);
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    file.extend(1_u16.to_le_bytes());
    file.extend(channels.to_le_bytes());
    file.extend(rate.0.to_le_bytes());
    file.extend((rate.0 * 2 * u32::from(channels)).to_le_bytes());
    file.extend((2 * channels).to_le_bytes());
    file.extend(16_u16.to_le_bytes());
    file.extend(b"data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file
}

//! A container's reader at work: from the reader of `symphonia` and its decoder to frames.
//!
//! What it does: opens the reader, chooses the track, decodes its packets, and stops where they make no sense any more. What it does not do:
//! get bytes, or wait for anybody but who takes the frames. Who calls it: [`super`], on a thread of its own.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use std::sync::{LazyLock, Weak};

use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::well_known as codecs;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use symphonia::default::formats::{AdtsReader, AiffReader, CafReader, FlacReader, MkvReader, MpaReader, OggReader, WavReader};

use super::super::quicktime::Plain;
use super::super::{AudioError, MAX_CHANNELS};
use super::{End, Format, Frames, Step, undecodable};
use crate::units::Hz;

/// Lowest and highest rate taken from a container.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=192_000;
/// Frames that an AAC encoder puts before the sound, at least: the overlap of its transform (ISO/IEC 14496-3, 4.6.11). Containers tell how
/// many there are in places that the readers do not look at.
const AAC_PRIMING: usize = 1_024;
/// Packets in a row that may be broken or without sound. One without bytes costs a file nothing: there could be any number of them.
const BROKEN_PACKETS: usize = 64;

/// What is read, and how.
pub(super) struct What {
    pub(super) format: Format,
    /// What is known of plain samples, by track; nothing of a stream.
    pub(super) plain: Option<Vec<(u32, Plain)>>,
    /// Frames that are gathered before they are given away, at least.
    pub(super) gathered: usize,
}

/// Reads to the end, or until nobody listens; `taken` is gone when the container is.
pub(super) fn read(
    what: &What,
    stream: MediaSourceStream<'_>,
    steps: &SyncSender<Result<Step, AudioError>>,
    taken: &Weak<AtomicUsize>,
) -> Result<End, AudioError> {
    let format = what.format;
    let mut reader = open(format, stream).map_err(|error| refused(format, &error))?;
    let (mut track, mut decoder) = audio_track(what, reader.as_ref())?;
    let mut priming = priming(decoder.as_ref());
    let mut broken = 0;
    let mut given = false;
    let mut gathered = Gathered { steps, held: None };
    let end = loop {
        if broken > BROKEN_PACKETS {
            return Err(undecodable("too many packets in a row hold no sound"));
        }
        let packet = match reader.next_packet() {
            Ok(Some(packet)) => packet,
            // A chained stream: the next link has a track of its own.
            Err(Error::ResetRequired) => {
                (track, decoder) = audio_track(what, reader.as_ref())?;
                // Nobody asks for the tags, which would be kept.
                reader.metadata().skip_to_latest();
                continue;
            }
            Ok(None) => break End::Over,
            Err(_) if given => break End::Broken,
            Err(error) => return Err(refused(format, &error)),
        };
        match taken.upgrade() {
            Some(taken) => taken.store(0, Relaxed),
            // Given up.
            None => return Ok(End::Over),
        }
        if packet.track_id != track {
            broken += usize::from(packet.data.is_empty());
            continue;
        }
        let frames = match decoder.decode(&packet) {
            Ok(buffer) => {
                let mut samples = Vec::new();
                buffer.copy_to_vec_interleaved(&mut samples);
                let channels = buffer.spec().channels().count();
                let skipped = priming.min(buffer.frames());
                priming -= skipped;
                samples.drain(..(skipped * channels).min(samples.len()));
                Frames {
                    channels: u16::try_from(channels).unwrap_or(u16::MAX),
                    rate: Hz(buffer.spec().rate()),
                    samples,
                }
            }
            // Where there was sound already, the decoder knows its format, whatever it says of a damaged packet.
            Err(error) if given || broken < BROKEN_PACKETS && matches!(error, Error::DecodeError(_) | Error::IoError(_)) => {
                broken += 1;
                continue;
            }
            Err(error) => return Err(refused(format, &error)),
        };
        // What a container has cut off was there.
        let is_empty = frames.samples.is_empty() && packet.trim_start.is_zero() && packet.trim_end.is_zero();
        broken = if is_empty { broken + 1 } else { 0 };
        if frames.channels == 0 || frames.channels > MAX_CHANNELS {
            return Err(AudioError::Channels { channels: frames.channels });
        }
        if !RATES.contains(&frames.rate.0) {
            return Err(AudioError::Rate {
                rate: frames.rate.0,
                min: *RATES.start(),
                max: *RATES.end(),
            });
        }
        given = true;
        if gathered.add(frames, what.gathered).is_err() {
            return Ok(End::Over);
        }
    };
    if gathered.give().is_err() {
        return Ok(End::Over);
    }
    if given {
        Ok(end)
    } else {
        Err(undecodable("the container holds no audio"))
    }
}

/// Frames on their way out.
struct Gathered<'a> {
    steps: &'a SyncSender<Result<Step, AudioError>>,
    held: Option<Frames>,
}

/// Nobody listens any more.
struct Gone;

impl Gathered<'_> {
    /// Adds frames and gives all away once they are `least`.
    fn add(&mut self, frames: Frames, least: usize) -> Result<(), Gone> {
        match &mut self.held {
            Some(held) if held.channels == frames.channels && held.rate == frames.rate => held.samples.extend(frames.samples),
            _ => {
                self.give()?;
                self.held = Some(frames);
            }
        }
        let full = |held: &Frames| held.samples.len() >= least.saturating_mul(usize::from(held.channels));
        if self.held.as_ref().is_some_and(full) {
            self.give()
        } else {
            Ok(())
        }
    }

    fn give(&mut self) -> Result<(), Gone> {
        match self.held.take() {
            Some(frames) if !frames.samples.is_empty() => self.steps.send(Ok(Step::Frames(frames))).map_err(|_| Gone),
            _ => Ok(()),
        }
    }
}

/// Frames at the beginning that are no sound.
fn priming(decoder: &dyn AudioDecoder) -> usize {
    if decoder.codec_params().codec == codecs::CODEC_ID_AAC {
        AAC_PRIMING
    } else {
        0
    }
}

/// The reader of a container. The format is known from its first bytes: only a tag in front, or an atom, needs a search.
fn open<'s>(format: Format, stream: MediaSourceStream<'s>) -> Result<Box<dyn FormatReader + 's>, Error> {
    let options = FormatOptions::default();
    Ok(match format {
        Format::Ogg => Box::new(OggReader::try_new(stream, options)?),
        Format::Matroska => Box::new(MkvReader::try_new(stream, options)?),
        Format::Adts => Box::new(AdtsReader::try_new(stream, options)?),
        Format::Flac => Box::new(FlacReader::try_new(stream, options)?),
        Format::Aiff => Box::new(AiffReader::try_new(stream, options)?),
        Format::Caf => Box::new(CafReader::try_new(stream, options)?),
        Format::Wav => Box::new(WavReader::try_new(stream, options)?),
        Format::Mpeg => Box::new(MpaReader::try_new(stream, options)?),
        Format::Tagged | Format::Mp4 => symphonia::default::get_probe().probe(&Hint::new(), stream, options, MetadataOptions::default())?,
    })
}

/// The track to decode and its decoder.
fn audio_track(what: &What, reader: &dyn FormatReader) -> Result<(u32, Box<dyn AudioDecoder>), AudioError> {
    static CODECS: LazyLock<CodecRegistry> = LazyLock::new(|| {
        let mut codecs = CodecRegistry::new();
        symphonia::default::register_enabled_codecs(&mut codecs);
        codecs.register_audio_decoder::<symphonia_adapter_libopus::OpusDecoder>();
        codecs
    });
    let unknown = AudioError::Unsupported {
        format: match what.format {
            Format::Ogg => "the codec in ogg",
            Format::Matroska => "the codec in webm",
            Format::Mp4 => "the codec in mp4",
            other => other.name(),
        },
    };
    // The reader knows no codec for G.711 in QuickTime, which is a track all the same.
    let track = reader
        .default_track(TrackType::Audio)
        .or_else(|| reader.first_track(TrackType::Audio));
    let track = track.ok_or(unknown.clone())?;
    let params = track.codec_params.as_ref().and_then(|params| params.audio());
    let params = params.and_then(|params| samples_as_they_are(what, track.id, params.clone()));
    let params = params.ok_or(unknown.clone())?;
    let decoder = CODECS.make_audio_decoder(&params, &AudioDecoderOptions::default());
    Ok((track.id, decoder.map_err(|_| unknown)?))
}

/// A track's parameters, with what the reader says of plain samples put right; none if that is not known.
fn samples_as_they_are(what: &What, track: u32, mut params: AudioCodecParameters) -> Option<AudioCodecParameters> {
    let swapped = match params.codec {
        codecs::CODEC_ID_PCM_S24LE => Some(codecs::CODEC_ID_PCM_S24BE),
        codecs::CODEC_ID_PCM_S32LE => Some(codecs::CODEC_ID_PCM_S32BE),
        codecs::CODEC_ID_PCM_F32LE => Some(codecs::CODEC_ID_PCM_F32BE),
        codecs::CODEC_ID_PCM_F64LE => Some(codecs::CODEC_ID_PCM_F64BE),
        _ => None,
    };
    if what.format == Format::Mp4 {
        let plain = match &what.plain {
            Some(tracks) => tracks.iter().find(|(number, _)| *number == track).map(|(_, plain)| *plain),
            // Of a stream the order is not known: the reader takes all for little-endian.
            None if swapped.is_some() => return None,
            None => None,
        };
        let law = match plain {
            Some(Plain::ALaw(channels)) => Some((codecs::CODEC_ID_PCM_ALAW, channels)),
            Some(Plain::MuLaw(channels)) => Some((codecs::CODEC_ID_PCM_MULAW, channels)),
            Some(Plain::BigEndian) => {
                params.codec = swapped?;
                None
            }
            None => None,
        };
        if let Some((codec, channels)) = law {
            params.codec = codec;
            params.channels = Some(Channels::Discrete(channels));
        }
    }
    // A sample of G.711 is said to be of eight bits, and the decoder asks for those that it makes of them.
    if matches!(params.codec, codecs::CODEC_ID_PCM_ALAW | codecs::CODEC_ID_PCM_MULAW) {
        params.bits_per_sample = None;
        params.bits_per_coded_sample = None;
    }
    Some(params)
}

fn refused(format: Format, error: &Error) -> AudioError {
    match error {
        Error::Unsupported(_) => AudioError::Unsupported { format: format.name() },
        Error::IoError(_) => undecodable("it ends before its audio"),
        Error::LimitError(_) => undecodable("it exceeds a limit of its decoder"),
        _ => undecodable("it is malformed"),
    }
}

//! The encodings that a client may declare, by their names on the wire.
//!
//! What it does: names to types and back. What it does not do: decode ([`super::pcm`]) or sniff containers ([`super::sniff`]).
//! Who calls it: the request parsers, [`super::intake`].

use std::fmt;

use super::AudioError;
use super::container::Format;
use super::pcm::SampleFormat;

/// An encoding that can be declared and decoded. Samples of several channels are interleaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Signed 16-bit little-endian integers.
    Linear16,
    /// 32-bit little-endian floats, full scale 1.0.
    Linear32,
    /// G.711 mu-law.
    Mulaw,
    /// G.711 A-law.
    Alaw,
    /// A native FLAC stream.
    Flac,
    /// Opus in Ogg.
    OggOpus,
    /// Opus packets, one a message, or in Ogg or WebM all the same.
    Opus,
}

/// What an encoding is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Samples, one behind the other.
    Samples(SampleFormat),
    /// A container that says more about itself than the client.
    Container(Format),
    /// Packets without a container, unless the first bytes are those of one.
    Packets,
}

impl Encoding {
    /// Parses a wire name.
    ///
    /// # Errors
    /// [`AudioError::Unsupported`] for names of the contract that have no decoder, [`AudioError::UnknownEncoding`] for others.
    pub fn parse(name: &str) -> Result<Self, AudioError> {
        let format = match name {
            "linear16" => return Ok(Encoding::Linear16),
            "linear32" => return Ok(Encoding::Linear32),
            "mulaw" => return Ok(Encoding::Mulaw),
            "alaw" => return Ok(Encoding::Alaw),
            "flac" => return Ok(Encoding::Flac),
            "opus" => return Ok(Encoding::Opus),
            "ogg-opus" => return Ok(Encoding::OggOpus),
            "amr-nb" => "amr-nb",
            "amr-wb" => "amr-wb",
            "speex" => "speex",
            "g729" => "g729",
            other => return Err(AudioError::UnknownEncoding { name: other.to_owned() }),
        };
        Err(AudioError::Unsupported { format })
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Linear16 => "linear16",
            Encoding::Linear32 => "linear32",
            Encoding::Mulaw => "mulaw",
            Encoding::Alaw => "alaw",
            Encoding::Flac => "flac",
            Encoding::OggOpus => "ogg-opus",
            Encoding::Opus => "opus",
        }
    }

    /// What it is made of.
    pub fn form(self) -> Form {
        match self {
            Encoding::Linear16 => Form::Samples(SampleFormat::S16),
            Encoding::Linear32 => Form::Samples(SampleFormat::F32),
            Encoding::Mulaw => Form::Samples(SampleFormat::Mulaw),
            Encoding::Alaw => Form::Samples(SampleFormat::Alaw),
            Encoding::Flac => Form::Container(Format::Flac),
            Encoding::OggOpus => Form::Container(Format::Ogg),
            Encoding::Opus => Form::Packets,
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        use Encoding::{Alaw, Flac, Linear16, Linear32, Mulaw, OggOpus, Opus};
        for encoding in [Linear16, Linear32, Mulaw, Alaw, Flac, OggOpus, Opus] {
            assert_eq!(Encoding::parse(encoding.name()), Ok(encoding));
        }
    }

    #[test]
    fn known_codecs_without_a_decoder_are_named_and_others_are_unknown() {
        for name in ["amr-nb", "amr-wb", "speex", "g729"] {
            let error = Encoding::parse(name).unwrap_err();
            assert_eq!(error.to_string(), format!("{name} audio is not supported"));
        }
        assert_eq!(
            Encoding::parse("LINEAR16"),
            Err(AudioError::UnknownEncoding { name: "LINEAR16".into() })
        );
    }
}
